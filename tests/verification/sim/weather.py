"""Which faults strike in a schedule, and how often: by seed, or by a profile that aims at one danger."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

import msgspec

from services.runtime.settings import Settings

LENGTH: Final = 40.0
"""Seconds during which events come and faults strike."""
LEAP: Final = 40 * 86_400.0
"""Seconds by which time leaps where it does: more than anything but parked events is kept."""
WEEKS: Final = 50 * 86_400.0
PROCESS: Final = ("kill", "pause", "drain")
PORTS: Final[Mapping[str, tuple[str, ...]]] = {
    "process": ("kill", "pause"),
    "store": ("store_away", "store_undone", "store_lost"),
    "read": ("store_away",),
    "publish": ("publish_refused", "publish_unacked"),
    "nudge": ("nudge_dropped",),
    "offsets": ("commit_refused", "commit_unanswered"),
    "wechat": (
        "refused",
        "busy",
        "http_429",
        "http_500",
        "http_500_applied",
        "hang",
        "hang_applied",
        "cut",
        "cut_applied",
        "late",
        "slow",
        "garbage",
        "odd_code",
        "stopped_in_send",
    ),
}
"""Faults by the port at which they strike; the tape is asked once at each use of a port."""
SPELLS: Final = (
    "store_outage",
    "broker_outage",
    "token_revoked",
    "minute_quota",
    "daily_quota",
    "ip_refused",
    "rebalance",
    "drain",
    "timed_kill",
    "timed_pause",
    "odd_codes",
    "token_stuck",
    "app_blocked",
    "card_unsent",
    "bad_member",
    "app_missing",
    "secret_wrong",
    "redeliver",
    "replay",
    "gates_opened",
    "quota_saved",
    "leap",
)
"""Faults that come at some time and may last, and what a person on call does."""
REFUSALS: Final = {
    "minute_quota": 45011,
    "daily_quota": 45009,
    "ip_refused": 40164,
    "odd_codes": 99901,
    "token_stuck": 40001,
    "app_blocked": 50002,
    "card_unsent": 47501,
}
"""What WeChat answers to everything for a while; to messages only, but for `ip_refused`: so it hands out the
very token that it refuses."""
EVENTS: Final = ("event_repeated", "event_delayed", "event_malformed")
OTHERS: Final = ("lowering_refused",)
"""What WeChat does by its nature in some schedules."""
RARE: Final = ("leap",)
"""What only a profile of its own brings."""

RATES: Final[Mapping[str, float]] = {
    "kill": 0.004,
    "pause": 0.002,
    "store_away": 0.03,
    "store_undone": 0.03,
    "store_lost": 0.03,
    "publish_refused": 0.1,
    "publish_unacked": 0.1,
    "nudge_dropped": 0.5,
    "commit_refused": 0.15,
    "commit_unanswered": 0.15,
    "event_repeated": 0.3,
    "event_delayed": 0.4,
    "event_malformed": 0.1,
}
"""How often each strikes at a use of its port where it is on; WeChat's 0.08, spells 0.7."""


class Weather(msgspec.Struct):
    """`rates` by fault (absent: off). `pause`: seconds from–to. `flips`: only reschedules back and forth.
    `opens`: when activities are opened, from–to. `dies`: who was stopped in a send is killed when it wakes.
    `lowers`: WeChat accepts 2 → 1. `parked_after`, `prune_every`: settings.
    `lives`: seconds until ids die, where they all do soon. `rooms`: events name people by openid, too.
    `wishes`: some activities are created over HTTP. `length`: seconds until the calm."""

    rates: dict[str, float]
    pause: tuple[float, float] = (1.0, 60.0)
    flips: bool = False
    dies: bool = False
    lowers: bool = True
    parked_after: float = 3600.0
    prune_every: float = 60.0
    opens: tuple[float, float] = (0.0, 6.0)
    lives: tuple[float, float] | None = None
    length: float = LENGTH
    rooms: bool = False
    wishes: bool = False

    def port(self, port: str) -> list[tuple[str, float]]:
        """The faults that are on at a port."""
        return [(name, self.rates[name]) for name in PORTS[port] if name in self.rates]


def _some(chance: random.Random, names: tuple[str, ...], part: float, rate: float) -> dict[str, float]:
    return {name: RATES.get(name, rate) for name in names if chance.random() < part}


