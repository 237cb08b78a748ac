"""What must hold at every commit and at every call, and what must have come true in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from contracts.decode import decode
from contracts.events import ADDED, Added, Completed, Event, EventData
from contracts.records import Record
from contracts.wechat import SetChatToolMsg, Verdict
from services.gateway.outgoing import SOURCE
from services.simulator.requests import Request
from services.store.rooms import Binding
from services.store.rows import CHANGES, EVENTS, InboxKey, Writes
from statemachine.card import CONTINUED, phase
from statemachine.gate import Gate
from statemachine.plan import END
from statemachine.states import ENDED
from statemachine.step import Result
from tests.verification.model.facts import Wait
from tests.verification.model.reference import Reference
from tests.verification.sim.cards import CardJudge

if TYPE_CHECKING:
    from tests.verification.sim.actors import Actor
    from tests.verification.sim.world import World

_MESSAGE = msgspec.json.Decoder(SetChatToolMsg)
_CHANGE = msgspec.json.Decoder(dict[str, Any])


class Broken(AssertionError):
    """An invariant does not hold: the schedule has found something."""


class Commit:
    """One committed transaction, as its process wrote it. `before`: what the judges knew
    of its keys as it asked; `seen`, `locked`: the gates as a claim saw them, and those it locked."""

    __slots__ = (
        *("actor", "admitted", "batch", "before", "bound", "locked", "now", "results", "seen", "writes"),
    )

    def __init__(self, actor: str, batch: tuple[Record, ...], results: tuple[Result, ...]) -> None:
        self.actor, self.batch, self.results = actor, batch, results
        self.admitted: dict[InboxKey, str] = {}
        self.before: dict[InboxKey, str] = {}
        self.writes: list[Writes] = []
        self.bound: list[Binding] = []
        self.seen: dict[str, Gate] = {}
        self.locked: dict[str, Gate] = {}
        self.now = 0


@dataclass(eq=False)
class Sent:
    """One message that left a process. `times`: how often WeChat applied it.

    `caller`: the process itself; another one may come to have its name.
    """

    caller: Actor
    activity_id: str
    target_state: int
    members: tuple[str, ...]
    fence: int
    at: float
    times: int = 0
    confirmed: bool = False
    settled: bool = False
    what: str = ""


class Judges:
    """See every commit and every call of all processes, in the order in which they happen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reference = Reference(world.settings.us("expiry_margin"), world.settings.us("expiring"))
        self.admitted: dict[InboxKey, str] = {}
        self.outcomes: dict[tuple[str, str], tuple[str, str]] = {}
        self.outbox: list[tuple[str, str, str]] = []
        self.left_out: set[tuple[str, str]] = set()
        self.unrepaired: set[str] = set()
        """Cards of which WeChat refused the repair of a doubt, and those whose id was dead when a doubt came
        up: what they show nobody knows (design.md §6)."""
        self.calls: list[Sent] = []
        self.commits = 0
        self.changes = 0
        self.parked_at: dict[InboxKey, int] = {}
        self.delivery = CardJudge(self)
        self.cards, self.marks = self.delivery.cards, self.delivery.marks

    def fail(self, what: str) -> None:
        """Something is wrong: the schedule ends here."""
        self.world.tell("judge", "finds", what)
        raise_in_world(self.world, Broken(what))

    def expect(self, truth: object, what: str) -> None:
        """Fail unless true."""
        if not truth:
            self.fail(what)

    # At every commit.

    def committed(self, commit: Commit) -> None:
        """A transaction has become true; called in the very step."""
        self.commits += 1
        if not (commit.admitted or commit.writes or commit.bound):
            return
        self.changes += 1
        self._admissions(commit)
        self._bindings(commit)
        for result in commit.results:
            card = result.claimed.card
            for sent in self.calls:
                if (sent.activity_id, sent.fence) == (card.activity_id, card.fence):
                    sent.settled = True
        for writes in commit.writes:
            self._buried(commit, writes)
            self.delivery.committed(commit, writes)
            for row in writes.outbox:
                if row.topic == CHANGES:
                    self.outbox.append((row.activity_id, row.id, row.body))
                    self._failure(row.activity_id, row.body)
        if self.world.telling:
            self.world.tell(commit.actor, "commits", *_told(commit))

    def _admissions(self, commit: Commit) -> None:
        """Each event counts once; the reference is fed in the order in which the store took them."""
        for key, how in commit.admitted.items():
            before = self.admitted.get(key)
            if how in ("new", "dead"):
                self.outcomes[key] = "applied", ""  # unless it says otherwise
            if how == "new":
                self.expect(before is None, f"{key} was taken in twice")
                self.admitted[key] = "new"
            elif how == "dead":
                self.expect(before == "dead", f"{key} was said to be dead")
                self.admitted[key] = "new" if key in self.world.events else "dead"
            else:
                known = commit.before.get(key)  # as it was asked; it may have been buried since
                self.expect(known == "new", f"{key} counts as a repeat, and was {known or 'never taken in'}")
        fed: set[InboxKey] = set()
        for record in commit.batch:
            event = self.world.event_of(record)
            if event is None:
                continue
            key = InboxKey(event.source, event.id)
            if key not in fed and commit.admitted.get(key) in ("new", "dead"):
                fed.add(key)
                self.parked_at[key] = commit.now
                self.reference.feed(event, commit.now)

    def _bindings(self, commit: Commit) -> None:
        """Whoever waited for a binding is told by it, each time he was named, and whoever came too late for
        a card that is continued by the batch; nobody else is."""
        waited: list[tuple[Wait, str]] = []
        for each in commit.bound:
            over = self.reference.bind((each.appid, each.room_id), each.openid, each.group_openid)
            waited += [(wait, each.group_openid) for wait in over]
        rows = [row for writes in commit.writes for row in writes.outbox if row.topic == EVENTS]
        told = []
        for row in rows:
            event = decode(row.body.encode())
            self.expect(isinstance(event, Event), f"an event of ours cannot be read: {event}")
            if isinstance(event, Event) and event.source.startswith(SOURCE):
                self.world.republished(event, row.body.encode())
                self.world.callers.opened(event)
            elif isinstance(event, Event):
                told.append((event.activity_id, event.type, event.time, event.data))
                self.world.republished(event, row.body.encode())
        wanted: list[tuple[str, str, int, EventData]] = []
        said = [(home, kind, time, people) for home, _, kind, time, people in self.reference.passed()]
        said += [(home, kind, time, (member,)) for (home, _, _, kind, time), member in waited]
        for home, kind, time, people in said:
            wanted.append((home, kind, time, Added(people) if kind == ADDED else Completed(people)))
        self.expect(
            sorted(told, key=repr) == sorted(wanted, key=repr), f"told are {told}, to be were {wanted}"
        )

    def _buried(self, commit: Commit, writes: Writes) -> None:
        for each in writes.outcomes:
            why = "" if each.outcome == "dead" else each.reason
            self.outcomes[InboxKey(each.source, each.id)] = each.outcome, why
        if commit.batch:
            for outcome in writes.outcomes:
                if outcome.outcome == "dead":
                    self.admitted[InboxKey(outcome.source, outcome.id)] = "dead"
            return
        for outcome in writes.outcomes:
            event = self.world.events[InboxKey(outcome.source, outcome.id)]
            self.expect(outcome.outcome == "dead", f"{event.id} became {outcome.outcome} by no event")
            key = InboxKey(event.source, event.id)
            waited = commit.now - self.parked_at[key]
            self.expect(waited >= self.world.settings.us("parked_after"), f"{key} was buried too early")
            self.admitted[key] = "dead"
            self.reference.bury(event)
        if commit.results:
            self._expired(commit, writes)
        else:
            for moved in writes.activities:  # by the clock
                self.reference.fire(commit.now, moved.activity.activity_id)

    def _expired(self, commit: Commit, writes: Writes) -> None:
        """A settle writes an activity that 47504 ends, or when the id of a card dies that it doubts again."""
        refused = {
            each.claimed.card.activity_id for each in commit.results if each.verdict is Verdict.expired
        }
        for moved in writes.activities:
            name = moved.activity.activity_id
            if moved.activity.state == self.cards[name].state:
                self.expect(moved.due_at is not None, f"{name} is doubted again, and no clock will close it")
                continue
            dead = name in refused and self.world.wall() >= self.world.model.cards[name].expires_at
            self.expect(dead, f"{name} was said to be expired")
            self.reference.expire(name, commit.now)

    def _failure(self, name: str, body: str) -> None:
        if "livecard.card.failed" not in body:
            return
        change = _CHANGE.decode(body)
        if change["type"] == "livecard.card.failed":
            self.left_out.update((name, member) for member in change["data"].get("members", ()))

    # At every call.

    def sent(self, actor: Actor, call: Request, ends: float) -> Sent:
        """A message leaves a process: in the same step as its lease check."""
        body = _MESSAGE.decode(call.body)
        name, world = body.activity_id, self.world
        card = self.cards.get(name)
        members = tuple(each.group_openid for each in body.participator_info_list or ())
        taken = card is not None and card.verdict == CONTINUED  # from whoever held it, who cannot know yet
        fence = card.fence - taken if card is not None else 0
        holds = card is not None and (taken or card.lease_by == actor.name)
        if card is None or not holds or (name, fence) not in self.delivery.claims:
            self.fail(f"{actor.name} calls for {name} without holding it")
            raise AssertionError
        until = world.moment(ends)
        held = taken or card.lease_until >= until
        self.expect(held, f"the lease of {name} ends before its call must be over")
        expected = self.reference.expected(name)
        what = f"{name} := {body.target_state} {' '.join(members)}"
        claim = self.delivery.claims[name, fence]
        self.expect(claim.actor == actor.name, f"{actor.name} calls for {name}, which {claim.actor} claimed")
        for member in members:
            self.expect(member in expected.done, f"{member} of {name} is told as done, which nobody said")
            since = self.delivery.marked.get((name, member), 0)  # or just now, by who had lost its fence
            told = self.marks.get((name, member)) and since <= claim.commits
            self.expect(not told, f"{member} of {name} is told again after it was settled")
        self.expect(card.may_show >= body.target_state, f"{what} was claimed, may_show {card.may_show}")
        ended = claim.state == ENDED
        alone = body.target_state == END and not members
        waits = claim.end_by is not None and claim.at < claim.end_by
        checked = waits and claim.singles >= 3  # whether the request itself is wrong
        self.expect(members or not ended or alone or checked, f"{name} has ended and is told otherwise")
        self.expect(not (members and ended) or waits, f"{what} though the end waits for nobody any more")
        called = any(each.target_state == END for each in self.calls if each.activity_id == name)
        self.expect(alone or not called, f"{what} though its end was called")
        sent = Sent(actor, name, body.target_state, members, fence, world.loop.time(), what=what)
        self.calls.append(sent)
        return sent

    def applied(self, sent: Sent) -> None:
        """WeChat shows it."""
        sent.times += 1


