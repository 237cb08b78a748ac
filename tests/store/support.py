"""A scene to play on: the transactions with everything dull filled in."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.events import Event
from contracts.records import Record
from contracts.times import SECOND, format_rfc3339
from contracts.wechat import Verdict
from services.store.ports import Store
from services.store.rows import CHANGES, SHARDS, SKIPPED, MemberMark, OutboxRow, Writes
from services.transactions.apply import Applied, apply
from services.transactions.arrivals import Arrival, read_arrival
from services.transactions.claim import claim
from services.transactions.fire_due import Fired, fire_due
from services.transactions.ledger import read_ledger
from services.transactions.settle import Settled, settle
from statemachine.card import Card, DeliveryRules, attempt_at
from statemachine.gate import Gate
from statemachine.model import Rules
from statemachine.step import Claimed, Result
from statemachine.timers import due_at
from tests.store.benches import Bench, rolled_back
from tests.verification.lives.wire import envelope


class Scene:
    """Events in, claims and answers of WeChat's: the verbs with everything dull filled in."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.store = bench.store
        self.rules = Rules()
        self.cards = DeliveryRules()
        self.offset = 0
        self.contrived = False
        """Rows were made that no transaction makes: nothing balances."""
        self._names: list[str] = []

    def record(self, value: bytes | None, headers: tuple[Any, ...] = ()) -> Record:
        """A record with coordinates of its own."""
        self.offset += 1
        return Record("activity.events", 0, self.offset, b"key", value, headers)

    def event(
        self, kind: str, activity: str, id_: str = "", *, time: int | None = None, **data: Any
    ) -> Arrival:
        """One event, through the real decoder; `time` µs, now when not given."""
        key, at = ("/tests", id_ or f"e{self.offset + 1}"), self.bench.now if time is None else time
        body = envelope(f"livecard.{kind}", activity, key, format_rfc3339(at), data)
        return read_arrival(self.record(msgspec.json.encode(body)))

    def opened(self, activity: str, id_: str = "", *, life: float = 86_400, **data: Any) -> Arrival:
        """An opening for everyone; `life` and `deadline` in seconds from now."""
        for name in {"deadline"} & data.keys():
            data[name] = format_rfc3339(self.bench.now + round(data[name] * SECOND))
        data = {"appid": "wx1", "template": "complete", "choose": "everyone", **data}
        expires_at = format_rfc3339(self.bench.now + round(life * SECOND))
        return self.event("activity.opened", activity, id_, expires_at=expires_at, **data)

    def completed(self, activity: str, *members: str, id_: str = "", time: int | None = None) -> Arrival:
        """Members who are done."""
        return self.event("participant.completed", activity, id_, time=time, members=list(members))

    async def feed(self, *arrivals: Arrival, store: Store | None = None) -> Applied:
        """One batch."""
        self._names += [each.content.activity_id for each in arrivals if isinstance(each.content, Event)]
        return await apply(store or self.store, arrivals, self.rules)

    async def open(self, *activities: str, **data: Any) -> None:
        """Open them, each with an event of its own."""
        await self.feed(*(self.opened(name, **data) for name in activities))

    async def complete(self, activity: str, *members: str) -> Applied:
        """One completion."""
        return await self.feed(self.completed(activity, *members))

    async def close(self, activity: str) -> Applied:
        """The organiser closes it."""
        return await self.feed(self.event("activity.closed", activity))

    async def tick(self) -> Fired:
        """What the clock does."""
        return await fire_due(self.store, 100, self.rules)

    async def rooms(self, room: int = 100) -> dict[str, int]:
        """Room for every app."""
        return {gate.appid: room for gate in await self.store.all_gates()}

    async def due(self, *, limit: int = 100, room: int = 100, narrow: int = 4) -> list[str]:
        """What a claim would find, in its order; nothing is taken."""
        rooms = await self.rooms(room)
        async with rolled_back(self.store) as tx:
            return [card.activity_id for card in (await tx.claim_due(rooms, limit, narrow)).cards]

    async def claim(self, *only: str, holder: str = "h1", limit: int = 100) -> list[Claimed]:
        """What is due and has a call; of others than `only`, if given, everything is given back unsent."""
        found = await claim(self.store, await self.rooms(), holder=holder, limit=limit, rules=self.cards)
        others = [each for each in found.cards if only and each.card.activity_id not in only]
        if others:
            await self.settle(*(Result(each) for each in others))
        return [each for each in found.cards if each not in others]

    def result(self, claimed: Claimed, verdict: Verdict | None = Verdict.ok, **more: Any) -> Result:
        """What the call came to."""
        return Result(claimed, verdict, **{"sent": verdict is not None, **more})

    async def settle(self, *results: Result) -> list[Settled]:
        """As the dispatcher does."""
        return await settle(self.store, results, self.cards)

    async def deliver(self, activity: str, verdict: Verdict | None = Verdict.ok, **more: Any) -> Settled:
        """Claim, call, settle: once."""
        (claimed,) = await self.claim(activity)
        (settled,) = await self.settle(self.result(claimed, verdict, **more))
        return settled

    async def card(self, activity: str) -> Card:
        """The card as it is."""
        async with self.store.transaction() as tx:
            (card,) = await tx.lock_cards([activity])
        return card

    async def set(self, activity: str, **values: Any) -> None:
        """Set columns of a card behind everybody's back."""
        async with self.store.transaction() as tx:
            (card,) = await tx.lock_cards([activity])
            await tx.write(Writes(cards=[msgspec.structs.replace(card, **values)]))

    async def mark(self, activity: str, member: str, delivered: int) -> None:
        """Set what became of a member behind everybody's back."""
        async with self.store.transaction() as tx:
            await tx.lock([activity])
            await tx.write(Writes(marks=[MemberMark(activity, member, delivered, False)]))

    async def skip(self, activity: str, member: str) -> None:
        """As if WeChat had rejected this member alone."""
        await self.mark(activity, member, SKIPPED)

    async def owed(self, activity: str) -> list[str]:
        """Who is owed to WeChat, oldest first."""
        async with self.store.transaction() as tx:
            return [each.group_openid for each in (await tx.owed([activity])).get(activity, [])]

    async def skipped(self, activity: str) -> list[str]:
        """Who is skipped."""
        async with self.store.transaction() as tx:
            return (await tx.skipped([activity])).get(activity, [])

    async def gate(self, appid: str = "wx1") -> Gate:
        """An app's gate."""
        (gate,) = [each for each in await self.store.all_gates() if each.appid == appid]
        return gate

    async def shut(self, appid: str, reason: str, until: int) -> None:
        """Close a gate behind everybody's back."""
        async with self.store.transaction() as tx:
            gates = await tx.lock_gates([appid], wait=True)
            closed = msgspec.structs.replace(gates[appid], closed_until=until, reason=reason)
            await tx.write(Writes(gates=[closed]))

    async def outbox(self) -> list[OutboxRow]:
        """Everything that waits to be published, in order."""
        return await self.store.outbox(range(SHARDS), 100_000)

    async def changes(self, activity: str) -> list[str]:
        """The ids of the activity's changes, without the activity's own."""
        rows = [row for row in await self.outbox() if row.topic == CHANGES and row.activity_id == activity]
        return [row.id.removeprefix(f"{activity}:") for row in rows]

    async def counters(self) -> dict[str, int]:
        """The ledger's counters other than 0."""
        counters, *_ = await self.store.totals()
        return {name: value for name, value in counters.items() if value}

    async def balance(self) -> None:
        """The ledger balances, and every row says when it is due: asked after every scenario."""
        if self.contrived:
            return
        ledger = await read_ledger(self.store)
        assert ledger.problems == ()
        async with self.store.transaction() as tx:
            rows = (await tx.lock(sorted(set(self._names)))).values()
        for activity, card in rows:
            # The partial indexes know by these columns alone who is behind, and when a card is looked at.
            assert (card.behind_since is not None) == card.behind, card
            stored = await self.bench.columns(activity.activity_id)
            assert (stored.attempt_at, stored.ending) == (attempt_at(card, self.cards), card.ending), card
            due = due_at(
                activity, card, self.rules
            )  # a settle leaves an earlier one, which is corrected then
            assert due is None or (stored.due_at is not None and stored.due_at <= due), card
