"""The activity and participant machines, what the card shows, and the plan of calls: pure functions."""
