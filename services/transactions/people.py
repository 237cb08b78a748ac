"""Whom the events of one transaction concern, read under the locks of their activities (design.md §5, §8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from contracts.events import Added, Completed, Event, Opened
from services.store.ports import Tx
from services.store.rooms import BindingKey
from services.store.rows import MemberRow
from statemachine import activity as machine
from statemachine.card import Card
from statemachine.continuing import may_continue, opening_of
from statemachine.model import Activity, Aggregate, Member, Room
from statemachine.states import UNOPENED

NAMING: Final = (Completed, Added)
"""Events that name members of an activity that is open already."""


MOST_CARRIED: Final = 100_000
"""Members, and people who wait for a binding, whom one transaction carries over into another card."""
TOO_LARGE: Final = (
    f"the activity that this one continues has more than {MOST_CARRIED} members and people who wait for a "
    "binding: open one without `continues`"
)


def members_of(activity: Activity) -> int:
    """How many there are at least; all of them where they are listed."""
    return max(activity.participants, activity.done)


class People:
    """The locked activities with the members at hand. `before`: their cards as they were read; `bound`: who
    is who; `owed`: who is owed in activities that are continued; `too_large`: those with more people than one
    transaction may carry over."""

    def __init__(self, tx: Tx) -> None:
        self.tx, self.now = tx, 0
        self.aggregates: dict[str, Aggregate] = {}
        self.before: dict[str, Card] = {}
        self.bound: dict[tuple[str, str, str], str] = {}
        self.owed: dict[str, list[str]] = {}
        self.too_large: set[str] = set()

    def is_open(self, name: str) -> bool:
        """Whether the activity was opened, here or before."""
        aggregate = self.aggregates.get(name)
        return aggregate is not None and aggregate.activity.state != UNOPENED

    def is_too_much(self, event: Event) -> bool:
        """Whether it opens a card that may continue another one, but that has too many people."""
        data = event.data
        if not isinstance(data, Opened) or data.continues not in self.too_large:
            return False
        return not self.is_open(event.activity_id) and may_continue(data, self.aggregates[data.continues])

    async def read_continued(self, names: Sequence[str]) -> None:
        """Everybody in activities that are continued, where they are, who is owed there, and who waits."""
        rooms = await self.tx.rooms(names)
        waiting = await self.tx.count_unbound(names)
        for name in names:
            aggregate = self.aggregates[name]
            aggregate.room = rooms.get(name)
            if members_of(aggregate.activity) + waiting.get(name, 0) > MOST_CARRIED:
                self.too_large.add(name)
        names = [name for name in names if name not in self.too_large]
        for row in await self.tx.all_members(names):
            self._keep_member(row)
        for name, owed in (await self.tx.owed(names)).items():
            self.owed[name] = [each.group_openid for each in owed]
        await self._read_unbound(names)

    async def _read_unbound(self, names: Sequence[str]) -> None:
        for name in names:
            self.aggregates[name].waiting = []
        for row in await self.tx.unbound(names):
            self.aggregates[row.activity_id].waiting.append(row)

    async def _read_bindings(self, events: Sequence[Event]) -> None:
        """Who is who, of those named by openid, in every room that their activities have or may come to have
        by this batch. Until it is over nobody of them becomes known: whoever is not waits."""
        aggregates = self.aggregates.values()
        parked = [each for aggregate in aggregates for each in (*aggregate.early, *aggregate.heirs)]
        named: dict[str, set[str]] = {}
        for event in (*events, *parked):
            if isinstance(event.data, NAMING) and event.data.openids:
                named.setdefault(event.activity_id, set()).update(event.data.openids)
        carried = {each.activity.activity_id: each.waiting for each in aggregates if each.waiting}
        if not (named or carried):
            return
        rooms: dict[str, set[Room]] = {}
        for name, room in (await self.tx.rooms(sorted(named))).items():
            self.aggregates[name].room, rooms[name] = room, {room}
        for event in (*events, *parked):
            if isinstance(event.data, Opened) and not self.is_open(event.activity_id):
                found = opening_of(event.data).room
                rooms.setdefault(event.activity_id, set()).update([found] if found else [])
        people = {
            BindingKey(*room, openid)
            for name, openids in named.items()
            for room in rooms.get(name, ())
            for openid in openids
        }
        people |= {BindingKey(*each[:3]) for waiting in carried.values() for each in waiting}
        self.bound.update((await self.tx.lock_bindings(sorted(people))).items())
        if carried:  # some may have become known before their bindings were locked
            await self._read_unbound(sorted(carried))
        self.now = await self.tx.now()

    async def _read_members(self, events: Sequence[Event]) -> None:
        pairs = set[tuple[str, str]]()
        for event in events:
            if isinstance(event.data, NAMING):
                aggregate = self.aggregates[event.activity_id]
                if aggregate.activity.state != UNOPENED:
                    members, _ = machine.named(aggregate, event.data)
                    pairs.update([(event.activity_id, group_openid) for group_openid in members])
        for row in await self.tx.members(sorted(pairs)):
            self._keep_member(row)

    def _keep_member(self, row: MemberRow) -> None:
        member = Member(row.group_openid, row.state, row.late, row.done_at)
        self.aggregates[row.activity_id].members[row.group_openid] = member
