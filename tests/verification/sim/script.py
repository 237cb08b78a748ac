"""What other services publish in a schedule: a few activities with everything that happens to them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from typing import Final

import msgspec

from contracts.events import Added, Closed, Completed, Event, EventData, Opened, Rescheduled, Room
from contracts.times import SECOND
from tests.verification.lives.life import Weights, draw_life
from tests.verification.lives.wire import event
from tests.verification.sim.weather import LEAP, LENGTH, Weather

MEMBERS: Final = tuple(f"m{number}" for number in range(1, 7))
OPENIDS: Final = {member: f"o-{member}" for member in MEMBERS}
LIFE: Final = 86_400.0
NEVER: Final = "never"
"""The activity that nobody opens."""
OLD: Final = "old"
"""The activity whose life was over before the others began."""
HEIRS: Final = (0.25, 0.5, 0.35)
"""The odds that the last activity is continued, that this goes on, and that one is continued twice."""
HEIR_NAMES: Final = ("h1", "Z2", "h3", "a0")
"""Those whose rows are locked before the earlier one's, and after."""
BEFORE: Final = 20.0
"""Seconds of that life, until time leaps."""


ROOMS: Final = (Room(opengid="r1"), Room(opengid="r1"), Room(open_single_roomid="r2"), None)


class Said(msgspec.Struct, frozen=True):
    """An event, and when (seconds) it is published."""

    at: float
    event: Event


class Becomes(msgspec.Struct, frozen=True):
    """Somebody opens the mini program in a room, and when (seconds): who he is there becomes known."""

    at: float
    appid: str
    room: Room
    openid: str
    member: str


def becomings(seed: int, said: Sequence[Said], weather: Weather) -> list[Becomes]:
    """Who becomes known in the rooms of these events: most people, some again, hardly any as another; often
    just when an event names them."""
    chance = random.Random(f"rooms-{seed}")
    opened = [each.event.data for each in said if isinstance(each.event.data, Opened)]
    rooms = dict.fromkeys((data.appid, data.room) for data in opened if data.room)
    named: dict[str, list[float]] = {}
    for each in said:
        if isinstance(each.event.data, Completed | Added):
            for openid in each.event.data.openids:
                named.setdefault(openid, []).append(each.at)
    found: list[Becomes] = []
    for (appid, room), (member, openid) in product(rooms, OPENIDS.items()):
        for _ in range(chance.choice((0, 1, 1, 1, 1, 2))):
            who = member if chance.random() < 0.95 else chance.choice(MEMBERS)
            at = chance.uniform(0.0, weather.length)
            if openid in named and chance.random() < 0.6:
                at = max(0.0, chance.choice(named[openid]) + chance.uniform(-0.02, 0.15))
            found.append(Becomes(at, appid, room, openid, who))
    return sorted(found, key=lambda each: each.at)


def script(seed: int, begin: int, weather: Weather) -> list[Said]:
    """The events of a seed in order of publication; `begin` is the world's first moment, µs."""
    chance = random.Random(f"script-{seed}")
    said: list[Said] = []
    later = 0.0
    if "leap" in weather.rates:
        said += _other_life(chance, begin)
        later = LEAP + BEFORE
        begin += round(later * SECOND)
    weights = _weights(weather)
    for number in range(chance.choice((1, 1, 1, 2, 2))):
        for each in draw_life(chance, begin, weights):
            time, key = begin + round(each.time * SECOND), f"e{len(said) + 1}"
            said.append(Said(later + each.at, event("/sim", key, f"a{number + 1}", time, each.data)))
    said += _heirs(random.Random(f"heirs-{seed}"), begin, weights, said, later)
    if later:  # the event that waited for weeks comes once more
        said.append(Said(later + chance.uniform(0.0, 40.0), said[0].event))
    return sorted(said, key=lambda each: each.at)


