"""What WeChat answered becomes what the store knows (design.md §6)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from contracts.wechat import Verdict
from services.store.ports import Store, Tx
from services.store.rows import Attempt, Locked, Moved, Writes
from services.transactions.outgoing import change_rows
from services.transactions.steps import follow
from statemachine import delivery, gate
from statemachine.activity import end_expired
from statemachine.card import CLOSED, Card, DeliveryRules, attempt_at, phase
from statemachine.gate import CLOSING, UNSENT, Gate
from statemachine.model import Aggregate, Rules
from statemachine.step import ALL_SKIPPED, Owed, Result, Step
from statemachine.timers import due_at


class Settled(msgspec.Struct, frozen=True):
    """What became of one result. `stale`: the fence had moved on, so at most a doubt was written. `next_in`:
    µs until the card wants a dispatcher again (None: never, by itself). `gate`: as this result left it, where
    it changed it. `delivered`: a revision was."""

    activity_id: str
    stale: bool = False
    next_in: int | None = None
    gate: Gate | None = None
    delivered: bool = False


async def settle(store: Store, results: Sequence[Result], rules: DeliveryRules) -> list[Settled]:
    """Settle results in one transaction; the answer is parallel. Each is checked against its fence.

    Locks: the cards by activity_id, then the gates by appid. Activities that were deleted meanwhile
    (retention) are left alone.
    """
    async with store.transaction() as tx:
        settling = _Settling(rules)
        await settling.read(tx, results)
        settled = [settling.one(result) for result in results]
        await settling.read_more(tx)
        await tx.write(settling.writes())
    return settled


class _Settling:
    """The rows of one settling transaction, and what it writes."""

    def __init__(self, rules: DeliveryRules) -> None:
        self.rules = rules
        self.state_rules = Rules(rules.margin, rules.expiring)
        self.now = 0
        self.cards: dict[str, Card] = {}
        self.rows: dict[str, Locked] = {}
        self.moved: set[str] = set()
        self.gates: dict[str, Gate] = {}
        self.skipped: dict[str, list[str]] = {}
        self.unconfirmed: dict[str, set[str]] = {}
        self.dying: dict[str, list[Owed]] = {}
        self.steps: list[Step] = []
        self.out = Writes()

    async def read(self, tx: Tx, results: Sequence[Result]) -> None:
        """Lock the rows, then read the clock."""
        names = {_name(each): each for each in results}
        dead = {_name(each) for each in results if each.verdict is Verdict.expired}
        self.cards = {card.activity_id: card for card in await tx.lock_cards(sorted(names))}
        if dead & self.cards.keys():
            self.rows = await tx.lock(sorted(dead & self.cards.keys()))
        if late := {_name(each) for each in results if self._late(each)}:
            owed, skipped = await tx.owed(sorted(late)), await tx.skipped(sorted(late))
            self.unconfirmed = {
                name: {*(each.group_openid for each in owed.get(name, ())), *skipped.get(name, ())}
                for name in late
            }
        gates = await tx.lock_gates(sorted({_appid(e) for e in results if _concerns_gate(e)}), wait=True)
        self.now = await tx.now()
        gone = dead | {name for name, card in self.cards.items() if card.expires_at <= self.now}
        if gone := gone & self.cards.keys():  # who became done during the call is named, too
            self.dying = {name: [] for name in gone} | await tx.owed(sorted(gone))
        longest = self.rules.longest_closing
        self.gates = {appid: gate.as_believed(each, self.now, longest) for appid, each in gates.items()}

    def _late(self, result: Result) -> bool:
        """Whether its fence had moved on when WeChat confirmed members: others may have told them."""
        card = self.cards.get(_name(result))
        held = card is not None and card.fence == result.claimed.card.fence
        return not held and result.verdict is Verdict.ok and bool(result.claimed.call.members)

    async def read_more(self, tx: Tx) -> None:
        """Who was skipped before, of cards whose members were not to blame; the activities of cards that were
        closed and are no longer, for which the clock may have nothing noted."""
        wanted = [step.card.activity_id for step in self.steps if step.owed_again == ALL_SKIPPED]
        self.skipped = await tx.skipped(sorted(wanted)) if wanted else {}
        if others := self.moved - self.rows.keys():
            self.rows |= await tx.lock(sorted(others))

    def one(self, result: Result) -> Settled:
        """One result against its row."""
        name = _name(result)
        card = self.cards.get(name)
        if card is None:
            return Settled(name, stale=True)
        held = card.fence == result.claimed.card.fence
        if name in self.dying:
            claimed = msgspec.structs.replace(result.claimed, owed=tuple(self.dying[name]))
            result = msgspec.structs.replace(result, claimed=claimed)
        ends = result.verdict is Verdict.expired and held and card.lease_until > 0
        step = delivery.settle(
            self._ended(card) if ends else card, result, self.now, self.rules, self.unconfirmed.get(name, ())
        )
        if step is None:  # this very result was settled; only the answer was lost
            return Settled(name, next_in=self._next_in(card))
        # Whoever gives back a probe without its fence may have done so before: another probes by now.
        closing = self._gate(result) if held or result.verdict not in UNSENT else None
        if closing is not None and result.verdict in (Verdict.misconfigured, Verdict.blocked):
            step.fail("misconfigured", result.claimed.card.revision, result)
        self._log(result)
        if phase(card) is CLOSED and phase(step.card) is not CLOSED:
            self.moved.add(name)
        if name in self.unconfirmed:
            self.unconfirmed[name].difference_update(step.confirmed)
        if name in self.dying:  # a later result of the same card closes it, perhaps
            settled = {*step.confirmed, *step.skipped}
            self.dying[name] = [each for each in self.dying[name] if each.group_openid not in settled]
        self.cards[name] = step.card
        self.steps.append(step)
        delivered = step.card.settled > card.settled and "revisions.delivered" in step.counters
        return Settled(name, not held, self._next_in(step.card), closing, delivered)

    def writes(self) -> Writes:
        """Every card read is written back: the rows are locked."""
        for step in self.steps:
            follow(self.out, step, self.now, self.skipped.get(step.card.activity_id, ()))
        for name in sorted(self.moved):
            activity, card = self.rows[name].activity, self.cards[name]
            due = due_at(activity, card, self.state_rules)
            self.out.activities.append(Moved(activity, card, due))
        self.out.cards = [card for name, card in self.cards.items() if name not in self.moved]
        return self.out

    def _next_in(self, card: Card) -> int | None:
        at = attempt_at(card, self.rules)
        return None if at is None else max(0, at - self.now)

    def _ended(self, card: Card) -> Card:
        """47504: the activity ends as expired through its table; its card as it is then."""
        activity = self.rows[card.activity_id].activity
        aggregate, before = Aggregate(activity), activity.revision
        if not end_expired(aggregate, self.now, self.state_rules):
            return card
        self.moved.add(card.activity_id)
        self.out.outbox.extend(change_rows(card.activity_id, aggregate.published, self.now))
        self.out.count("revisions.raised", activity.revision - before)
        return delivery.raise_revision(card, activity.state, activity.revision, self.now).card

    def _gate(self, result: Result) -> Gate | None:
        """The app's gate after this answer, if it changed."""
        before = self.gates.get(_appid(result))
        if before is None:
            return None
        after = gate.answered(
            before,
            result.claimed.passage,
            result.verdict,
            self.now,
            jitter=result.jitter,
            probe=self.rules.probe,
            errcode=result.errcode,
            errmsg=result.errmsg,
        )
        if after == before:
            return None
        self.gates[after.appid] = after
        self.out.gates = [each for each in self.out.gates if each.appid != after.appid] + [after]
        return after if (after.reason, after.generation) != (before.reason, before.generation) else None

    def _log(self, result: Result) -> None:
        """One row of the attempt log, and the ledger's counts of calls and repeated members."""
        claimed = result.claimed
        if result.verdict is None:
            return
        if result.sent:
            self.out.count("calls.made")
            self.out.count("members.repeated", claimed.repeats)
        self.out.attempts.append(
            Attempt(
                claimed.card.activity_id,
                claimed.card.revision,
                claimed.card.fence,
                self.now - result.duration,
                result.duration,
                claimed.call.target_state,
                len(claimed.call.members),
                result.verdict.value,
                result.errcode,
                result.errmsg,
                result.rid,
            )
        )


def _name(result: Result) -> str:
    return result.claimed.card.activity_id


def _appid(result: Result) -> str:
    return result.claimed.card.appid


def _concerns_gate(result: Result) -> bool:
    """Whether the answer may change the app's gate: it closes it, or the claim saw a closing that is over."""
    return result.verdict in CLOSING or bool(result.claimed.passage.reason)
