"""A card whose id has died is closed by the clock: whatever its gate, and nobody's call is settled over."""

from __future__ import annotations

import asyncio

import pytest

from contracts.changes import CardFailed, decode_change
from contracts.events import Completed, Opened
from contracts.times import SECOND
from contracts.wechat import Verdict
from services.clock import clock as module
from services.clock.clock import LOCKED
from services.store.ports import StoreRejected
from services.store.rows import CHANGES, SHARDS, Writes
from services.transactions.claim import claim
from services.transactions.ledger import read_ledger
from services.transactions.settle import settle
from statemachine.card import Card, DeliveryRules, phase
from statemachine.gate import Gate
from statemachine.step import Claimed, Result
from tests.clock.support import BASE, Hands, a_clock, changes, feed, opened
from tests.verification.dict_store.store import MemoryStore

LIFE = 1_000 * SECOND
DIES = BASE + LIFE
RULES = DeliveryRules()


async def owed(store: MemoryStore, hands: Hands) -> None:
    """An activity `a` that lives for a thousand seconds, with a member to deliver."""
    await feed(
        store, hands.now, "a", Opened(appid="wx1", template="complete", expires_at=DIES, choose="everyone")
    )
    await feed(store, hands.now, "a", Completed(("m1",)))


async def card(store: MemoryStore) -> Card:
    async with store.transaction() as tx:
        (found,) = await tx.lock_cards(["a"])
    return found


async def take(store: MemoryStore) -> list[Claimed]:
    return (await claim(store, {"wx1": 5}, holder="d", limit=5, rules=RULES)).cards


async def failures(store: MemoryStore) -> list[CardFailed]:
    rows = [row for row in await store.outbox(range(SHARDS), 10_000) if row.topic == CHANGES]
    read = [decode_change(row.body.encode()).data for row in rows]
    return [each for each in read if isinstance(each, CardFailed)]


@pytest.mark.parametrize("gate", [None, "daily_limit", "unknown_app", "misconfigured"])
async def test_a_dead_id_is_closed_also_behind_a_closed_gate_and_told(gate: str | None) -> None:
    """What was still owed is named and settled as expired, and the relay is kicked."""
    hands = Hands()
    store = MemoryStore(hands.wall)
    await owed(store, hands)
    if gate is not None:
        async with store.transaction() as tx:
            await tx.write(Writes(gates=[Gate("wx1", DIES + LIFE, hands.now, gate)]))
    clock = a_clock(hands, store)
    hands.now = DIES - 1
    await clock.round()
    assert phase(await card(store)) == "due"
    hands.now, hands.kicks = DIES, 0
    await clock.round()
    assert phase(await card(store)) == "closed"
    assert [(each.verdict, each.members) for each in await failures(store)] == [("expired", ("m1",))]
    assert hands.kicks == 1
    ledger = await read_ledger(store)
    assert ledger.balanced
    await clock.round()
    assert (len(await failures(store)), hands.kicks) == (1, 1), "once"


async def test_while_a_dispatcher_calls_closing_waits_for_the_leases_end() -> None:
    """And then takes the fence, so that whoever held it settles nothing over it."""
    hands = Hands()
    store = MemoryStore(hands.wall)
    await owed(store, hands)
    clock = a_clock(hands, store)
    hands.now = DIES - 5 * SECOND
    await clock.round()
    (claimed,) = await take(store)
    for hands.now in (DIES, claimed.card.lease_until - 1):
        await clock.round()
        assert phase(await card(store)) == "calling"
    hands.now = claimed.card.lease_until
    await clock.round()
    closed = await card(store)
    assert phase(closed) == "closed"
    late = await settle(store, [Result(claimed, Verdict.ok, sent=True)], RULES)
    assert late[0].stale
    assert phase(await card(store)) == "closed"
    assert await take(store) == []
    assert (await read_ledger(store)).balanced


@pytest.mark.parametrize("verdict", [Verdict.ok, Verdict.busy, Verdict.unknown])
async def test_a_call_that_comes_back_after_the_death_is_closed_by_its_settle(verdict: Verdict) -> None:
    """Nobody calls again, and the clock finds nothing to do."""
    hands = Hands()
    store = MemoryStore(hands.wall)
    await owed(store, hands)
    clock = a_clock(hands, store)
    hands.now = DIES - 5 * SECOND
    await clock.round()
    (claimed,) = await take(store)
    hands.now = DIES + SECOND
    await settle(store, [Result(claimed, verdict, sent=True)], RULES)
    assert phase(await card(store)) == "closed"
    told = [each.members for each in await failures(store)]
    hands.now = claimed.card.lease_until + SECOND
    await clock.round()
    assert [each.members for each in await failures(store)] == told
    assert store.rows["a"].due_at is None
    assert (await read_ledger(store)).balanced


async def test_a_card_that_shows_its_end_needs_no_closing() -> None:
    hands = Hands()
    store = MemoryStore(hands.wall)
    await feed(store, hands.now, "a", opened(BASE + 100 * SECOND))
    hands.now = BASE + 100 * SECOND
    clock = a_clock(hands, store)
    await clock.round()
    (claimed,) = await take(store)
    assert claimed.call.target_state == 3
    await settle(store, [Result(claimed, Verdict.ok, sent=True)], RULES)
    hands.now += 100_000 * SECOND
    await clock.round()
    assert store.rows["a"].due_at is None
    assert await failures(store) == []


async def test_a_due_row_that_somebody_has_locked_is_asked_for_again_soon_not_without_rest() -> None:
    hands = Hands()
    store = MemoryStore(hands.wall)
    await feed(store, hands.now, "a", opened(BASE + 600 * SECOND))
    clock = a_clock(hands, store)
    hands.now = BASE + 600 * SECOND
    async with store.transaction() as tx:
        await tx.lock(["a"])
        assert await clock.round() == LOCKED
    await clock.round()
    assert ("ended", "deadline") in await changes(store)


async def test_timers_fire_while_parked_events_cannot_be_buried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a transaction of its own: what fails in one keeps nothing from the other."""
    hands = Hands()
    store = MemoryStore(hands.wall)
    await feed(store, hands.now, "a", opened(BASE + 600 * SECOND))
    clock = a_clock(hands, store)

    async def refused(*_: object) -> int:
        raise StoreRejected("no such value fits")

    monkeypatch.setattr(module, "bury_parked", refused)
    hands.now = BASE + 600 * SECOND
    with pytest.raises(StoreRejected):
        await clock.round()
    assert ("ended", "deadline") in await changes(store)
    assert len(hands.nudges) == 1


async def test_two_clocks_close_a_card_once() -> None:
    hands = Hands()
    store = MemoryStore(hands.wall, pause=lambda: asyncio.sleep(0))
    await owed(store, hands)
    hands.now = DIES - SECOND
    await a_clock(hands, store).round()
    hands.now = DIES
    await asyncio.gather(*(a_clock(hands, store).round() for _ in range(3)))
    assert len(await failures(store)) == 1
    assert (await read_ledger(store)).balanced
