"""A value that is read anew when somebody asks for it and it is some seconds old: one reading for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from services.runtime.ports import Clock

T = TypeVar("T")


class Fresh(Generic[T]):
    """Whoever asks while it is read waits for that reading; a reading that fails is told to one asker, and
    the next one tries again."""

    def __init__(self, clock: Clock, seconds: float, read: Callable[[], Awaitable[T]]) -> None:
        self._clock, self._seconds, self._read = clock, seconds, read
        self._reading = asyncio.Lock()
        self._found: tuple[float, T] | None = None

    @property
    def stale(self) -> bool:
        """Whether the next to ask has it read."""
        return self._found is None or self._clock.monotonic() - self._found[0] >= self._seconds

    def forget(self) -> None:
        """The next to ask has it read."""
        self._found = None

    async def get(self) -> T:
        """The value, at most so many seconds old."""
        async with self._reading:
            if self._found is None or self.stale:
                self._found = self._clock.monotonic(), await self._read()
            return self._found[1]
