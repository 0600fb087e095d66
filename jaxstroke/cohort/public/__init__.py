"""One recipe a public cohort: its folder as published, to a cohort table."""
