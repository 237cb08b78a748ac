"""The lifecycle: events from Kafka → states in the store, batch by batch."""
