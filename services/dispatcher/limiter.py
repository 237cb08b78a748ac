"""How many calls each app may have in flight in this process (design.md §6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext
from typing import Final

import msgspec

from services.dispatcher.metrics import DispatcherMetrics
from services.runtime.ports import Chance, Clock

PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds for which this process leaves an app alone that refuses it alone; doubled each time."""


class _App(msgspec.Struct):
    """`width`: calls it may have in flight. `generation`: of its gate, as last seen; `seen_at`: when that was
    (monotonic seconds, as `paused_until`). `closing`: answers here that close its gate and are not settled
    yet. `slots`: those it may use where others are known."""

    width: int
    slots: asyncio.Semaphore
    in_hand: int = 0
    generation: int = 0
    seen_at: float = 0.0
    closing: int = 0
    paused_until: float = 0.0
    pauses: int = 0


class Permit(msgspec.Struct, frozen=True):
    """One call that may be in flight; `generation` as its claim saw the app's gate."""

    appid: str
    generation: int


class Limiter:
    """Widths per app: `narrow` at first and after a closing, doubled by each success, halved by each unknown
    outcome, so that an app that hangs leaves the slots to the others.

    Where more than one app is known, none may use the last `narrow` slots beyond its own first `narrow`. An
    app at its full width may have half as many cards again in hand, which wait for a slot: so no slot is idle
    while a claim is made.
    """

    shared = False
    """Whether more than one app is known."""

    def __init__(
        self, limit: int, narrow: int, clock: Clock, chance: Chance, metrics: DispatcherMetrics
    ) -> None:
        self._limit, self.narrow = limit, min(narrow, limit)
        self._clock, self._chance, self._metrics = clock, chance, metrics
        self._apps: dict[str, _App] = {}
        self._ahead = limit // 2
        self._slots = asyncio.Semaphore(limit)
        self.in_hand = 0

    @property
    def free(self) -> int:
        """How many more cards the process may have in hand."""
        return self._limit + self._ahead - self.in_hand

    def rooms(self, appids: Iterable[str]) -> dict[str, int]:
        """How many more cards of each of these apps the process may have in hand now."""
        named = list(appids)
        self.shared = len(named) > 1
        reserved = self.narrow if self.shared else 0
        now = self._clock.monotonic()
        return {appid: self._room(self._app(appid), reserved, now) for appid in named}

    @asynccontextmanager
    async def slot(self, permit: Permit) -> AsyncIterator[None]:
        """Wait for one of the process's slots, of which no app has the last while others are known."""
        async with self._app(permit.appid).slots if self.shared else nullcontext(), self._slots:
            yield

    def next_pause_end(self) -> float | None:
        """Seconds until the next pause ends; None when there is none."""
        now = self._clock.monotonic()
        return min(
            (app.paused_until - now for app in self._apps.values() if app.paused_until > now), default=None
        )

    def take(self, appid: str, generation: int, began: float) -> Permit:
        """A slot for a card that was claimed while its app's gate was of this generation; `began`: monotonic
        seconds before the claim was asked for.

        A lower generation than was seen before the claim began is that of a database that went back."""
        app = self._app(appid)
        if generation > app.generation or (generation < app.generation and began > app.seen_at):
            app.generation, app.seen_at = generation, self._clock.monotonic()
            self._set_width(appid, app, min(app.width, self.narrow))
        app.in_hand += 1
        self._count(1)
        return Permit(appid, generation)

    def give(self, permit: Permit) -> None:
        """The call is over."""
        self._app(permit.appid).in_hand -= 1
        self._count(-1)

    def withdrawn(self, permit: Permit) -> bool:
        """Whether an answer has closed the app's gate, or paused it here, since the card was claimed."""
        app = self._app(permit.appid)
        closed = app.closing > 0 or permit.generation < app.generation
        return closed or app.paused_until > self._clock.monotonic()

    def succeeded(self, permit: Permit) -> None:
        """WeChat said 0: double, unless the gate was closed since the claim."""
        app = self._app(permit.appid)
        app.pauses = 0
        if app.generation == permit.generation and not app.closing:
            self._set_width(permit.appid, app, min(self._limit, app.width * 2))

    def doubted(self, permit: Permit) -> None:
        """An unknown outcome: halve."""
        app = self._app(permit.appid)
        self._set_width(permit.appid, app, max(1, app.width // 2))

    def close(self, permit: Permit) -> None:
        """An answer says that the app's gate must close: no more calls until the store knows."""
        app = self._app(permit.appid)
        app.closing += 1
        self._set_width(permit.appid, app, min(app.width, self.narrow))

    def closed(self, appid: str, generation: int = 0) -> None:
        """The answer was settled: from now on claims see the store's gate, which is of this generation (0: as
        it was before)."""
        app = self._app(appid)
        app.closing -= 1
        if generation:
            app.generation, app.seen_at = max(app.generation, generation), self._clock.monotonic()

    def pause(self, permit: Permit) -> float:
        """The app refuses this process alone: leave it alone here; for how many seconds."""
        app, now = self._app(permit.appid), self._clock.monotonic()
        if app.paused_until > now:
            return app.paused_until - now
        app.pauses += 1
        longest = min(LONGEST_PAUSE, PAUSE * 2 ** min(app.pauses - 1, 10))
        seconds: float = longest * (0.5 + self._chance.random() / 2)
        app.paused_until = now + seconds
        self._set_width(permit.appid, app, min(app.width, self.narrow))
        return seconds

    def _room(self, app: _App, reserved: int, now: float) -> int:
        if app.closing or app.paused_until > now:
            return 0
        width = app.width if app.width < self._limit else self._limit + self._ahead
        shared = max(self.free - reserved, min(self.free, self.narrow - app.in_hand))
        return max(0, min(width - app.in_hand, shared))

    def _app(self, appid: str) -> _App:
        app = self._apps.get(appid)
        if app is None:
            app = self._apps[appid] = _App(
                self.narrow, asyncio.Semaphore(max(self.narrow, self._limit - self.narrow))
            )
            self._metrics.gate_width(appid, app.width)
        return app

    def _set_width(self, appid: str, app: _App, width: int) -> None:
        if width != app.width:
            app.width = width
            self._metrics.gate_width(appid, width)

    def _count(self, by: int) -> None:
        self.in_hand += by
        self._metrics.calls_in_flight(min(self.in_hand, self._limit))
