"""The dispatcher's verbs but settling: claim, expire, redeliver (design.md §6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from contracts.changes import CardFailed
from services.runtime.settings import Settings
from services.store.ports import Store
from services.store.rows import OWED, Card, Gate, MemberMark, Owed, Writes
from services.transactions.outgoing import card_rows
from statemachine.plan import GONE, end_waits_until, failing_from
from statemachine.states import NEARING


class CardRules(msgspec.Struct, frozen=True):
    """The settings that decide about calls. All durations µs.

    `lease`: how long a claim holds. `coalesce`: at most one look per so long. `backoff` to
    `backoff_cap`: retry delays. `repair_after`: how long after a doubt a state is repeated.
    `end_wait`: how long the end waits for members owed. `margin`: before `expires_at`.
    `probe`: how long a gate stays closed for a misconfigured app.
    """

    lease: int = 30_000_000
    coalesce: int = 1_000_000
    backoff: int = 1_000_000
    backoff_cap: int = 60_000_000
    repair_after: int = 30_000_000
    end_wait: int = 60_000_000
    margin: int = 60_000_000
    probe: int = 60_000_000
    members_per_call: int = 100
    unknown_code_attempts: int = 5

    @classmethod
    def of(cls, settings: Settings) -> CardRules:
        """Those that a process was given."""
        return cls(
            lease=settings.us("lease"),
            coalesce=settings.us("coalesce"),
            backoff=settings.us("backoff"),
            backoff_cap=settings.us("backoff_cap"),
            repair_after=settings.us("repair_after"),
            end_wait=settings.us("end_wait"),
            margin=settings.us("expiry_margin"),
            probe=settings.us("probe"),
            members_per_call=settings.members_per_call,
            unknown_code_attempts=settings.unknown_code_attempts,
        )

    @property
    def own(self) -> int:
        """The part of the margin that is the end's alone: half of it, up to three quarters where that is what
        it takes to have the card over from a holder that was killed (its lease, a sweep, a call)."""
        return max(self.margin // 2, min(self.margin * 3 // 4, self.lease * 3 // 2))

    def end_waits_until(self, expires_at: int, failing_since: int | None, attempts: int) -> int:
        """As `statemachine.plan.end_waits_until`, of a card with these columns, µs."""
        return end_waits_until(
            expires_at,
            margin=self.margin,
            own=self.own,
            wait=self.end_wait,
            failing_since=failing_since,
            failing=attempts > 0,
        )


class Claimed(msgspec.Struct, frozen=True):
    """A card in hand until its lease ends: a snapshot, who is owed, and the database's now.

    `lease_expired`: the holder before never settled, so a call of its may be under way.
    """

    card: Card
    owed: tuple[Owed, ...]
    now: int
    lease_expired: bool = False

    @property
    def repair(self) -> bool:
        """Whether this look only repeats the state after a doubt, there being no news."""
        return not self.card.behind


class Crowded(NamedTuple):
    """A card that is ready though nobody could take it: its app, and whether its end waits."""

    appid: str
    end_due: bool


class Claims(msgspec.Struct):
    """`cards` in hand; `later`: activity_id → µs until it is worth another claim (0: when free).

    `crowded` tells more about those at 0. `skipped`: locked by somebody, or not opened: ask again
    soon, but not for ever. `gates`: the gates seen on the way that have a reason to be closed.
    """

    cards: list[Claimed] = msgspec.field(default_factory=list)
    later: dict[str, int] = msgspec.field(default_factory=dict)
    crowded: dict[str, Crowded] = msgspec.field(default_factory=dict)
    skipped: list[str] = msgspec.field(default_factory=list)
    gates: list[Gate] = msgspec.field(default_factory=list)


async def claim(
    store: Store,
    activity_ids: Sequence[str],
    *,
    holder: str,
    limit: int,
    room: Mapping[str, int],
    default_room: int,
    rules: CardRules,
    narrow: int = 4,
) -> Claims:
    """Take up to `limit` of these cards, with a lease and a new fence.

    `room` says how many calls each app may still have in flight in this process (`default_room`
    for apps not named), at most `narrow` while its gate waits for a first success. Ends go first,
    then apps in turn; closed apps, leased, throttled and backed-off cards are not taken. An
    expired lease marks the card suspect: its holder may still be calling.
    """
    claims, out = Claims(), Writes()
    async with store.transaction() as tx:
        cards = await tx.lock_cards(activity_ids, wait=False)
        found = {card.activity_id for card in cards}
        claims.skipped = [name for name in activity_ids if name not in found]
        if not cards:
            return claims
        gates = await tx.gates(sorted({card.appid for card in cards}))
        now = await tx.now()
        claims.gates = [gate for gate in gates.values() if gate.reason]
        lapsed = {card.activity_id for card in cards if _lapse(card, now)}
        ready = []
        for card in cards:
            if _close_books(card, out, now):
                out.cards.append(card)
                continue
            if card.activity_id in lapsed:
                out.cards.append(card)
            wait = waits(card, gates.get(card.appid), now, rules)
            if wait == 0:
                ready.append(card)
            elif wait is not None:
                claims.later[card.activity_id] = wait
        taken: list[Card] = []
        in_flight: Counter[str] = Counter()
        for card in _in_turn(ready, activity_ids):
            gate, allowed = gates.get(card.appid), room.get(card.appid, default_room)
            if gate is not None and gate.reason:
                allowed = min(allowed, narrow)
            if len(taken) < limit and in_flight[card.appid] < allowed:
                in_flight[card.appid] += 1
                _take(card, holder, now, rules)
                taken.append(card)
            else:
                claims.later[card.activity_id] = 0
                claims.crowded[card.activity_id] = Crowded(card.appid, card.end_due)
        owed = await tx.owed([card.activity_id for card in taken]) if taken else {}
        _call_ends(taken, owed, now, rules)
        out.cards.extend(card for card in taken if card.activity_id not in lapsed)
        if out.cards:
            await tx.write(out)
    for card in taken:
        whom = tuple(owed.get(card.activity_id, ()))
        claims.cards.append(Claimed(card, whom, now, card.activity_id in lapsed))
    return claims


def _call_ends(cards: Sequence[Card], owed: Mapping[str, Sequence[Owed]], now: int, rules: CardRules) -> None:
    """Mark those whose end is called now, before it is: its holder may die with the call under way."""
    for card in cards:
        until = rules.end_waits_until(card.expires_at, card.failing_since, card.attempts)
        if card.end_due and (card.activity_id not in owed or now >= until):
            card.failing_since = GONE


def _in_turn(cards: Sequence[Card], activity_ids: Sequence[str]) -> list[Card]:
    """Ends first, then the first card of each app, the second of each, …; else as asked for."""
    order = {name: place for place, name in enumerate(activity_ids)}
    seen: Counter[str] = Counter()
    ranked = []
    for card in sorted(cards, key=lambda card: (not card.end_due, order[card.activity_id])):
        ranked.append((not card.end_due, seen[card.appid], order[card.activity_id], card))
        seen[card.appid] += 1
    return [card for *_, card in sorted(ranked, key=lambda row: row[:3])]


def _lapse(card: Card, now: int) -> bool:
    """A lease that ran out unsettled: a doubt, and whoever held it has lost its fence."""
    if card.final or not 0 < card.lease_until <= now:
        return False
    card.suspect_at, card.lease_until, card.lease_by = now, 0, ""
    card.fence += 1
    return True


def _close_books(card: Card, out: Writes, now: int) -> bool:
    """A card that is final takes no calls: what was raised since is settled as the card was."""
    if not (card.final and card.behind and card.lease_until <= now):
        return False
    settle_revision(card, card.revision, "expired" if card.verdict == "expired" else "dead", out, now)
    return True


def waits(card: Card, gate: Gate | None, now: int, rules: CardRules) -> int | None:
    """µs until this card may be looked at (0: now); None when nothing is to be done by looking.

    A closed gate and a living lease answer None: the sweep comes back when they are gone.
    """
    if card.final or card.expires_at <= now or card.lease_until > now:
        return None
    if gate is not None and gate.closed_until > now:
        return None
    if card.behind:
        ready = card.retry_at if card.end_due else max(card.retry_at, card.look_at)
    elif card.suspect_at is not None and not card.verdict:
        ready = max(card.retry_at, card.suspect_at + rules.repair_after)
    else:
        return None
    return max(0, ready - now)


def _take(card: Card, holder: str, now: int, rules: CardRules) -> None:
    if card.failing_since is not None:
        card.failing_since = failing_from(card.failing_since, card.end_known_at, card.retry_at, now)
        if card.failing_since is None:
            card.attempts = 0
        card.retry_at = max(card.retry_at, now)  # from here on it is tried
    card.fence += 1
    card.lease_until = now + rules.lease
    card.lease_by = holder
    if card.state == NEARING:  # from now on a call of ours may have raised it, whatever becomes of us
        card.reached = 2


def settle_revision(card: Card, revision: int, how: str, out: Writes, now: int) -> None:
    """Account for every revision up to this one: the last as `how`, those jumped over as superseded."""
    jumped = revision - card.settled
    if jumped > 0:
        out.count(f"revisions.{how}")
        out.count("revisions.superseded", jumped - 1)
        card.settled, card.settled_as = revision, how
    card.behind_since = now if card.behind else None


async def expire(store: Store, limit: int) -> int:
    """Close the books of cards whose id died while they were behind or suspect; how many."""
    out = Writes()
    async with store.transaction() as tx:
        cards = await tx.lock_expired(limit)
        if not cards:
            return 0
        now = await tx.now()
        owed = await tx.owed([card.activity_id for card in cards])
        for card in cards:
            if card.behind:
                left = tuple(each.group_openid for each in owed.get(card.activity_id, ()))
                data = failed(card.revision, "expired", left)
                out.outbox.extend(card_rows(card.activity_id, f"failed:{card.revision}:expired", now, data))
            settle_revision(card, card.revision, "expired", out, now)
            card.final, card.verdict = True, card.verdict or "expired"
            if card.lease_until:  # whoever still calls must not settle over this
                card.fence += 1
            card.suspect_at, card.lease_until, card.lease_by = None, 0, ""
            out.cards.append(card)
        await tx.write(out)
    return len(cards)


def failed(revision: int, verdict: str, members: tuple[str, ...] = (), **why: object) -> CardFailed:
    """A `card.failed`; members are left out when there are none to name."""
    fields: dict[str, object] = {"revision": revision, "verdict": verdict, "errcode": None, "errmsg": None}
    fields |= {"rid": None, **why}
    if members:
        fields["members"] = members
    return msgspec.convert(fields, CardFailed)


class Redelivered(msgspec.Struct, frozen=True):
    """What `redeliver` did: `members` that are owed again; `woken`: a dead card that will be tried."""

    members: tuple[str, ...] = ()
    woken: bool = False
    refused: str = ""


async def redeliver(store: Store, activity_id: str) -> Redelivered:
    """Try again what was given up: members set aside, a dead card. Safe to run twice.

    Refused (with a text) for a card that shows its end or whose id is dead: WeChat takes no more.
    """
    out = Writes()
    async with store.transaction() as tx:
        cards = await tx.lock_cards([activity_id], wait=True)
        if not cards:
            return Redelivered(refused="no such activity, or its `opened` has not come yet")
        card, now = cards[0], await tx.now()
        if card.final or card.expires_at <= now:
            return Redelivered(
                refused=f"the card is final ({card.verdict or 'expired'}): no call is possible"
            )
        aside = (await tx.set_aside([activity_id])).get(activity_id, [])
        woken, doubted = bool(card.verdict), card.suspect_at is not None
        if card.shown == 3 and not (woken and doubted):  # but what a repair gave up may show anything
            return Redelivered(refused="the card shows its end already: nothing goes after it")
        if not aside and not woken:
            return Redelivered()
        if card.lease_until:  # whoever calls knows nothing of these members, and would settle over them
            return Redelivered(refused="a call for it is under way: run this again in a minute")
        called = doubted and (card.shown == 3 or card.failing_since == GONE)
        if aside and called:
            if not woken:
                return Redelivered(refused="the card may show its end already: nothing goes after it")
            aside = []
        out.marks.extend(MemberMark(activity_id, each, OWED, doubtful=False) for each in aside)
        if not card.behind and card.revision > 1 and (aside or card.settled_as != "delivered"):
            out.count(f"revisions.{card.settled_as}", -1)
            card.settled, card.behind_since = card.revision - 1, now
        card.verdict, card.singles, card.list_limit, card.code_attempts = "", 0, 0, 0
        if not called:
            card.failing_since = None
        card.attempts = card.retry_at = card.look_at = 0
        out.cards.append(card)
        await tx.write(out)
    return Redelivered(tuple(aside), woken)
