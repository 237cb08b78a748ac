"""Generators of hostile input, each by a seed."""
