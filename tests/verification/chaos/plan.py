"""What will go wrong, and when: a pure function of a seed, one stream for each monkey."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

BROKERS: Final = 3
SERVICES: Final = ("lifecycle", "clock", "dispatcher", "gateway")
GATEWAYS: Final = 2
APPS: Final = ("wxe2e", "wxtwo", "wxthree")
LEASE: Final = 5.0
"""Seconds: LIVECARD_LEASE of a run; what is frozen stays so for longer."""
STALL: Final = 4.0
"""Seconds that a connection stands still at most; what was sent arrives after it."""
DELAY: Final = 4.0
"""Seconds that WeChat takes at most to apply a call that it does not answer."""
LATEST: Final = STALL + DELAY
"""So late may a call be applied that its caller has given up: doubts are mended after that, no sooner."""

LIES: Final[tuple[dict[str, Any], ...]] = (
    {"errcode": -1},
    {"http": 502, "applied": True},
    {"http": 503},
    {"http": 429},
    {"hang": 3.0},
    {"apply_then_hang": 3.0},
    {"cut": True},
    {"apply_then_cut": True},
    {"cut_then_apply": 1.5},
    {"delay": DELAY},
    {"garbage": "html", "applied": True},
    {"garbage": "half", "applied": True},
    {"garbage": "empty", "applied": True},
    {"latency": 0.5},
    {"latency": 1.6},
    {"errcode": 40001},
)


class Act(msgspec.Struct, frozen=True):
    """One harm: `at` seconds after the beginning, `what` is done, to `whom`, with which particulars."""

    at: float
    monkey: str
    what: str
    whom: str = ""
    more: dict[str, Any] = {}

    @property
    def kills(self) -> int:
        """How many processes it kills -9, or crashes."""
        if self.what == "kill every broker":
            return BROKERS
        if self.what == AMBUSH:
            return GATEWAYS
        return int(self.what in KILLS)

    def __str__(self) -> str:
        return " ".join([self.what, self.whom, *(f"{name}={value}" for name, value in self.more.items())])


AMBUSH: Final = "kill every gateway"
"""As WeChat answers one of them with an id: before it can commit."""
KILLS: Final = ("kill a service", "kill a broker", "crash PostgreSQL", "kill PostgreSQL")
Draw = Callable[[random.Random], Act]


def plan(seed: int, seconds: float) -> list[Act]:
    """Everything that goes wrong in a run, in order; the same for the same arguments.

    A monkey plays its acts from a shuffled deck, so that a run of any length has some of each.
    """
    acts: list[Act] = []
    for monkey, (gap, deck) in MONKEYS.items():
        chance = random.Random(f"chaos/{seed}/{monkey}")
        draws = _shuffled(chance, deck)
        at = chance.uniform(0.2, 0.6) * gap
        while at < seconds - 1:
            act = next(draws)(chance)
            acts.append(msgspec.structs.replace(act, at=round(at, 2), monkey=monkey))
            at += act.more.get("seconds", 0.0) + gap * chance.uniform(0.5, 1.5)
    return sorted(acts, key=lambda act: act.at)


def _shuffled(chance: random.Random, deck: tuple[Draw, ...]) -> Iterator[Draw]:
    while True:
        cards = list(deck)
        chance.shuffle(cards)
        yield from cards


def _seconds(chance: random.Random, least: float, most: float) -> dict[str, float]:
    return {"seconds": round(chance.uniform(least, most), 1)}


def _service(what: str, kind: str) -> Draw:
    return lambda chance: Act(0, "", what, f"{kind} {chance.randrange(2)}")


def _freeze(kind: str) -> Draw:
    return lambda chance: Act(
        0, "", "freeze", f"{kind} {chance.randrange(2)}", _seconds(chance, LEASE + 0.5, LEASE + 3)
    )


def _broker(chance: random.Random) -> Act:
    return Act(0, "", "kill a broker", str(chance.randrange(BROKERS)), _seconds(chance, 0.0, 4.0))


def _brokers(what: str) -> Draw:
    return lambda chance: Act(0, "", what, "", _seconds(chance, 0.0, 2.0))


def _postgres(what: str) -> Draw:
    return lambda _: Act(0, "", what)


def _lie(action: dict[str, Any]) -> Draw:
    def draw(chance: random.Random) -> Act:
        share = {"share": chance.choice((0.2, 0.5, 1.0))}
        return Act(0, "", "WeChat answers", "", {**action, **share, **_seconds(chance, 1.0, 4.0)})

    return draw


def _refusal(what: str, least: float, most: float) -> Draw:
    return lambda chance: Act(0, "", what, chance.choice(APPS), _seconds(chance, least, most))


def _revoke(chance: random.Random) -> Act:
    return Act(0, "", "revoke tokens", chance.choice(APPS))


def _ambush(_: random.Random) -> Act:
    return Act(0, "", AMBUSH)


LINKS: Final = ("postgres", "wechat", "kafka 0", "kafka 1", "kafka 2", "gateway 0", "gateway 1")
"""The ways between processes: what may be cut."""


def _link(what: str, whom: str) -> Draw:
    def draw(chance: random.Random) -> Act:
        lasts = {} if what == "cut connections" else _seconds(chance, 0.5, STALL)
        return Act(0, "", what, whom, lasts)

    return draw


MONKEYS: Final[dict[str, tuple[float, tuple[Draw, ...]]]] = {
    # The mean pause between two acts in seconds, and the deck.
    "services": (
        3.0,
        (
            *[_service("kill a service", "lifecycle")] * 3,
            *[_service("kill a service", "clock")] * 2,
            *[_service("kill a service", "dispatcher")] * 4,
            *[_service("kill a service", "gateway")] * 2,
            *[_ambush] * 2,
            _service("roll", "lifecycle"),
            _service("roll", "gateway"),
            _service("roll", "dispatcher"),
        ),
    ),
    "brokers": (11.0, (*[_broker] * 7, _brokers("kill every broker"), _brokers("stop every broker"))),
    "postgres": (14.0, (*[_postgres("crash PostgreSQL")] * 3, _postgres("kill PostgreSQL"))),
    "freezes": (
        15.0,
        (*[_freeze("dispatcher")] * 3, _freeze("lifecycle"), _freeze("clock"), _freeze("gateway")),
    ),
    "wechat": (
        3.0,
        (
            *[_lie(action) for action in LIES],
            *[_revoke] * 2,
            _refusal("use up the minute", 2.0, 4.0),
            _refusal("use up the day", 4.0, 10.0),
            _refusal("refuse the address", 4.0, 10.0),
        ),
    ),
    "connections": (
        4.0,
        tuple(_link(what, whom) for what in ("cut connections", "stall", "half-close") for whom in LINKS),
    ),
}
