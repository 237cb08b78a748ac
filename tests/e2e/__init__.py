"""Whole runs: real processes on Apache Kafka and PostgreSQL, against the simulator over HTTP."""
