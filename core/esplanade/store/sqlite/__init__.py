"""The store on one SQLite file: one writer thread that commits in groups, one reader beside it."""
