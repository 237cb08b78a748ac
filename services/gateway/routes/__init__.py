"""The routes, one file for each topic: thin shells around transactions and reads of the store."""
