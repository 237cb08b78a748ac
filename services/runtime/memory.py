"""How a process keeps its memory: what the collector walks, and what goes back to the machine."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""`M_MMAP_THRESHOLD` of glibc's malloc.h."""
LARGE: Final = 256 * 1024
"""Bytes from which a block is a mapping of its own."""


def spare_the_collector() -> None:
    """A batch makes tens of thousands of objects that live for moments and form no cycles: walking
    them again and again costs a tenth of the ingest. What was imported is not walked any more."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def give_back_what_is_large() -> None:
    """Large blocks (a fetch, a statement's rows, a megabyte of somebody's) go back as they are freed.

    Left alone, glibc raises this threshold with the first ones it frees, up to 32 MB, and keeps the next
    among small blocks, where they leave holes. Other C libraries have no such function and no such habit.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, LARGE)
