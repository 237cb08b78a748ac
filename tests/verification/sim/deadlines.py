"""`asyncio.timeout` without its ceremony: two coroutines, and states that nobody asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import Any, Final


class Over:
    """Awaited where nobody waits."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        return iter(())  # type: ignore[return-value]  # nothing is ever sent into it


OVER: Final = Over()


class Timeout:
    """As asyncio's, timer for timer: a schedule stays the same. It can neither be moved nor asked."""

    __slots__ = ("_cancelling", "_delay", "_expired", "_task", "_timer")

    def __init__(self, delay: float | None) -> None:
        self._delay, self._expired = delay, False

    def __aenter__(self) -> Over:
        task: Any = asyncio.current_task()
        self._task, self._cancelling = task, task.cancelling()
        delay = self._delay
        if delay is None:
            self._timer = None
        else:
            loop: Any = asyncio.get_running_loop()
            self._timer = loop.call_later(delay, self._expire) if delay > 0 else loop.call_soon(self._expire)
        return OVER

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> Over:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # which knows us: nobody collects circles
        if (
            self._expired
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError  # no other asked for it meanwhile
        ):
            raise TimeoutError from error
        return OVER

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
