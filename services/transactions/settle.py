"""The verb that ends a look: what WeChat said becomes what the store knows (design.md §6).

`decide` is pure: the row under its lock, the result, the database's now. Every branch is one
verdict of contracts.wechat's table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.changes import CardDelivered, CardFailed
from contracts.wechat import ILLEGAL_STATE, TARGET_ENDED, TARGET_NEARING, TARGET_OPEN, Verdict
from services.store.ports import Store, Tx
from services.store.rows import CONFIRMED, OWED, SET_ASIDE, Attempt, Card, Gate, MemberMark, Writes
from services.transactions.claim import CardRules, Claimed, failed, settle_revision, waits
from services.transactions.gates import gate_until
from services.transactions.outgoing import card_rows, change_rows
from statemachine.activity import end_expired
from statemachine.model import Activity, Aggregate, Rules
from statemachine.plan import GONE, Call

FAILURES: Final = frozenset({Verdict.busy, Verdict.unknown, Verdict.rejected, Verdict.unknown_code})
"""Verdicts that say that WeChat does not take this card's calls (not: none of its app's)."""


class Look(msgspec.Struct, frozen=True):
    """One look at a claimed card, to be settled.

    `call` is what was or would have been sent (None: the plan was empty); `sent`: whether it may
    have left. `more`: the plan has further calls. `verdict` None: nothing was learnt (the permit
    or the lease did not suffice, or the process drains): the card is only given back.
    `jitter` in [0, 1) spreads the next try. `at` µs, `duration` µs.
    """

    claimed: Claimed
    call: Call | None = None
    more: bool = False
    left_out: tuple[str, ...] = ()
    sent: bool = False
    verdict: Verdict | None = None
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""
    duration: int = 0
    jitter: float = 0.0


class Settled(msgspec.Struct, frozen=True):
    """`stale`: the fence had moved on, so nothing but a doubt was written. `next_in`: µs until the
    card is worth another claim, None when it is true (or waits for a gate). `gate`: closed or opened by
    looks settled together with this one; `gate_changed`: this one changed it."""

    activity_id: str
    revision: int
    stale: bool = False
    next_in: int | None = None
    gate: Gate | None = None
    gate_changed: bool = False
    delivered: bool = False


async def settle(store: Store, looks: Sequence[Look], rules: CardRules) -> list[Settled]:
    """Settle looks in one transaction; the answer is parallel. Each checks the fence it was claimed with."""
    ids = sorted({look.claimed.card.activity_id for look in looks})
    async with store.transaction() as tx:
        cards = {card.activity_id: card for card in await tx.lock_cards(ids, wait=True)}
        gates = await tx.gates(sorted({look.claimed.card.appid for look in looks}))
        now = await tx.now()
        books = _Books(cards, gates, now, rules)
        await books.read(tx, looks)
        settled = [books.decide(look) for look in looks]
        await tx.write(books.writes())
    return settled


class _Books:
    """The rows of one settling transaction, and what it writes."""

    def __init__(self, cards: dict[str, Card], gates: dict[str, Gate], now: int, rules: CardRules) -> None:
        self.cards, self.gates, self.now, self.rules = cards, gates, now, rules
        self.activities: dict[str, Activity] = {}
        self.aside: dict[str, list[str]] = {}
        self.out = Writes()
        self.closed: dict[str, Gate] = {}

    async def read(self, tx: Tx, looks: Sequence[Look]) -> None:
        """What only some verdicts need: the activity for 47504, who was set aside for rejections."""
        dead_ids = {_id(look) for look in looks if look.verdict is Verdict.expired} & self.cards.keys()
        if dead_ids:
            self.activities = await tx.lock(sorted(dead_ids))
        rejected = {_id(look) for look in looks if look.verdict is Verdict.rejected} & self.cards.keys()
        if rejected:
            self.aside = await tx.set_aside(sorted(rejected))

    def writes(self) -> Writes:
        """Every card read is written back: the rows are locked."""
        self.out.cards = list(self.cards.values())
        self.out.gates = list(self.closed.values())
        return self.out

    def decide(self, look: Look) -> Settled:
        """One look against its row."""
        card = self.cards.get(_id(look))
        if card is None:  # the activity was deleted (retention) while its look was under way
            return Settled(_id(look), 0, stale=True)
        held = card.fence == look.claimed.card.fence
        if held and not card.lease_until:  # this very look was settled; only the answer was lost
            wait = waits(card, self.gates.get(card.appid), self.now, self.rules)
            return Settled(card.activity_id, card.revision, next_in=wait)
        self._log(look)
        if not held:
            self.out.count("settles.stale")
            if look.sent and not card.final:
                card.suspect_at = self.now
            return Settled(card.activity_id, card.revision, stale=True)
        card.lease_until, card.lease_by = 0, ""
        settled_before, gate_before = card.settled, _why_closed(self.gates.get(card.appid))
        if look.call is None:
            self._deliver(card, look)
        elif look.verdict is not None:
            self._verdict(card, look, look.call, look.verdict)
        wait = waits(card, self.gates.get(card.appid), self.now, self.rules)
        return Settled(
            card.activity_id,
            card.revision,
            next_in=wait,
            gate=self.closed.get(card.appid),
            gate_changed=_why_closed(self.gates.get(card.appid)) != gate_before,
            delivered=card.settled > settled_before and card.settled_as == "delivered",
        )

    def _verdict(self, card: Card, look: Look, call: Call, verdict: Verdict) -> None:
        if verdict in FAILURES and look.sent and card.failing_since is None:
            card.failing_since, card.attempts = look.claimed.now, 0
        if verdict is Verdict.ok:
            self._confirm(card, look, call)
        elif verdict is Verdict.busy:
            self._back_off(card, look)
        elif verdict is Verdict.unknown:
            self._doubt(card, look, call)
        elif verdict is Verdict.token:
            card.retry_at = self.now + int(self.rules.backoff * (1 + look.jitter))
        elif verdict in (Verdict.minute_limit, Verdict.daily_limit, Verdict.misconfigured, Verdict.blocked):
            self._close_gate(card, look, verdict)
        elif verdict is Verdict.expired:
            self._expire(card, look)
        elif verdict is Verdict.unknown_activity:
            card.final = True
            self._give_up(card, look, "unknown_activity")
        elif verdict is Verdict.rejected:
            self._reject(card, look, call)
        else:
            self._unknown_code(card, look, call)
        if verdict is Verdict.token or (verdict in FAILURES and not look.sent):
            _excuse(card, look.duration + card.retry_at - self.now)
        _excuse(card, max(0, self.now - look.claimed.now - self.rules.lease))  # the store was away

    def _confirm(self, card: Card, look: Look, call: Call) -> None:
        card.succeeded, card.attempts, card.code_attempts, card.verdict = True, 0, 0, ""
        if card.list_limit and card.singles:  # one of those rejected together with somebody bad: it goes on
            card.retry_at = self.now
        else:
            card.failing_since = None
        card.shown = call.target_state
        card.reached = min(call.target_state, 2)
        self._reopen_gate(card)
        self.out.marks.extend(
            MemberMark(card.activity_id, each, CONFIRMED, doubtful=False) for each in call.members
        )
        if card.list_limit and call.members:
            card.list_limit = _widened(card)
        if look.claimed.repair:
            self.out.count("repairs")
            if card.suspect_at == look.claimed.card.suspect_at:
                card.suspect_at = None
            return
        card.progress_calls += 1
        card.progress_members = (*card.progress_members, *call.members)
        if not look.more:
            self._deliver(card, look)

    def _deliver(self, card: Card, look: Look) -> None:
        """The plan is done (or was empty): the claimed revision, never a later one, is delivered."""
        if look.left_out:
            self._set_aside(card, look.left_out)
            self._fail(card, look, "expired", look.left_out)
        card.look_at = look.claimed.now + self.rules.coalesce
        revision = look.claimed.card.revision
        if revision <= card.settled:
            return
        self._publish_progress(card, revision, look.claimed.card.fence)
        settle_revision(card, revision, "delivered", self.out, self.now)
        card.verdict, card.singles, card.list_limit = "", 0, 0
        card.attempts, card.failing_since = 0, None

    def _publish_progress(self, card: Card, revision: int, fence: int) -> None:
        data = CardDelivered(
            revision=revision,
            target_state=card.shown,
            members=card.progress_members,
            calls=card.progress_calls,
        )
        self._publish(card, f"delivered:{revision}:{fence}", data)
        card.progress_calls, card.progress_members = 0, ()

    def _back_off(self, card: Card, look: Look) -> None:
        card.attempts += 1
        left = max(self.rules.backoff, (card.expires_at - self.now) // 4)  # or the end might come too late
        longest = min(self.rules.backoff_cap, self.rules.backoff << min(card.attempts - 1, 20), left)
        card.retry_at = self.now + int(longest * look.jitter)
        until = self.rules.end_waits_until(card.expires_at, card.failing_since, card.attempts)
        if card.end_due and until != GONE:
            card.retry_at = min(card.retry_at, max(until, self.now))

    def _doubt(self, card: Card, look: Look, call: Call) -> None:
        """WeChat may have applied it, now or later: the members are sent again, the state repaired."""
        card.suspect_at = self.now
        self.out.count("calls.unknown")
        self.out.marks.extend(
            MemberMark(card.activity_id, each, OWED, doubtful=True) for each in call.members
        )
        self._back_off(card, look)

    def _close_gate(self, card: Card, look: Look, verdict: Verdict) -> None:
        before = self.gates.get(card.appid) or Gate(card.appid)
        until = gate_until(verdict, self.now, look.jitter, self.rules)
        gate = Gate(card.appid, until, self.now, verdict.value, look.errcode or 0, look.errmsg)
        known = _why_closed(before) == _why_closed(gate)
        if verdict in (Verdict.misconfigured, Verdict.blocked) and not known:
            self._fail(card, look, "misconfigured")
        self.gates[card.appid] = self.closed[card.appid] = gate

    def _reopen_gate(self, card: Card) -> None:
        """A success clears what a probe found closed; a gate closed meanwhile by others stays."""
        gate = self.gates.get(card.appid)
        if gate is not None and gate.reason and gate.closed_until <= self.now:
            self.gates[card.appid] = self.closed[card.appid] = Gate(card.appid)

    def _expire(self, card: Card, look: Look) -> None:
        """47504: the activity ends as expired through its table, and is never called again."""
        activity = self.activities[card.activity_id]
        aggregate = Aggregate(activity)
        before = activity.revision
        if end_expired(aggregate, self.now, Rules(self.rules.margin)):
            self.out.activities.append(activity)
            self.out.due_at.append(None)
            self.out.outbox.extend(change_rows(card.activity_id, aggregate.published, self.now))
            self.out.count("revisions.raised", activity.revision - before)
            card.state, card.revision, card.end_known_at = activity.state, activity.revision, self.now
        card.final, card.verdict, card.suspect_at = True, "expired", None
        self._fail(card, look, "expired", tuple(each.group_openid for each in look.claimed.owed))
        settle_revision(card, card.revision, "expired", self.out, self.now)

    def _reject(self, card: Card, look: Look, call: Call) -> None:
        if look.errcode == ILLEGAL_STATE and call.target_state == TARGET_OPEN and card.suspect_at is not None:
            card.shown = max(card.shown, TARGET_NEARING)  # a call in doubt has raised it
        if look.errcode == ILLEGAL_STATE and call.target_state < card.shown:
            card.cannot_lower, card.retry_at = True, self.now
            self._fail(card, look, "not_lowered")
            return
        if len(call.members) > 1:
            card.list_limit, card.retry_at = len(call.members) // 2, self.now
            return
        if not call.members:
            self._give_up(card, look, "rejected")
            return
        self._set_aside(card, call.members)
        self._fail(card, look, "rejected", call.members)
        card.singles, card.retry_at = card.singles + 1, self.now
        card.list_limit = 0 if card.succeeded else 1  # bad is found: the rest may go at once
        if card.singles >= 3 and not card.succeeded:
            aside = {*self.aside.get(card.activity_id, ()), *call.members}
            self.out.marks = [mark for mark in self.out.marks if mark.activity_id != card.activity_id]
            self.out.marks.extend(
                MemberMark(card.activity_id, each, OWED, doubtful=False) for each in sorted(aside)
            )
            card.singles = card.list_limit = 0
            self._give_up(card, look, "rejected")

    def _unknown_code(self, card: Card, look: Look, call: Call) -> None:
        if card.code_revision != look.claimed.card.revision:
            card.code_revision, card.code_attempts = look.claimed.card.revision, 0
        card.code_attempts += 1
        if card.code_attempts < self.rules.unknown_code_attempts:
            self._back_off(card, look)
        elif look.claimed.card.end_due and call.target_state != TARGET_ENDED:  # no later revision wakes it
            self._set_aside(card, call.members)
            self._fail(card, look, "unknown_code", call.members)
            card.code_attempts, card.retry_at = 0, self.now
        else:
            self._give_up(card, look, "unknown_code")

    def _give_up(self, card: Card, look: Look, verdict: str) -> None:
        """Dead for this revision: it wakes with the next one or by `redeliver`, unless final."""
        self._fail(card, look, verdict)
        if card.progress_members:
            self._publish_progress(card, look.claimed.card.revision, look.claimed.card.fence)
        card.verdict, card.attempts, card.code_attempts = verdict, 0, 0
        if card.failing_since != GONE:
            card.failing_since = None
        settle_revision(card, look.claimed.card.revision, "dead", self.out, self.now)

    def _set_aside(self, card: Card, members: tuple[str, ...]) -> None:
        self.out.marks.extend(
            MemberMark(card.activity_id, each, SET_ASIDE, doubtful=False) for each in members
        )

    def _fail(self, card: Card, look: Look, verdict: str, members: tuple[str, ...] = ()) -> None:
        revision = look.claimed.card.revision
        why = {"errcode": look.errcode, "errmsg": look.errmsg or None, "rid": look.rid or None}
        key = f"failed:{revision}:{verdict}:{look.claimed.card.fence}" + (":members" if members else "")
        self._publish(card, key, failed(revision, verdict, members, **why))

    def _publish(self, card: Card, key: str, data: CardDelivered | CardFailed) -> None:
        self.out.outbox.extend(card_rows(card.activity_id, key, self.now, data))

    def _log(self, look: Look) -> None:
        """One row of the attempt log, and the ledger's counts of calls and repeated members."""
        if look.call is None or look.verdict is None:
            return
        card = look.claimed.card
        if look.sent:
            self.out.count("calls.made")
            doubtful = {each.group_openid for each in look.claimed.owed if each.doubtful}
            self.out.count("members.repeated", sum(each in doubtful for each in look.call.members))
        self.out.attempts.append(
            Attempt(
                card.activity_id,
                card.revision,
                card.fence,
                self.now - look.duration,
                look.duration,
                look.call.target_state,
                len(look.call.members),
                look.verdict.value,
                look.errcode,
                look.errmsg,
                look.rid,
            )
        )


def _excuse(card: Card, pause: int) -> None:
    """No member was tried in this time: it is no part of a run of failures since the end was known."""
    known, since = card.end_known_at, card.failing_since
    if known is not None and since is not None and since >= known:
        card.failing_since = since + pause


def _why_closed(gate: Gate | None) -> tuple[str, int]:
    return (gate.reason, gate.errcode) if gate is not None else ("", 0)


def _widened(card: Card) -> int:
    """The limit after a narrowed list was accepted: the bad member is most likely in the next one of
    the same length, so it stays; alone the one accepted says little."""
    if card.list_limit > 1:
        return card.list_limit
    return 0 if card.singles else 2


def _id(look: Look) -> str:
    return look.claimed.card.activity_id
