"""The HTTP API: create activities, say what happened, read how far everything is (design.md §8)."""
