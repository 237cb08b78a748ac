"""What must hold of a card and of its app's gate whenever one is written (design.md §6, said once more)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from contracts.wechat import Verdict
from services.store.rows import CONFIRMED, SKIPPED, Writes
from statemachine.card import CONTINUED, EXPIRED, FINAL, Card
from statemachine.gate import UNSENT, Gate
from statemachine.states import ENDED
from statemachine.step import Result

if TYPE_CHECKING:
    from tests.verification.sim.judges import Commit, Judges

REFUSALS: Final = frozenset({Verdict.rejected, Verdict.unknown_code, Verdict.unknown_activity})
"""Answers that say no to the call itself."""
PROBED: Final = frozenset({"token", "misconfigured", "blocked"})
"""Closings after which one call of all processes finds out."""
"""Results that say nothing about an app to anybody else."""
FENCED: Final = (
    "settled",
    "shown",
    "lease_until",
    "fence",
    "verdict",
    "list_limit",
    "retry_at",
    "attempts",
    "end_by",
    "succeeded",
)
"""What only a holder of the fence may write."""


class Claim(msgspec.Struct, frozen=True):
    """What the judges saw of a claim: whose, when (also in commits), and of the card as it was then."""

    actor: str
    at: int
    commits: int
    state: str
    singles: int
    end_by: int | None


class CardJudge:
    """Sees each card and gate as it is committed."""

    def __init__(self, judges: Judges) -> None:
        self.judges, self.world, self.expect = judges, judges.world, judges.expect
        settings = judges.world.settings
        self.repair_after, self.end_wait = settings.us("repair_after"), settings.us("end_wait")
        self.margin, self.narrow = settings.us("expiry_margin"), settings.in_flight_narrow
        self.cards: dict[str, Card] = {}
        self.marks: dict[tuple[str, str], int] = {}
        self.marked: dict[tuple[str, str], int] = {}
        self.claims: dict[tuple[str, int], Claim] = {}

    def committed(self, commit: Commit, writes: Writes) -> None:
        """One transaction's cards, marks and gates."""
        results = {(_name(each), each.claimed.card.fence): each for each in commit.results}
        took: Counter[str] = Counter()
        held: list[Result] = []
        for card in _written(writes):
            name = card.activity_id
            before = self.cards.get(name) or Card(name, settled=1)
            result = results.get((name, before.fence))
            self._common(commit, before, card, result)
            if card.lease_until and card.fence != before.fence:
                took[card.appid] += 1
                self._took(commit, before, card)
            if commit.results:
                held += [result] if result is not None and before.lease_until else []
                self._settled(commit, before, card, result)
            elif card.revision > before.revision and card in writes.cards:  # nothing happened, but to be told
                self.judges.reference.redeliver(name)
            else:
                self._raised(before, card)
            self.cards[name] = msgspec.structs.replace(card)
        for mark in writes.marks:
            self._mark(commit, mark.activity_id, mark.group_openid, mark.delivered)
        self._gates(commit, writes, took, held)

    def _common(self, commit: Commit, before: Card, card: Card, result: Result | None) -> None:
        """What holds whoever writes it."""
        name = card.activity_id
        self.expect(card.fence >= before.fence, f"the fence of {name} falls to {card.fence}")
        self.expect(card.may_show >= card.shown, f"{name} is shown {card.shown}, may be {card.may_show}")
        held, same = before.lease_until > 0, card.lease_until == before.lease_until
        continued = card.verdict == CONTINUED != before.verdict
        if continued:
            self._continued(commit, before, card)
        elif (
            held and not same and result is None
        ):  # neither its settle: its lease must be over, and its fence
            over = before.lease_until <= self.world.wall()
            self.expect(over, f"{name} is taken from {before.lease_by}, which holds it")
            self.expect(card.fence > before.fence, f"{name} is free again, with its old fence")
        shown = self.world.model.cards[name].target_state if name in self.world.model.cards else 1
        if shown > card.may_show:
            late = any(
                sent.times and not sent.settled and sent.target_state == shown
                for sent in self.judges.calls
                if sent.activity_id == name
            )
            self.expect(late, f"{name} shows {shown}, and is believed to show {card.may_show} at most")

    def _continued(self, commit: Commit, before: Card, card: Card) -> None:
        """Another card continues it: by an event, without a call; whoever held it has lost its fence."""
        name = card.activity_id
        reason = self.judges.reference.expected(name).reason
        self.expect(commit.batch and reason == "continued", f"{name} is continued, and ended as {reason}")
        self.expect(
            card.settled == card.revision, f"{name} is continued at {card.settled} of {card.revision}"
        )
        self.expect(card.doubt_at is None and not card.lease_until, f"{name} is continued, and not closed")
        taken = card.fence > before.fence or not before.lease_until
        self.expect(taken, f"{name} is continued, and {before.lease_by} keeps its fence")

    def _took(self, commit: Commit, before: Card, card: Card) -> None:
        """A claim: of a card that is free, due and alive, with what the call may do written before it."""
        name, now = card.activity_id, commit.now
        self.expect(card.lease_by == commit.actor, f"{name} was claimed for {card.lease_by}")
        self.expect(before.lease_until <= now, f"{name} was claimed though {before.lease_by} holds it")
        self.expect(card.fence > before.fence + bool(before.lease_until), f"{name} was claimed, fence kept")
        self.expect(card.expires_at > now, f"{name} was claimed though its id is dead")
        if card.behind:
            due = before.retry_at if card.ending else max(before.retry_at, before.throttled_until)
        else:
            self.expect(card.doubt_at is not None, f"{name} was claimed for nothing")
            due = max(before.retry_at, (card.doubt_at or 0) + self.repair_after)
        due = max(due, before.lease_until)
        self.expect(due <= now, f"{name} was claimed {due - now} µs before it was due")
        if card.ending:
            wait = now + self.end_wait if before.end_by is None else before.end_by + max(0, now - due)
            put_off = card.end_by == self._at_most(wait, card)
            self.expect(put_off, f"the end of {name} waits until {card.end_by}")
        self.claims[name, card.fence] = Claim(
            commit.actor, now, self.judges.commits, card.state, card.singles, card.end_by
        )

    def _at_most(self, end_by: int, card: Card) -> int:
        """The last half of the margin is the end's alone."""
        return min(end_by, card.expires_at - self.margin // 2)

    def _raised(self, before: Card, card: Card) -> None:
        """By no answer a doubt goes away, and no wait but that of an end, or of what was given up."""
        name, dead = card.activity_id, card.verdict in FINAL
        doubted = card.doubt_at is not None or before.doubt_at is None or dead
        self.expect(doubted, f"{name} is no longer doubted, and nobody called")
        if card.revision == before.revision or dead or before.verdict:
            return
        if card.state == ENDED != before.state:
            anew = card.attempts == card.code_attempts == 0 and card.retry_at <= self.world.wall()
            self.expect(anew, f"the end of {name} waits for what failed before it")
        elif before.behind and card.state != ENDED:
            self.expect(card.retry_at >= before.retry_at, f"news of {name} shortens its wait")

    def _settled(self, commit: Commit, before: Card, card: Card, result: Result | None) -> None:
        """Nothing but a doubt is written by whoever has lost its fence."""
        name = card.activity_id
        stale = [
            each
            for each in commit.results
            if _name(each) == name and each.claimed.card.fence != before.fence and each.sent
        ]
        lives = card.verdict not in FINAL and commit.now < card.expires_at
        if stale and not lives:  # WeChat may have applied it while the id lived: nobody can mend that now
            self.judges.unrepaired.add(name)
        for each in stale if lives else ():
            told = card.doubt_at is not None and card.may_show >= each.claimed.call.target_state
            self.expect(told, f"a call of {name} is settled without its fence, and nobody doubts it")
        changed = [each for each in FENCED if getattr(card, each) != getattr(before, each)]
        self.expect(result is not None or not changed, f"a stale fence settled {changed} of {name}")
        if result is None:
            return
        most = max(before.settled, result.claimed.card.revision)
        self.expect(
            card.settled <= most or card.verdict == EXPIRED, f"{name} settled {card.settled}, claimed {most}"
        )
        self._doubts(before, card, result)
        if card.verdict == EXPIRED:
            dead = card.expires_at <= commit.now or result.verdict is Verdict.expired
            self.expect(dead, f"{name} is closed though its id lives")
        elif card.verdict != before.verdict or card.end_by != self._put_off(before, commit.now):
            self._given_up(name, str(result.verdict))
        if card.shown != before.shown:
            known = any(each.target_state == card.shown for each in self.world.model.cards[name].history)
            self.expect(known, f"{name} counts as shown {card.shown}, which WeChat never had")
        if result.verdict is Verdict.ok:
            for sent in self.judges.calls:
                if sent.activity_id == name and sent.fence == result.claimed.card.fence:
                    sent.confirmed = True

    def _put_off(self, before: Card, now: int) -> int | None:
        """Until when an end waits that is settled now: since its lease ran out it was due, and not taken."""
        if before.end_by is None or not (before.ending and before.lease_until):  # settled before
            return before.end_by
        return self._at_most(before.end_by + max(0, now - before.lease_until), before)

    def _doubts(self, before: Card, card: Card, result: Result) -> None:
        """A doubt ends by a call claimed long enough after it, or by a repair that is refused; with the card,
        too: a settle that is repeated may find it expired or continued by then."""
        if card.verdict in FINAL:
            return
        name, claimed = card.activity_id, result.claimed
        old = before.doubt_at is None or claimed.at >= before.doubt_at + self.repair_after
        certain = result.verdict is Verdict.ok and old
        refused = claimed.repair and result.verdict in REFUSALS
        if before.doubt_at is not None and card.doubt_at is None:
            self.expect(certain or refused, f"{name} is no longer doubted, for no reason")
            if not certain:
                self.judges.unrepaired.add(name)
        if certain:
            self.judges.unrepaired.discard(name)
        self.expect(certain or card.may_show >= before.may_show, f"{name} may show less, for no reason")
        if result.verdict is Verdict.unknown:
            self.expect(card.doubt_at is not None, f"a call of {name} is unknown, and nobody doubts it")

    def _given_up(self, name: str, verdict: str) -> None:
        """Dead for a revision, or those before the end: only for what was really refused."""
        struck = self.world.struck
        codes, unsent = struck["odd_code"] + struck["odd_codes"], struck["card_unsent"]
        if verdict == "rejected":
            strangers = self.world.strangers[name]
            self.expect(len(strangers) > 2, f"{name} was given up for {len(strangers)} strangers")
            confirmed = any(sent.confirmed for sent in self.judges.calls if sent.activity_id == name)
            self.expect(not confirmed, f"{name} was given up though a call of it succeeded")
        elif verdict == "unknown_code":  # answers in a row that it was not sent count beside them
            answers = codes and codes + unsent
            self.expect(answers > 2, f"{name} was given up for no code")
        elif verdict == "unknown_activity":
            self.expect(
                codes + unsent > 9, f"{name} was given up after {unsent} answers that it was not sent"
            )
        else:
            self.judges.fail(f"{name} was given up for {verdict}")

    def _mark(self, commit: Commit, name: str, member: str, delivered: int) -> None:
        """Skipped is whom WeChat does not know, or for whom the end no longer waits."""
        card = self.cards[name]
        if delivered == SKIPPED:
            strange = card.verdict == CONTINUED or (
                bool(commit.results) and member in self.world.strangers.get(name, ())
            )
            ends = not commit.results and card.state == ENDED and card.may_show == 3
            over = ends and (card.end_by is None or card.end_by <= commit.now or self._called(name, card))
            self.expect(strange or over, f"{member} of {name} was skipped, and WeChat knows it")
        if delivered == CONFIRMED:
            posts = self.world.model.cards[name].posts
            self.expect(member in posts, f"{member} of {name} counts as delivered, which WeChat never had")
        self.marks[name, member], self.marked[name, member] = delivered, self.judges.commits

    def _called(self, name: str, card: Card) -> bool:
        """Whether the end was called before this claim."""
        return any(
            sent.target_state == 3 and sent.fence < card.fence
            for sent in self.judges.calls
            if sent.activity_id == name
        )

    def _gates(self, commit: Commit, writes: Writes, took: Counter[str], held: list[Result]) -> None:
        """A gate is passed when it is open, probed by one claim, and closed for longer or opened by right.
        `held`: results that had their cards' leases and fences."""
        written = {gate.appid: gate for gate in writes.gates}
        for appid, cards in took.items():
            gate = commit.seen[appid]
            self.expect(gate.closed_until <= commit.now, f"a card is claimed, and the gate of {appid} closed")
            if gate.reason in PROBED:
                probe = written.get(appid)
                taken = appid in commit.locked and commit.locked[appid].closed_until <= commit.now
                moved = probe is not None and probe.closed_until > commit.now
                self.expect(taken and moved, f"{commit.actor} probes the gate of {appid} beside another")
            if gate.reason:
                most = 1 if gate.reason in PROBED else self.narrow
                self.expect(cards <= most, f"{cards} cards pass the narrow gate of {appid}")
        for appid, before in commit.locked.items() if commit.results else ():
            self._answered(commit, before, written.get(appid, before), held)

    def _answered(self, commit: Commit, before: Gate, gate: Gate, held: list[Result]) -> None:
        appid = before.appid
        answers = [each for each in commit.results if each.claimed.card.appid == appid]
        fresh = [each for each in answers if each.claimed.passage.generation == before.generation]
        probes = [each for each in fresh if each.claimed.passage.probe is not None]
        if before.closed_until > commit.now and not probes:
            kept = gate.closed_until >= before.closed_until
            self.expect(kept, f"the gate of {appid} opens earlier by an answer from before it closed")
        if before.reason and not gate.reason:
            good = any(each.verdict not in UNSENT for each in fresh)
            self.expect(good, f"the gate of {appid} is opened by no answer")
        if len(answers) == 1 and probes and probes[0].verdict in UNSENT and before.reason:
            back = probes[0].claimed.passage.probe if probes[0] in held else before.closed_until
            self.expect(gate.closed_until == back, f"the probe of {appid} is given back, and not by right")


def _written(writes: Writes) -> Iterator[Card]:
    """Every card in full, with its activity's columns as they are written beside it."""
    moved: list[Any] = [*writes.activities, *writes.progress]
    for activity, card, *_ in moved:
        yield msgspec.structs.replace(
            card, state=activity.state, revision=activity.revision, expires_at=activity.expires_at
        )
    yield from writes.cards


def _name(result: Result) -> str:
    return result.claimed.card.activity_id
