"""The dispatcher: brings cards to their desired state through WeChat (design.md §6)."""
