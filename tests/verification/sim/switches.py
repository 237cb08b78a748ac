"""SQLAlchemy's way between `await` and its own code that does not, with greenlets that are used again.

A greenlet takes memory from the system as it begins and gives it back as it ends, which cost a fifth
of a schedule.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]  # it has no stubs


class Runner(greenlet):  # type: ignore[misc]  # nor is it known to be a class
    """Calls one function after the other; switches to its parent with what is to be awaited, or itself."""

    __sqlalchemy_greenlet_provider__ = True

    def __init__(self) -> None:
        super().__init__(self._serve, getcurrent())
        self.result: Any = None
        self.error: BaseException | None = None

    def _serve(self, work: Callable[[], Any]) -> None:
        parent: Any = self.parent
        while True:
            try:
                self.result = work()
            except BaseException as error:  # noqa: BLE001  # raised where it was asked for
                self.error = error
            work = parent.switch(self)


_IDLE: list[Runner] = []


async def spawn(work: Callable[..., Any], *args: Any, _require_await: bool = False, **more: Any) -> Any:
    """`sqlalchemy.util.greenlet_spawn`, which runs what calls `await_`."""
    runner = _IDLE.pop() if _IDLE else Runner()
    runner.gr_context = getcurrent().gr_context
    reply = runner.switch(lambda: work(*args, **more))
    while reply is not runner:
        try:
            value = await reply
        except BaseException:  # noqa: BLE001  # raised there, which may be prepared for it
            reply = runner.throw(*sys.exc_info())
        else:
            reply = runner.switch(value)
    result, error = runner.result, runner.error
    runner.result = runner.error = None
    _IDLE.append(runner)
    if error is not None:
        raise error
    return result
