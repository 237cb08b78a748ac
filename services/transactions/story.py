"""One activity's story: what came in, what changed and what was called, in one order.

The store keeps states, not a history of events: what an event did is told by the changes that followed it, as
far as they are handed in, and before that by the times that the activity and its members remember.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from contracts.changes import Change, ChangeData, ParticipantDone
from services.store.ports import Store
from services.store.pulse import DoneMember, Lately
from services.store.rows import Attempt, Seen
from services.transactions.views import ActivityView, activity_view
from statemachine.card import DeliveryRules

MOST: Final = 100
"""Calls, changes, members and waiting events that are told, of each the last."""

Kind = Literal["seen", "opened", "rescheduled", "ended", "done", "parked", "outbox", "change", "call"]
Facts = Attempt | ChangeData | None


class Moment(msgspec.Struct, frozen=True):
    """One line of the story, at a time (µs). `facts`: the call or the change. `names`, `word`: whom or which
    events it is about, and why, for those that come from the store."""

    at: int
    kind: Kind
    facts: Facts = None
    names: tuple[str, ...] = ()
    word: str = ""


class Story(msgspec.Struct, frozen=True):
    """The activity as it is, and its moments, newest first."""

    view: ActivityView
    moments: tuple[Moment, ...]


async def read_story(
    store: Store, activity_id: str, changes: Sequence[Change], rules: DeliveryRules
) -> Story | None:
    """`changes`: the latest that are known of it, oldest first. None where no event about it was ever taken
    in."""
    seen = await store.show(activity_id)
    if seen is None:
        return None
    lately = await store.lately(activity_id, MOST)
    calls = await store.attempts(activity_id, MOST)
    return Story(activity_view(seen, rules), moments(seen, lately, calls, changes))


def moments(
    seen: Seen, lately: Lately, calls: Iterable[Attempt], changes: Sequence[Change]
) -> tuple[Moment, ...]:
    """Everything that is known, newest first; what a change tells, the store does not tell again."""
    found = [Moment(each.at, "call", each) for each in calls]
    found += [Moment(each.time, "change", each.data) for each in changes]
    found += [Moment(each.parked_at, "parked", None, (f"{each.source} {each.id}",)) for each in lately.parked]
    found += [Moment(each.created_at, "outbox", None, (each.id,), each.topic) for each in lately.outbox]
    found += _remembered(seen, changes)
    found += _done(lately.done, changes)
    return tuple(sorted(found, key=lambda each: (-each.at, _RANK.get(each.kind, 2))))


_RANK: Final = {"call": 0, "change": 1}
"""Of one time: a call stands above the change that led to it, and that above the rest."""


def _remembered(seen: Seen, changes: Sequence[Change]) -> list[Moment]:
    """The activity's own times, those before the first change that is known."""
    activity = seen.activity
    first = min((each.time for each in changes), default=None)
    times: tuple[tuple[int | None, Kind, str], ...] = (
        (seen.seen_at, "seen", ""),
        (seen.opened_at, "opened", ""),
        (activity.rescheduled_at, "rescheduled", ""),
        (activity.end_known_at, "ended", activity.reason),
    )
    return [
        Moment(at, kind, word=word)
        for at, kind, word in times
        if at is not None and (first is None or at < first or kind == "seen")
    ]


def _done(members: Iterable[DoneMember], changes: Sequence[Change]) -> list[Moment]:
    """Members who are done, together where they came together, without those whom a change names."""
    named = {who for each in changes if isinstance(each.data, ParticipantDone) for who in each.data.members}
    together: defaultdict[tuple[int, bool], list[str]] = defaultdict(list)
    for member in members:
        if member.group_openid not in named:
            together[member.done_at, member.late].append(member.group_openid)
    return [
        Moment(at, "done", None, tuple(names), "late" if late else "")
        for (at, late), names in together.items()
    ]
