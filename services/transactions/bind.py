"""Somebody becomes known in a room: the binding, and the events that waited for it (design.md §8)."""