def insist(truth: object, what: str) -> None:
    """Raise `Broken` unless true."""
    if not truth:
        raise Broken(what)


def raise_in_world(world: World, error: Broken) -> None:
    """The first failure is the one that counts, and ends the schedule."""
    if world.broken is None:
        world.broken = error
        world.loop.halt()


def _told(commit: Commit) -> list[object]:
    """A commit in a few words, for the story and the digest."""
    words: list[object] = []
    for key, how in commit.admitted.items():
        words.append(f"{key.id}:{how}")
    for result in commit.results:
        verdict = result.verdict.value if result.verdict else "nothing"
        words.append(f"settles {result.claimed.card.activity_id}#{result.claimed.card.fence} {verdict}")
    words += [f"{each.openid} is {each.group_openid} in {each.room_id}" for each in commit.bound]
    for writes in commit.writes:
        words += [f"{each.openid} waits in {each.activity_id}" for each in writes.wait]
        for card in writes.cards:
            words.append(f"{card.activity_id}#{card.fence} {phase(card)}")
            words.append(
                f"shown {card.shown}/{card.may_show} settled {card.settled}/{card.revision}"
                + (" doubted" if card.doubt_at else "")
            )
        moved = [each.activity for each in writes.activities]
        words += [f"{each.activity_id} is {each.state} at {each.revision}" for each in moved]
        words += [f"{each.activity.activity_id} at {each.activity.revision}" for each in writes.progress]
        words += [
            f"the gate of {each.appid} is {each.reason or 'open'} #{each.generation}" for each in writes.gates
        ]
    return words


def describe(event: Event) -> str:
    """An event in a few words."""
    said = msgspec.to_builtins(event.data)
    return f"{event.id} {event.type.rsplit('.', 1)[-1]} {event.activity_id} {said.get('members', '')}"
