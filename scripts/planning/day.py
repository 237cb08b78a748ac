"""The simulation: an app's undelivered cards wait for a dispatcher and for WeChat's quotas.

It counts cards, not members, and knows no chance: where a card is drawn, its share of the cards is taken.
What it leaves out costs little beside quotas: lost answers, repeats, the time of a call.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from scripts.planning.load import Load, seconds

MINUTE = 60
LITTLE = 1e-6
"""Of a call: what is left of a sum of fractions."""
REOPENS = 1.0
"""Seconds after the full minute at which a gate opens, on average (0 to 2; wechat-api: 45011)."""


@dataclass(frozen=True)
class Limits:
    """`calls`: what the dispatchers can make a second. `minute` and `day`: WeChat's quotas of the app.
    `coalesce`: seconds between two calls for a card's news (`LIVECARD_COALESCE`). `reserve`: calls of the day
    that are kept for ends."""

    calls: float
    minute: float = math.inf
    day: float = math.inf
    coalesce: float = 1.0
    reserve: float = 0.0


@dataclass
class Waiting:
    """Calls in the order in which they became due, and how long each waited."""

    total: float = 0.0
    late: dict[int, float] = field(default_factory=dict)
    _since: deque[tuple[int, float]] = field(default_factory=deque)

    def add(self, now: int, calls: float) -> None:
        """They are due from now on."""
        if calls > 0:
            self._since.append((now, calls))
            self.total += calls

    def make(self, now: int, room: float) -> float:
        """As many of the oldest as there is room for; how many were made."""
        done = 0.0
        while self._since and room - done > LITTLE:
            since, calls = self._since[0]
            made = min(calls, room - done)
            done += made
            self.total -= made
            self.late[now - since] = self.late.get(now - since, 0.0) + made
            if made < calls:
                self._since[0] = (since, calls - made)
            else:
                self._since.popleft()
        return done

    def take(self, share: float) -> float:
        """So many of each that waits are no longer among them; how many."""
        taken = self.total * share
        if taken > 0:
            self._since = deque((since, calls * (1 - share)) for since, calls in self._since)
            self.total -= taken
        return taken

    def within(self, share: float) -> int | None:
        """Seconds within which this share of what was made was made; None when nothing was."""
        made = sum(self.late.values())
        if made <= 0:
            return None
        reached = 0.0
        for seconds_late in sorted(self.late):
            reached += self.late[seconds_late]
            if reached >= share * made - LITTLE:
                break
        return seconds_late + 1


@dataclass(frozen=True)
class Forecast:
    """What became of the day. `saved`: changes that travelled with another call. `busiest`: calls wanted in
    one second at most, and completions in one second. `quota_ended`: the second of the day from which on news
    or ends wait for midnight, or None."""

    calls: float
    saved: float
    busiest: float
    busiest_completions: float
    news: Waiting
    ends: Waiting
    quota_ended: int | None

    @property
    def untold(self) -> float:
        """Calls still due at midnight, ends among them."""
        return self.news.total + self.ends.total


def simulate(load: Load, limits: Limits) -> Forecast:
    """One app's day, a second at a time: ends go first, as claims take them, and before each what its card
    still had to tell."""
    news, ends = Waiting(), Waiting()
    made = in_minute = saved = busiest = busiest_completions = 0.0
    ended: int | None = None
    opens_at = 0.0
    for now, second in enumerate(seconds(load)):
        if now % MINUTE == 0:
            in_minute = 0.0
        changes = second.completions + second.nearing
        if not changes and not second.ends and news.total < LITTLE and ends.total < LITTLE:
            continue
        cards = second.open + second.ends
        along = news.take(second.ends / cards) if second.ends else 0.0
        told = _fresh(second.nearing, cards, news.total)
        told += _apart(_fresh(second.completions, cards, news.total), cards, limits.coalesce)
        saved += changes - told
        busiest = max(busiest, told + second.ends)
        busiest_completions = max(busiest_completions, second.completions)
        news.add(now, told)
        ends.add(now, second.ends + along)
        room = min(_rate(limits.calls, now, opens_at), limits.minute - in_minute, limits.day - made)
        sent = ends.make(now, room)
        sent += news.make(now, min(room - sent, limits.day - limits.reserve - made - sent))
        made, in_minute = made + sent, in_minute + sent
        if in_minute >= limits.minute - LITTLE:
            opens_at = (now // MINUTE + 1) * MINUTE + REOPENS
        if ended is None and made >= limits.day - limits.reserve - LITTLE:
            ended = now
    return Forecast(made, saved, busiest, busiest_completions, news, ends, ended)


def _fresh(changes: float, cards: float, undelivered: float) -> float:
    """Those of the changes whose card is not undelivered already."""
    return changes * max(0.0, 1 - undelivered / cards) if changes else 0.0


def _apart(changes: float, cards: float, window: float) -> float:
    """The calls that these cause: one a window for a card that changes again and again."""
    return changes / (1 + changes / cards * window) if changes else 0.0


def _rate(calls: float, now: int, opens_at: float) -> float:
    """Calls that can be made in this second, of which the gate may be open for a part only."""
    part = min(1.0, max(0.0, now + 1 - opens_at))
    return calls * part if part else 0.0
