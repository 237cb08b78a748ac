"""One file per database transaction: what it locks, reads, decides (through `statemachine`) and writes."""
