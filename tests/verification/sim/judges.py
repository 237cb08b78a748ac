"""What must hold at every commit and at every call, and what must have come true in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from contracts.events import Event
from contracts.records import Record
from contracts.wechat import SetChatToolMsg, Verdict
from services.simulator.calls import Call
from services.store.rows import CHANGES, CONFIRMED, SET_ASIDE, Card, InboxKey, Writes
from services.transactions.settle import Look
from statemachine.states import ENDED
from tests.verification.model.reference import Reference

if TYPE_CHECKING:
    from tests.verification.sim.actors import Actor
    from tests.verification.sim.world import World

_MESSAGE = msgspec.json.Decoder(SetChatToolMsg)
_CHANGE = msgspec.json.Decoder(dict[str, Any])


class Broken(AssertionError):
    """An invariant does not hold: the schedule has found something."""


class Commit:
    """One committed transaction, as its process wrote it. `before`: what the judges knew
    of its keys as it asked; `gates`: until when those it saw were closed."""

    __slots__ = ("actor", "admitted", "batch", "before", "gates", "looks", "now", "writes")

    def __init__(self, actor: str, batch: tuple[Record, ...], looks: tuple[Look, ...]) -> None:
        self.actor, self.batch, self.looks = actor, batch, looks
        self.admitted: dict[InboxKey, str] = {}
        self.before: dict[InboxKey, str] = {}
        self.writes: list[Writes] = []
        self.gates: dict[str, int] = {}
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
        self.reference = Reference(world.settings.us("expiry_margin"))
        self.cards: dict[str, Card] = {}
        self.marks: dict[tuple[str, str], int] = {}
        self.admitted: dict[InboxKey, str] = {}
        self.outbox: list[tuple[str, str, str]] = []
        self.left_out: set[tuple[str, str]] = set()
        self.calls: list[Sent] = []
        self.commits = 0
        self.changes = 0
        self.states: dict[tuple[str, int], str] = {}
        self.parked_at: dict[InboxKey, int] = {}

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
        if not (commit.admitted or commit.writes):
            return
        self.changes += 1
        self._admissions(commit)
        for look in commit.looks:
            for sent in self.calls:
                if (sent.activity_id, sent.fence) == (_id(look), look.claimed.card.fence):
                    sent.settled = True
        for writes in commit.writes:
            self._buried(commit, writes)
            if writes.cards:
                self._cards(commit, writes)
            for mark in writes.marks:
                self._mark(commit, mark.activity_id, mark.group_openid, mark.delivered)
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

    def _buried(self, commit: Commit, writes: Writes) -> None:
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
        if commit.looks and writes.activities:
            self._expired(commit, writes)

    def _expired(self, commit: Commit, writes: Writes) -> None:
        for activity in writes.activities:
            card = self.world.model.cards[activity.activity_id]
            self.expect(
                self.world.wall() >= card.expires_at, f"{activity.activity_id} was said to be expired"
            )
            self.reference.expire(activity.activity_id, commit.now)

    def _cards(self, commit: Commit, writes: Writes) -> None:
        looks = {(look.claimed.card.activity_id, look.claimed.card.fence): look for look in commit.looks}
        for card in writes.cards:
            name = card.activity_id
            before = self.cards.get(name) or Card(name, "", "", "", "", 0, 0, settled=1)
            self.expect(card.fence >= before.fence, f"the fence of {name} falls to {card.fence}")
            took = card.lease_by == commit.actor and card.lease_until > self.world.wall()
            if took and (card.lease_by, card.lease_until) != (before.lease_by, before.lease_until):
                free = before.lease_until <= self.world.wall()
                self.expect(free, f"{name} was claimed though {before.lease_by} holds it")
                self.expect(card.fence > before.fence, f"{name} was claimed without a new fence")
                shut = commit.gates.get(card.appid, commit.now + 1) > commit.now
                self.expect(not shut, f"{name} was claimed though the gate of {card.appid} is closed")
                self.states[name, card.fence] = card.state
            look = looks.get((name, before.fence))
            if commit.looks:
                self._settled(name, before, card, look)
            self.cards[name] = msgspec.structs.replace(card)

    def _settled(self, name: str, before: Card, card: Card, look: Look | None) -> None:
        """Nothing but a doubt is written by whoever has lost its fence."""
        changed = [
            each
            for each in ("settled", "shown", "lease_until", "fence", "verdict", "final", "list_limit")
            if getattr(card, each) != getattr(before, each)
        ]
        self.expect(look is not None or not changed, f"a stale fence settled {changed} of {name}")
        if look is None:
            return
        most = max(before.settled, look.claimed.card.revision)
        self.expect(card.settled <= most or card.final, f"{name} settled {card.settled}, claimed {most}")
        if card.verdict != before.verdict:
            self._given_up(name, card)
        shown = self.world.model.cards[name]
        if card.shown != before.shown:
            known = any(each.target_state == card.shown for each in shown.history)
            self.expect(known, f"{name} counts as shown {card.shown}, which WeChat never had")
        if look.verdict is Verdict.ok and look.call is not None:
            for sent in self.calls:
                if sent.activity_id == name and sent.fence == look.claimed.card.fence:
                    sent.confirmed = True

    def _given_up(self, name: str, card: Card) -> None:
        """Dead for a revision: only for what was really refused."""
        if card.verdict == "rejected":
            strangers = self.world.strangers[name]
            self.expect(len(strangers) > 2, f"{name} was given up for {len(strangers)} strangers")
            confirmed = any(sent.confirmed for sent in self.calls if sent.activity_id == name)
            self.expect(not confirmed, f"{name} was given up though a call of it succeeded")
        elif card.verdict == "unknown_code":
            struck = self.world.struck
            self.expect(struck["odd_code"] + struck["odd_codes"] > 2, f"{name} was given up for no code")

    def _mark(self, commit: Commit, name: str, member: str, delivered: int) -> None:
        if delivered == SET_ASIDE:
            looks = [look for look in commit.looks if _id(look) == name]
            fit = member in self.world.strangers.get(name, ())
            fit = fit or any(member in look.left_out or self._odd(look, member) for look in looks)
            self.expect(fit, f"{member} of {name} was set aside, and WeChat knows it")
        if delivered == CONFIRMED:
            posts = self.world.model.cards[name].posts
            self.expect(member in posts, f"{member} of {name} counts as delivered, which WeChat never had")
        self.marks[name, member] = delivered

    def _odd(self, look: Look, member: str) -> bool:
        """Whether codes that nobody documents were answered for them again and again, before the end."""
        struck, call = self.world.struck, look.call
        coded = look.verdict is Verdict.unknown_code and call is not None and member in call.members
        return coded and look.claimed.card.end_due and struck["odd_code"] + struck["odd_codes"] > 2

    def _failure(self, name: str, body: str) -> None:
        if "livecard.card.failed" not in body:
            return
        change = _CHANGE.decode(body)
        if change["type"] == "livecard.card.failed":
            self.left_out.update((name, member) for member in change["data"].get("members", ()))

    # At every call.

    def sent(self, actor: Actor, call: Call, ends: float) -> Sent:
        """A message leaves a process: in the same step as its lease check."""
        body = _MESSAGE.decode(call.body)
        name, world = body.activity_id, self.world
        card = self.cards.get(name)
        members = tuple(each.group_openid for each in body.participator_info_list or ())
        if card is None or card.lease_by != actor.name:
            self.fail(f"{actor.name} calls for {name} without holding it")
            raise AssertionError
        until = world.moment(ends)
        self.expect(card.lease_until >= until, f"the lease of {name} ends before its call must be over")
        expected = self.reference.expected(name)
        for member in members:
            self.expect(member in expected.done, f"{member} of {name} is told as done, which nobody said")
            told = self.marks.get((name, member), 0)
            self.expect(told == 0, f"{member} of {name} is told again after it was settled")
        ended = self.states.get((name, card.fence)) == ENDED
        self.expect(members or not ended or body.target_state == 3, f"{name} has ended and is told otherwise")
        self.expect(
            card.shown != 3 or body.target_state == 3, f"{name} is told {body.target_state} after its end"
        )
        what = f"{name} := {body.target_state} {' '.join(members)}"
        shown = any(each.target_state == 3 and each.times for each in self.calls if each.activity_id == name)
        self.expect(not shown or body.target_state == 3, f"{name} shows its end and is told otherwise")
        sent = Sent(actor, name, body.target_state, members, card.fence, world.loop.time(), what=what)
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
    for look in commit.looks:
        verdict = look.verdict.value if look.verdict else "nothing"
        words.append(f"settles {look.claimed.card.activity_id}#{look.claimed.card.fence} {verdict}")
    for writes in commit.writes:
        for card in writes.cards:
            state = (
                f"{card.activity_id}#{card.fence} shown {card.shown} settled {card.settled}/{card.revision}"
            )
            words.append(
                state + (" held" if card.lease_until else "") + (" suspect" if card.suspect_at else "")
            )
        words += [f"{each.activity_id} is {each.state} at {each.revision}" for each in writes.activities]
        words += [f"{each.activity_id} at {each.revision}" for each in writes.progress]
    return words


def _id(look: Look) -> str:
    return look.claimed.card.activity_id


def describe(event: Event) -> str:
    """An event in a few words."""
    said = msgspec.to_builtins(event.data)
    return f"{event.id} {event.type.rsplit('.', 1)[-1]} {event.activity_id} {said.get('members', '')}"
