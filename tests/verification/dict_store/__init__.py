"""The store in dicts: the same promises without a database, for fast tests and the simulation."""
