"""Histories for the machines: events and moments, drawn so that boundaries and repetitions are common."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from contracts.events import Added, Closed, Completed, Event, EventData, Opened, Rescheduled, Room
from contracts.times import SECOND
from tests.verification.lives.wire import TYPES
from tests.verification.model.facts import Passed, Wait

START = 1_795_248_000 * SECOND
STEP = 30 * SECOND
"""Moments lie on a grid, so that "exactly at the end" is drawn all the time."""
MARGIN = 2 * STEP
LAST = 40

PEOPLE = ("ann", "bob", "cat", "dan")


ROOMS = ("r1", "r2")
OPENIDS = {f"o-{name}": name for name in PEOPLE}


def at(step: int) -> int:
    """The moment `step` steps after the start, µs."""
    return START + step * STEP


def event(
    data: EventData, number: int = 0, *, time: int = START, home: str = "a", source: str = "/s"
) -> Event:
    """An event around its data; `number` makes its id."""
    return Event(
        source=source, id=f"e{number}", type=TYPES[type(data)], activity_id=home, time=time, data=data
    )


def opened(**changed: Any) -> Opened:
    """An opening that lives from the start to the 40th step, for ann and bob, unless told otherwise."""
    facts: dict[str, Any] = {
        "appid": "wx1",
        "template": "complete",
        "expires_at": at(LAST),
        "participants": ("ann", "bob"),
        "deadline": at(20),
        "notice": 300,
    }
    return Opened(**{**facts, **changed})


knots = st.sampled_from([at(0), at(10), at(20), at(LAST) - MARGIN, at(LAST)])
"""Moments at which much meets: events and ends of the same µs are what boundaries are made of."""
moments = knots | st.integers(-4, LAST + 4).map(at)
deadlines = st.none() | knots | st.integers(-2, LAST + 4).map(at)
notices = st.sampled_from([0, 30, 300, 1200])
groups = st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=4, unique=True).map(tuple)
sets_of_people = st.lists(st.sampled_from(PEOPLE), max_size=3, unique=True).map(tuple)

openings = st.builds(
    opened,
    expires_at=st.just(at(LAST)) | st.integers(0, LAST).map(at),
    participants=sets_of_people,
    deadline=deadlines,
    notice=notices,
    choose=st.sampled_from(["listed", "listed", "everyone"]),
    close_when_complete=st.booleans(),
    room=st.sampled_from([None, Room(opengid="r1"), Room(opengid="r1"), Room(open_single_roomid="r2")]),
    ignored=st.sampled_from([(), (), ("particpants",), ("room.opengId", "deadlin")]),
)
successions = st.builds(
    opened,
    appid=st.sampled_from(["wx1", "wx1", "wx1", "wx2"]),
    room=st.sampled_from([None, Room(opengid="r1"), Room(opengid="r1"), Room(opengid="r1")]),
    expires_at=st.just(at(LAST)) | st.integers(0, LAST).map(at),
    participants=st.just(()) | sets_of_people,
    deadline=st.none() | deadlines,
    notice=st.none() | notices,
    choose=st.sampled_from(["listed", "listed", "everyone"]),
    close_when_complete=st.booleans(),
    continues=st.sampled_from(["a", "a", "b", "b", "c"]),
)
"""Openings that continue another card, of which some are of another app or room, or the very same."""
openids = st.lists(st.sampled_from([*OPENIDS]), min_size=1, max_size=3, unique=True).map(tuple)
completions = st.builds(Completed, groups)
additions = st.builds(Added, groups)
by_openid = st.sampled_from([Completed, Completed, Added]).flatmap(
    lambda kind: st.builds(kind, groups | st.just(()), openids)
)
reschedules = st.builds(Rescheduled, deadline=deadlines, notice=st.none() | notices)
closings = st.builds(Closed, note=st.none() | st.just("over"))
news: st.SearchStrategy[EventData] = st.one_of(
    completions, completions, by_openid, additions, reschedules, closings
)


def events(
    data: st.SearchStrategy[Any] = openings | news, homes: tuple[str, ...] = ("a", "a", "b")
) -> st.SearchStrategy[Event]:
    """Events of few activities and two sources with few ids: the same id also comes with other content."""
    return st.builds(
        event,
        data,
        st.integers(0, 9),
        time=moments,
        home=st.sampled_from(homes),
        source=st.sampled_from(["/s", "/t"]),
    )


class Bind(NamedTuple):
    """Somebody becomes known in a room: mostly as who he is."""

    room_id: str
    openid: str
    member: str

    @property
    def room(self) -> tuple[str, str]:
        """With its app."""
        return "wx1", self.room_id


bindings = st.sampled_from(
    [Bind(room, openid, name) for room in ROOMS for openid, name in OPENIDS.items()]
    + [Bind("r1", "o-ann", "bob")]
)


def _about(kind: str, members: tuple[str, ...]) -> EventData:
    return Completed(members) if kind == TYPES[Completed] else Added(members)


def known(wait: Wait, member: str) -> Event:
    """The event that becomes of a wait which is over."""
    home, openid, cause, kind, time = wait
    data = _about(kind, (member,))
    return Event(
        source="/livecard", id=f"{home}/{openid}/{cause}", type=kind, activity_id=home, time=time, data=data
    )


def passed_on(passed: Passed) -> Event:
    """The event that becomes of members of whom was heard too late."""
    home, cause, kind, time, members = passed
    data = _about(kind, members)
    return Event(source="/livecard", id=f"{home}<{cause}", type=kind, activity_id=home, time=time, data=data)


class Announce(NamedTuple):
    """The API gives an id to an app."""

    home: str
    appid: str


announcements = st.builds(Announce, st.sampled_from(["a", "b"]), st.sampled_from(["wx1", "wx2"]))


Step = tuple[Event | Bind | Announce | str | None, int]
"""What happens and when: an event, a binding, an announcement, an activity's id that WeChat calls dead
(47504), or None: timers."""


def histories(longest: int = 20) -> st.SearchStrategy[list[Step]]:
    """Steps at moments that mostly go forward; the database's clock may also be set back."""
    others = bindings | announcements | st.none() | st.sampled_from(["a", "b"])
    happenings = events() | events() | others
    wild = st.lists(st.tuples(happenings, moments), max_size=longest)
    return wild | wild.map(_in_order) | _lives(longest)


