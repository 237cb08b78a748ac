"""The simulation: the unmodified services under a seeded scheduler in virtual time, killed, paused, lied to."""
