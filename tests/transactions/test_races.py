"""What is committed in the midst of a claim on PostgreSQL, held apart between its snapshot, lock and read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from scripts.patience import PATIENCE
from services.store.ports import Store
from services.store.sql_tx import SqlTx
from services.transactions.claim import Claims, claim
from services.transactions.redeliver import redeliver
from statemachine.plan import Call
from statemachine.step import Owed
from tests.store.benches import STANDING, PostgresBench
from tests.store.support import Scene

pytestmark = pytest.mark.postgres

KEY = 4711
HELD_CLOCK = f"""
CREATE OR REPLACE FUNCTION held_clock() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN
  PERFORM pg_advisory_xact_lock_shared({KEY});
  RETURN {STANDING};
END $$"""
WAITING = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {KEY} AND NOT granted"


@pytest.fixture
async def slow(postgres: PostgresBench) -> Store:
    """A store whose statements have their snapshot and then wait for an advisory lock."""
    await postgres.admin.execute(HELD_CLOCK)
    return await postgres.another(now="held_clock()")


async def _claimed_around(scene: Scene, slow: Store, work: Callable[[], Awaitable[object]]) -> Claims:
    """A claim, with `work` committed after its statement's snapshot and before its locks."""
    bench = scene.bench
    assert isinstance(bench, PostgresBench)
    await bench.admin.execute(f"SELECT pg_advisory_lock({KEY})")
    claiming = asyncio.create_task(claim(slow, {"wx1": 5}, holder="h", limit=5, rules=scene.cards))
    try:
        async with asyncio.timeout(PATIENCE):
            while not await bench.admin.fetchval(WAITING):  # each turn asks PostgreSQL
                pass
        await work()
    finally:
        await bench.admin.execute(f"SELECT pg_advisory_unlock({KEY})")
    return await claiming


@pytest.fixture
async def due(postgres: PostgresBench) -> AsyncIterator[Scene]:
    """A scene with the card `a`, of which one revision is undelivered."""
    made = Scene(postgres)
    await made.open("a")
    await made.complete("a", "m1")
    yield made
    await made.balance()


async def test_an_end_that_comes_first_is_what_is_planned(due: Scene, slow: Store) -> None:
    """The claim writes what it has read under the lock, or leaves the card for the next one."""
    claims = await _claimed_around(due, slow, lambda: due.close("a"))
    (claimed,) = claims.cards or await due.claim()
    assert (claimed.card.state, claimed.call, claimed.more) == ("ended", Call(1, ("m1",)), True)
    assert claimed.card.end_by is not None
    assert (await due.card("a")).state == "ended"


async def test_a_member_who_is_skipped_no_longer_is_in_the_call(due: Scene, slow: Store) -> None:
    """`redeliver` makes the member owed in the transaction that raises the revision."""
    await due.skip("a", "m1")
    await due.complete("a", "m2")
    claims = await _claimed_around(due, slow, lambda: redeliver(due.store, "a"))
    (claimed,) = claims.cards
    assert (claimed.card.revision, claimed.call.members) == (4, ("m1", "m2"))


async def test_a_claim_that_comes_first_leaves_nothing(due: Scene, slow: Store) -> None:
    """The row that it saw was free; the one that it would lock is not."""
    claims = await _claimed_around(due, slow, lambda: due.claim(holder="first"))
    assert (claims.cards, claims.found) == ([], 0)
    assert (await due.card("a")).lease_by == "first"


async def test_a_settle_that_comes_first_leaves_nothing(due: Scene, slow: Store) -> None:
    """Its lease had lapsed, and its holder was just in time."""
    (held,) = await due.claim(holder="late")
    await due.bench.advance(31)
    claims = await _claimed_around(due, slow, lambda: due.settle(due.result(held)))
    assert claims.cards == []
    card = await due.card("a")
    assert (card.behind, card.doubt_at, card.lease_until) == (False, None, 0)


async def test_a_member_committed_after_the_lock_is_read(due: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement that reads the members has a snapshot of its own."""
    bench, read = due.bench, SqlTx.owed
    assert isinstance(bench, PostgresBench)

    async def owed(tx: SqlTx, activity_ids: Sequence[str]) -> dict[str, list[Owed]]:
        await bench.admin.execute(
            "INSERT INTO members (activity_id, group_openid, state, late, done_at) "
            "VALUES ('a', 'm2', 'done', false, $1)",
            bench.now + 1,
        )
        return await read(tx, activity_ids)

    with monkeypatch.context() as patch:
        patch.setattr(SqlTx, "owed", owed)
        (claimed,) = await due.claim()
    assert claimed.call == Call(1, ("m1", "m2"))
