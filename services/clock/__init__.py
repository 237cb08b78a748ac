"""The clock: due times → states, any number of replicas; and what old rows are pruned."""
