"""Kafka as our services see it: a producer that keeps order, topics, the embedded broker."""
