"""How many requests wait for WeChat at once: where it hangs, all others go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from services.gateway.problems import unavailable

MOST: Final = 50
"""Requests that wait for WeChat at once, half of those that are worked on."""
SOON: Final = 1
"""Seconds after which to try again."""


class Places:
    """Of one process."""

    def __init__(self) -> None:
        self._taken = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one. Raises `Problem` (503) where there is none."""
        if self._taken >= MOST:
            raise unavailable("too many requests wait for WeChat: try again", SOON)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
