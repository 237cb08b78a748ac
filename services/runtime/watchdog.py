"""A thread that sees what no task can: an event loop that stands still, and in which line it does."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final

import structlog

LOG = structlog.get_logger("livecard.watchdog")

ROUND: Final = 1.0
"""Seconds of a round. Rounds are counted, not time: a process that was frozen missed them, too."""
REPORT_AFTER: Final = 5
"""Rounds without a tick of the loop after which the log says so."""
LAST_LINE_DEADLINE: Final = 3.0
"""Seconds in which the last line of the log must be written: its reader may be what blocks the loop."""
EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""


class Watchdog:
    """`start` in the event loop's thread. After `limit` seconds of standstill it ends the process: nothing
    that a blocked loop had in hand can be saved, and a probe of `/healthz` gets no answer either."""

    def __init__(self, limit: float, end: Callable[[int], None] = os._exit) -> None:
        self._limit, self._end = limit, end
        self._ticks = 0
        self._over = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._watched = 0

    def start(self) -> None:
        """Watch the running loop."""
        self._watched = threading.get_ident()
        self._tick(asyncio.get_running_loop())
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticks += 1
        self._timer = loop.call_later(ROUND, self._tick, loop)

    def _watch(self) -> None:
        ticks, rounds = 0, 0
        while not self._over.wait(ROUND):
            if self._ticks != ticks:
                if rounds >= REPORT_AFTER:
                    LOG.warning("the event loop moves again", stood_still=rounds * ROUND)
                ticks, rounds = self._ticks, 0
                continue
            rounds += 1
            if rounds == REPORT_AFTER:
                LOG.error("the event loop stands still", seconds=rounds * ROUND, at=self._where())
            if rounds * ROUND > self._limit:
                self._give_up(rounds * ROUND)
                return

    def _where(self) -> list[str]:
        """The innermost calls of the loop's thread, outermost first; lines of code, no values."""
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001  # the only way to another thread's
        stack = traceback.extract_stack(frame)[-8:]
        return [f"{each.filename}:{each.lineno} {each.name}" for each in stack]

    def _give_up(self, seconds: float) -> None:
        text = "the event loop stands still for good: this process ends, start it again"
        where = self._where()
        writer = threading.Thread(target=lambda: LOG.critical(text, seconds=seconds, at=where), daemon=True)
        writer.start()
        writer.join(LAST_LINE_DEADLINE)
        self._end(EXIT_CODE)
