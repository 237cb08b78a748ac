"""The process around services: real clock and chance, signals, health and metrics, the outbox relay."""
