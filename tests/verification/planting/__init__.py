"""Mistakes planted into named functions, for the simulation and for every other tool."""