def lines(longest: int = 20) -> st.SearchStrategy[list[Step]]:
    """Steps of three activities that continue each other, in order and in disorder."""
    happenings = events(openings | successions | successions | news, ("a", "b", "c"))
    happens: st.SearchStrategy[Event | Announce | None] = happenings | happenings | announcements | st.none()
    steps: st.SearchStrategy[list[Step]] = st.lists(st.tuples(happens, moments), min_size=2, max_size=longest)
    return steps | steps.map(_in_order) | _passing(longest)


def _passing(longest: int) -> st.SearchStrategy[list[Step]]:
    """A card that another one continues, while people join and are done; sometimes more continue it."""
    kinds = st.sampled_from(["listed", "everyone"])
    first = st.builds(event, st.builds(opened, choose=kinds, deadline=st.none() | deadlines), st.just(99))
    then = st.builds(opened, choose=kinds, participants=st.just(()), continues=st.just("a"))
    next_ = st.builds(event, then, st.just(98), home=st.just("b"))
    happenings = events(completions | completions | additions | successions, ("a", "a", "b", "c"))
    steps = st.lists(st.tuples(happenings, moments), min_size=2, max_size=longest)

    def line(begin: Event, heir: Event, opens: int, steps: list[tuple[Event, int]]) -> list[Step]:
        return [(begin, at(0)), *_in_order([(heir, opens), *steps])]

    return st.builds(line, first, next_, moments, steps)


def _lives(longest: int) -> st.SearchStrategy[list[Step]]:
    """One activity that is open at first and meets much, reschedules above all."""
    rooms = st.sampled_from([None, Room(opengid="r1")])
    first = st.builds(event, st.builds(opened, deadline=deadlines, notice=notices, room=rooms), st.just(99))
    datas = reschedules | reschedules | completions | by_openid | bindings | additions | closings
    steps = st.lists(st.tuples(datas, moments, moments), min_size=2, max_size=longest)

    def life(begin: Event, steps: list[tuple[EventData | Bind, int, int]]) -> list[Step]:
        meets: list[Step] = [
            (what if isinstance(what, Bind) else event(what, number, time=time), now)
            for number, (what, time, now) in enumerate(steps)
        ]
        return [(begin, at(0)), *_in_order(meets)]

    return st.builds(life, first, steps)


def _in_order(steps: list[Step]) -> list[Step]:
    return list(zip([what for what, _ in steps], sorted(now for _, now in steps), strict=True))
