"""A day of cards in seconds: how many calls a plan needs, and when quotas and bursts make cards late."""
