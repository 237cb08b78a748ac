"""How long anything may take before it counts as hung, in tests and where engines start."""

from typing import Final

PATIENCE: Final = 600.0
"""Seconds. Waits this long are for what hangs, never for what is slow: no machine that works is so slow."""
