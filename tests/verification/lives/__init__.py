"""What other services publish about an activity in its life, drawn by weights that each tool hands in."""
