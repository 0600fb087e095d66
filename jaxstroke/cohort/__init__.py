"""Who the patients are: the table, its splits, readers of files, public and synthetic cohorts. Imports no other room but `errors`."""