def _heirs(chance: random.Random, begin: int, weights: Weights, said: list[Said], later: float) -> list[Said]:
    """Activities that continue others, in time, before these are opened, after their end, or by no right."""
    heirs: list[Said] = []
    earlier = said[-1].event.activity_id
    odds = HEIRS[0]
    for name in HEIR_NAMES:
        if chance.random() >= odds:
            break
        first = next(each for each in said + heirs if _opens(each, earlier))
        shift = chance.choice((-4.0, 1.0, 3.0, 12.0))
        opens = max(0.0, first.at - later + shift)
        more = msgspec.structs.replace(weights, opens=(opens, opens + 3.0))
        for number, each in enumerate(draw_life(chance, begin, more)):
            data = each.data
            if isinstance(data, Opened):
                data = _continuing(random.Random(f"{name}-{chance.random()}"), data, earlier, first)
            time = begin + round(each.time * SECOND)
            heirs.append(Said(later + each.at, event("/sim", f"{name}-{number}", name, time, data)))
        odds = HEIRS[1]
        earlier = earlier if chance.random() < HEIRS[2] else name
    return heirs


def _opens(said: Said, name: str) -> bool:
    return isinstance(said.event.data, Opened) and said.event.activity_id == name


def _continuing(chance: random.Random, data: Opened, earlier: str, first: Said) -> Opened:
    """Mostly in the same room, and with little that is given anew."""
    before = first.event.data
    assert isinstance(before, Opened)
    strange = chance.random() < 0.1
    return msgspec.structs.replace(
        data,
        continues=earlier,
        appid=before.appid,
        room=Room(opengid="r9") if strange else before.room,
        choose=before.choose if chance.random() < 0.8 else data.choose,
        participants=data.participants if chance.random() < 0.3 else (),
        deadline=data.deadline if chance.random() < 0.4 else None,
        notice=data.notice if chance.random() < 0.4 else None,
    )


def _other_life(chance: random.Random, begin: int) -> list[Said]:
    """An activity that is over and forgotten before the others begin, and an event far ahead of its own."""
    early = Completed(tuple(chance.sample(MEMBERS, 2)))
    opened = Opened(
        appid="wx1", template="complete", choose="everyone", expires_at=begin + round(LIFE * SECOND)
    )
    happens: list[tuple[float, str, EventData]] = [
        (chance.uniform(0.5, 5.0), NEVER, early),
        (0.2, OLD, opened),
        (chance.uniform(1.0, 6.0), OLD, Completed(tuple(chance.sample(MEMBERS, 3)))),
        (chance.uniform(4.0, 9.0), OLD, Closed()),
    ]
    return [
        Said(at, event("/sim", f"o{place}", name, begin + round(at * SECOND), data))
        for place, (at, name, data) in enumerate(happens)
    ]


def _weights(weather: Weather) -> Weights:
    def expires(chance: random.Random) -> float:
        life = LIFE if chance.random() < 0.85 else chance.uniform(80.0, 160.0)
        return chance.uniform(*weather.lives) if weather.lives else life

    return Weights(
        whom=MEMBERS,
        expires=expires,
        ends=LENGTH - 5,
        opens=weather.opens,
        listed=0.7,
        people=range(2, 6),
        apps=("wx1", "wx1", "wx2"),
        dated=0.7,
        deadlines=((15, 70),),
        notices=range(3, 20),
        complete=0.3,
        news=range(2, 6),
        kinds=((0.62, Completed), (0.8, Rescheduled), (0.9, Added)),
        together=(1, 1, 1, 2, 4),
        prompt=0.8,
        undated=0.15,
        moves=((10, 90),),
        moved_notices=(None, 5, 15),
        flips=weather.flips,
        ignored=("particpants",),
        lags=(0.0, 0.0, 1.0, 20.0),
        rooms=ROOMS if weather.rooms else (None,),
        openids=OPENIDS,
        by_openid=0.7 if weather.rooms else 0.0,
    )
