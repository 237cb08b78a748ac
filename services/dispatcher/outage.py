"""Tells when WeChat stops answering, and when it answers again: one line each, with numbers."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog

from contracts.wechat import Verdict
from services.runtime.ports import Clock
from services.store.ports import Store, StoreRejected, StoreUnavailable
from statemachine.step import Result

LOG = structlog.get_logger("livecard.dispatcher")

IN_A_ROW: Final = 3
LASTING: Final = 2.0
"""So many calls without an answer, over so many seconds, make an outage: single ones are everyday life."""
COUNTING: Final = 3.0
"""Seconds in which the store tells how many cards wait."""
_NO_ANSWER: Final = frozenset({Verdict.busy, Verdict.unknown, Verdict.no_token})


class _Silence(msgspec.Struct):
    """Calls without an answer since `began` (monotonic seconds), nothing else in between."""

    began: float
    calls: int = 0
    unknown: int = 0
    logged: bool = False


class Outage:
    """What this process sees of WeChat, whatever the app."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._silence: _Silence | None = None
        self._telling = asyncio.Lock()  # the end is not logged before the beginning

    async def saw(self, result: Result) -> None:
        """One more call has come back, or was not made. Never raises."""
        if result.verdict is None:
            return
        if result.verdict in _NO_ANSWER:
            await self._failed(result)
        elif (silence := self._silence) is not None:
            self._silence = None
            if silence.logged:
                await self._over(silence)

    async def _failed(self, result: Result) -> None:
        now = self._clock.monotonic()
        silence = self._silence
        if silence is None:
            silence = self._silence = _Silence(now - result.duration / 1_000_000)
        silence.calls += 1
        silence.unknown += result.verdict is Verdict.unknown
        if silence.logged or silence.calls < IN_A_ROW or now - silence.began < LASTING:
            return
        silence.logged = True
        said = {"errcode": result.errcode, "errmsg": result.errmsg, "rid": result.rid}
        async with self._telling:
            LOG.warning(
                "WeChat does not answer or is busy: cards wait, their calls are tried again by themselves",
                **await self._numbers(silence, now),
                **said,
            )

    async def _over(self, silence: _Silence) -> None:
        now = self._clock.monotonic()
        async with self._telling:
            LOG.info("WeChat answers again", **await self._numbers(silence, now))

    async def _numbers(self, silence: _Silence, now: float) -> dict[str, object]:
        """Seconds since the first of the calls began, those without an answer, and who waits."""
        return {
            "seconds": round(now - silence.began, 1),
            "calls": silence.calls,
            "unknown": silence.unknown,
            "cards_behind": await self._behind(),
        }

    async def _behind(self) -> int | None:
        """How many cards are undelivered, of all processes (10,001: or more); None if the store is silent."""
        try:
            async with asyncio.timeout(COUNTING):
                return (await self._store.backlog()).behind
        except (TimeoutError, StoreUnavailable, StoreRejected):
            return None
