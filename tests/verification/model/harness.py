"""The state machines with the least around them: an inbox, rows, and the reading of what an event names.

As in the store, each event meets an aggregate that holds only the members it names, and what the machines
did not touch is not written back.
"""

from __future__ import annotations

from contracts.events import Added, Completed, Event, Opened
from services.store.rooms import once_each
from statemachine import activity as machine
from statemachine.model import Activity, Aggregate, Member, Opening, Published, Rules, Unbound
from statemachine.states import UNOPENED
from tests.verification.model.facts import Expected, Key, Passed, Result, Wait


class Machines:
    """`Reference`'s verbs on the real machines; the rows are public so that tests can look at them."""

    def __init__(self, margin_us: int, expiring_us: int = 0) -> None:
        self.rules = Rules(margin=margin_us, expiring=expiring_us)
        self.activities: dict[str, Activity] = {}
        self.members: dict[str, dict[str, Member]] = {}
        self.parked: dict[str, list[Event]] = {}
        self.heirs: dict[str, list[Event]] = {}
        self.published: dict[str, list[Published]] = {}
        self.outcomes: dict[Key, Result] = {}
        self.homes: dict[Key, str] = {}
        self.openings: dict[str, Opening] = {}
        self.bound: dict[tuple[str, str, str], str] = {}
        self.unbound: list[Unbound] = []
        self.promised: dict[str, str] = {}
        self.repeats = 0
        self._passed: list[Passed] = []

    def feed(self, event: Event, now: int) -> None:
        """One event arrives, once or again."""
        key = (event.source, event.id)
        if key in self.homes:
            self.repeats += 1
            return
        self.homes[key] = event.activity_id
        aggregate, others = self._read(event), self._others(event)
        known = others | {event.activity_id: aggregate}
        for each, outcome in machine.handle(aggregate, event, now, self.rules, known):
            self.outcomes[each.source, each.id] = (outcome.kind, outcome.reason)
        for one in known.values():
            self._write(one)
            name = one.activity.activity_id
            self.parked[name], self.heirs[name], self.promised[name] = one.early, one.heirs, one.appid

    def _others(self, event: Event) -> dict[str, Aggregate]:
        """The activity that it continues, with everybody in it, and those whose openings wait for it."""
        if not isinstance(event.data, Opened):
            return {}
        names, todo = set[str](), [event.activity_id]
        if event.data.continues is not None:
            names.add(event.data.continues)
        while todo:
            more = {each.activity_id for each in self.heirs.get(todo.pop(), ())} - names
            names |= more
            todo += more
        return {name: self._whole(name) for name in names - {event.activity_id}}

    def _whole(self, name: str) -> Aggregate:
        aggregate = Aggregate(self.activities.setdefault(name, Activity(name)), bound=self.bound)
        aggregate.members = dict(self.members.get(name, {}))
        aggregate.waiting = [each for each in self.unbound if each.activity_id == name]
        aggregate.early = [*self.parked.get(name, [])]
        aggregate.heirs = [*self.heirs.get(name, [])]
        aggregate.appid = self.promised.get(name, "")
        if name in self.openings:
            aggregate.appid, aggregate.room = self.openings[name].appid, self.openings[name].room
        return aggregate

    def announce(self, activity_id: str, appid: str) -> None:
        """As `services.transactions.announce`: unless there is something already, or something waits."""
        state = self.activities.get(activity_id, Activity(activity_id)).state
        parked = self.parked.get(activity_id) or self.heirs.get(activity_id)
        if state == UNOPENED and not (parked or self.promised.get(activity_id)):
            self.promised[activity_id] = appid

    def fire(self, now: int) -> None:
        """Time has come to `now` for every activity."""
        for activity in self.activities.values():
            aggregate = Aggregate(activity)
            machine.fire_due(aggregate, now, self.rules)
            self._write(aggregate)

    def expire(self, activity_id: str, now: int) -> None:
        """WeChat said 47504."""
        aggregate = Aggregate(self.activities.setdefault(activity_id, Activity(activity_id)))
        machine.end_expired(aggregate, now, self.rules)
        self._write(aggregate)

    def bind(self, room: tuple[str, str], openid: str, member: str) -> list[Wait]:
        """Somebody becomes known in a room."""
        key = (*room, openid)
        self.bound[key] = member
        over = [_wait(each) for each in self.unbound if each[:3] == key]
        self.unbound = [each for each in self.unbound if each[:3] != key]
        return over

    def passed(self) -> list[Passed]:
        """Of whom was heard too late since this was asked, for the activity that goes on."""
        passed, self._passed = self._passed, []
        return passed

    def expected(self, activity_id: str) -> Expected:
        """What the rows say, in the reference's words."""
        activity = self.activities.get(activity_id) or Activity(activity_id)
        members = self.members.get(activity_id, {}).values()
        done = [each for each in members if each.state == "done"]
        listed = activity.choose == "listed"
        assert activity.done == len(done)
        assert activity.participants == (len(members) if listed else 0)
        return Expected(
            state=activity.state,
            reason=activity.reason,
            revision=activity.revision,
            done=frozenset(each.group_openid for each in done if each.owed),
            late=frozenset(each.group_openid for each in done if each.late),
            listed=frozenset(each.group_openid for each in members) if listed else None,
            outcomes={key: self.outcomes[key] for key, home in self.homes.items() if home == activity_id},
            published=tuple(each.data for each in self.published.get(activity_id, [])),
            ended_at=activity.ended_at,
            waiting=frozenset(_wait(each) for each in self.unbound if each.activity_id == activity_id),
        )

    def _read(self, event: Event) -> Aggregate:
        name, data = event.activity_id, event.data
        activity = self.activities.setdefault(name, Activity(name))
        opening = self.openings.get(name)
        aggregate = Aggregate(activity, bound=self.bound, room=opening.room if opening else None)
        aggregate.appid = self.promised.get(name, "")
        if isinstance(data, Completed | Added):
            rows = self.members.get(name, {})
            named, _ = machine.named(aggregate, data)
            aggregate.members = {each: rows[each] for each in named if each in rows}
        if activity.state == UNOPENED:
            aggregate.early = [*self.parked.get(name, [])]
            aggregate.heirs = [*self.heirs.get(name, [])]
        return aggregate

    def _write(self, aggregate: Aggregate) -> None:
        name = aggregate.activity.activity_id
        self.activities[name] = aggregate.activity
        self.members.setdefault(name, {}).update(aggregate.touched)
        self.published.setdefault(name, []).extend(aggregate.published)
        self.unbound = once_each([*self.unbound, *aggregate.waits])
        self._passed += [(to, (by.source, by.id), by.type, by.time, who) for to, by, who in aggregate.passed]
        if aggregate.opening is not None:
            self.openings[name] = aggregate.opening


def _wait(unbound: Unbound) -> Wait:
    _, _, openid, activity_id, source, id_, kind, time = unbound
    return activity_id, openid, (source, id_), kind, time
