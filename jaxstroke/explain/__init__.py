"""Why did it say so: maps of a trained workdir's networks, back on the scanner's grid, and a page a patient."""
