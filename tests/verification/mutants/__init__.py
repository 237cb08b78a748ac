"""Bugs on purpose: each is planted alone in a copy of the code, and the tool named for it must find it."""