def _any(chance: random.Random) -> Weather:
    rates: dict[str, float] = {}
    for port, names in PORTS.items():
        rates |= _some(chance, names, 0.3, 0.08 if port == "wechat" else 0.03)
    rates |= _some(chance, tuple(name for name in SPELLS if name not in RARE), 0.17, 0.7)
    rates |= _some(chance, EVENTS, 0.5, 0.3)
    buries = chance.random() < 0.15
    return Weather(
        rates,
        flips=chance.random() < 0.2,
        lowers=chance.random() < 0.85,
        parked_after=12.0 if buries else 3600.0,
        opens=(4.0, 30.0) if buries else (0.0, 6.0),
    )


def _paused(chance: random.Random) -> Weather:
    rates = {"stopped_in_send": 0.4} | _some(chance, ("nudge_dropped", "timed_pause", "late"), 0.3, 0.1)
    if chance.random() < 0.5:
        rates = {"pause": 0.02, "nudge_dropped": 0.5}
    return Weather(rates, pause=(5.0, 100.0))


def _paused_dies(chance: random.Random) -> Weather:
    """Not beyond the repair that follows the lease: the hole that docs/simulation.md tells of."""
    rates = {"stopped_in_send": 0.4} | _some(chance, ("nudge_dropped", "timed_kill"), 0.3, 0.1)
    return Weather(rates, pause=(15.0, 38.0), dies=True)


def _flip(chance: random.Random) -> Weather:
    rates = {"late": 0.15, "cut_applied": 0.1, "hang_applied": 0.1}
    return Weather(rates | _some(chance, ("kill", "cut", "stopped_in_send"), 0.4, 0.08), flips=True)


def _killed(chance: random.Random) -> Weather:
    rates = {"kill": 0.02, "timed_kill": 0.7}
    return Weather(rates | _some(chance, ("late", "rebalance", "event_repeated", "drain"), 0.4, 0.3))


def _store(chance: random.Random) -> Weather:
    rates = {"store_undone": 0.08, "store_lost": 0.08, "store_away": 0.05}
    return Weather(rates | _some(chance, ("store_outage", "kill", "pause", "late"), 0.4, 0.3))


def _gates(chance: random.Random) -> Weather:
    names = ("token_revoked", "minute_quota", "daily_quota", "ip_refused", "token_stuck", "app_blocked")
    more = ("late", "timed_kill", "timed_pause", "slow", "drain")
    return Weather(_some(chance, names, 0.6, 0.7) | _some(chance, more, 0.4, 0.3) | {"busy": 0.1})


def _bus(chance: random.Random) -> Weather:
    names = ("rebalance", "broker_outage", "commit_refused", "commit_unanswered", "event_repeated")
    return Weather(
        _some(chance, (*names, "event_delayed", "timed_pause", "publish_unacked", "kill"), 0.6, 0.5),
        parked_after=20.0 if chance.random() < 0.4 else 3600.0,
    )


def _late(chance: random.Random) -> Weather:
    return Weather({"late": 0.3} | _some(chance, ("kill", "timed_pause", "hang", "cut_applied"), 0.4, 0.1))


def _lists(chance: random.Random) -> Weather:
    """Lists with members whom WeChat does not know, and codes that nobody knows."""
    some = _some(chance, ("odd_codes", "card_unsent", "redeliver", "timed_kill"), 0.4, 0.7)
    rates = {"bad_member": 1.0} | some
    return Weather(rates | _some(chance, ("odd_code", "cut_applied", "busy", "late"), 0.3, 0.15))


def _oncall(chance: random.Random) -> Weather:
    """A person takes dead letters back, opens gates and has cards tried again while all goes on."""
    names = (
        "bad_member",
        "odd_codes",
        "redeliver",
        "replay",
        "gates_opened",
        "daily_quota",
        "event_repeated",
        "quota_saved",
    )
    rates = {"event_delayed": 0.6} | _some(chance, names, 0.7, 0.8)
    rates |= _some(chance, ("kill", "store_lost", "store_undone", "timed_kill"), 0.3, 0.05)
    rates |= _some(chance, ("cut_applied", "hang_applied"), 0.6, 0.3)
    return Weather(rates, parked_after=8.0, opens=chance.choice(((0.0, 6.0), (10.0, 30.0))))


def _apps(chance: random.Random) -> Weather:
    """The apps file changes under way."""
    names = ("app_missing", "secret_wrong", "token_revoked", "timed_kill", "late", "busy", "gates_opened")
    return Weather({"app_missing": 0.8} | _some(chance, names, 0.6, 0.5))


