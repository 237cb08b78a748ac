"""The simulation: the unmodified services in virtual time, on a seeded scheduler, killed and lied to."""