def _aged(chance: random.Random) -> Weather:
    """First another life, then weeks later this one; old rows are pruned beside it."""
    names = ("kill", "store_lost", "store_undone", "timed_kill", "timed_pause", "event_repeated", "late")
    return Weather({"leap": 1.0} | _some(chance, names, 0.4, 0.05), prune_every=4.0, parked_after=WEEKS)


def _ends(chance: random.Random) -> Weather:
    """Ids that die while somebody still calls, members who are owed at the end."""
    rates = {"stopped_in_send": 0.3, "slow": 0.2} | _some(chance, ("busy", "nudge_dropped", "hang"), 0.4, 0.3)
    rates |= _some(chance, ("timed_pause", "bad_member", "late"), 0.4, 0.3)
    return Weather(rates, pause=(10.0, 60.0), lives=(62.0, 100.0), length=70.0)


def _repair(chance: random.Random) -> Weather:
    """A late call goes out while the repair for it is under way."""
    rates = {"stopped_in_send": 0.3, "slow": 0.5} | _some(chance, ("nudge_dropped",), 0.5, 0.5)
    return Weather(rates, pause=(58.0, 72.0), length=115.0, flips=chance.random() < 0.5)


def _rooms(chance: random.Random) -> Weather:
    """People become known before, while and after they are named by openid."""
    names = ("kill", "pause", "store_undone", "store_lost", "store_away", "publish_unacked")
    rates = _some(chance, names, 0.4, 0.03)
    rates |= _some(chance, ("timed_kill", "timed_pause", "rebalance", "store_outage", "late"), 0.2, 0.5)
    rates |= _some(chance, EVENTS, 0.4, 0.3)
    buries = chance.random() < 0.15
    return Weather(
        rates,
        rooms=True,
        parked_after=12.0 if buries else 3600.0,
        opens=(4.0, 30.0) if buries else (0.0, 15.0),
    )


def _wishes(chance: random.Random) -> Weather:
    """Activities created over HTTP, with an `Idempotency-Key`, by a gateway that dies at any moment."""
    rates = {"kill": 0.03, "pause": 0.02} | _some(
        chance, ("store_undone", "store_lost", "store_away", "publish_unacked"), 0.4, 0.05
    )
    rates |= _some(chance, ("timed_kill", "timed_pause", "rebalance", "store_outage"), 0.2, 0.5)
    rates |= _some(chance, ("busy", "hang_applied", "cut_applied", "http_500_applied", "slow"), 0.4, 0.15)
    return Weather(rates, wishes=True, pause=(1.0, 100.0))


PROFILES: Final = {
    "any": _any,
    "paused": _paused,
    "paused-dies": _paused_dies,
    "flip": _flip,
    "killed": _killed,
    "store": _store,
    "gates": _gates,
    "bus": _bus,
    "late": _late,
    "repair": _repair,
    "lists": _lists,
    "oncall": _oncall,
    "apps": _apps,
    "aged": _aged,
    "ends": _ends,
    "rooms": _rooms,
    "wishes": _wishes,
    "calm": lambda _: Weather({}),
}


def weather(seed: int, profile: str) -> Weather:
    """A seed's weather. `mixed` takes `any` for two seeds of three, of which one in eight is `rooms` and one
    in sixteen `wishes`, and the other profiles in turn else."""
    if profile == "mixed":
        aimed = [name for name in PROFILES if name not in ("any", "calm", "rooms", "wishes")]
        of_api = "rooms" if seed % 8 == 7 else "wishes" if seed % 24 == 17 else "any"
        profile = aimed[seed // 3 % len(aimed)] if seed % 3 == 0 else of_api
    return PROFILES[profile](random.Random(f"weather-{seed}"))


def settings(weather: Weather) -> Settings:
    """Production's protocol times; polling is rarer, lists and quota probes shorter."""
    return Settings(
        sweep=14.0,
        tick=19.0,
        relay_poll=18.0,
        relay_lease=45.0,
        in_flight=4,
        in_flight_narrow=2,
        members_per_call=3,
        backoff_cap=20.0,
        probe=20.0,
        quota_probe=20.0,
        parked_after=weather.parked_after,
        prune_every=weather.prune_every,
        unknown_code_attempts=3,
        expiring=75.0,
    )
