"""What a claim takes, in which order, and what it leaves (design.md §6); on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from scripts.patience import PATIENCE
from services.store.ports import Store
from services.store.sql_tx import SqlTx
from services.transactions.claim import claim
from services.transactions.schedule import schedule
from statemachine.card import Phase, phase
from statemachine.gate import Passage
from statemachine.step import Owed
from tests.store.benches import Bench, PostgresBench
from tests.store.support import Scene


@pytest.fixture
async def due(scene: Scene) -> Scene:
    """A scene with the card `a`, of which one revision is undelivered."""
    await scene.open("a")
    await scene.complete("a", "m1")
    return scene


async def test_a_card_with_news_is_claimed_and_a_true_one_is_not(due: Scene) -> None:
    await due.open("true")
    (claimed,) = await due.claim()
    assert (claimed.card.activity_id, claimed.call.members, claimed.more) == ("a", ("m1",), False)
    assert await due.due() == []
    await due.settle(due.result(claimed))
    assert await due.due() == []
    await due.balance()


@pytest.mark.parametrize("column", ["retry_at", "throttled_until", "lease_until"])
async def test_a_card_waits_until_its_time_has_come(due: Scene, column: str) -> None:
    await due.set("a", **{column: due.bench.now + 5 * SECOND})
    assert await due.due() == []
    await due.bench.advance(5)
    assert await due.due() == ["a"]


async def test_the_end_ignores_the_throttle_and_nothing_else(due: Scene) -> None:
    await due.set("a", throttled_until=due.bench.now + 50 * SECOND)
    await due.close("a")
    assert await due.due() == ["a"]
    await due.set("a", retry_at=due.bench.now + 5 * SECOND)
    assert await due.due() == []


async def test_a_dead_id_is_left_to_the_clock(due: Scene) -> None:
    await due.bench.advance(86_400)
    assert await due.due() == []
    await due.tick()  # ends it
    await due.tick()  # and closes its card
    assert phase(await due.card("a")) is Phase.closed
    await due.balance()


async def test_ends_go_first_then_the_apps_take_turns_the_oldest_card_first(scene: Scene) -> None:
    for name, appid in (("a1", "wx1"), ("a2", "wx1"), ("a3", "wx1"), ("b1", "wx2"), ("b2", "wx2")):
        await scene.open(name, appid=appid)
        await scene.complete(name, "m")
        await scene.bench.advance(1)
    await scene.close("a3")
    assert await scene.due() == ["a3", "b1", "a1", "b2", "a2"]
    assert await scene.due(limit=3) == ["a3", "b1", "a1"]
    assert await scene.due(room=1) == ["a3", "b1"]


async def test_a_closed_gate_hides_its_own_apps_cards_only(due: Scene) -> None:
    await due.open("b", appid="wx2")
    await due.complete("b", "m1")
    await due.shut("wx1", "minute_limit", due.bench.now + 60 * SECOND)
    assert await due.due() == ["b"]
    await due.bench.advance(60)
    assert await due.due() == ["a", "b"]


@pytest.mark.parametrize(
    ("reason", "most"), [("minute_limit", 2), ("daily_limit", 2), ("token", 1), ("blocked", 1)]
)
async def test_after_a_closing_few_pass_and_where_it_must_be_tried_one(
    scene: Scene, reason: str, most: int
) -> None:
    await scene.open("a", "b", "c")
    for name in "abc":
        await scene.complete(name, "m")
    await scene.shut("wx1", reason, scene.bench.now)
    assert len(await scene.due(narrow=2)) == most


async def test_one_claim_of_all_processes_probes_a_gate(scene: Scene) -> None:
    """It moves the gate's end on by a lease, so nobody else gets through."""
    await scene.open("a", "b")
    await scene.complete("a", "m")
    await scene.complete("b", "m")
    await scene.shut("wx1", "token", scene.bench.now)
    (probe,) = await scene.claim()
    assert probe.passage == Passage(0, "token", probe=scene.bench.now)
    assert (await scene.gate()).closed_until == scene.bench.now + scene.cards.lease
    assert await scene.claim() == []
    (settled,) = await scene.settle(scene.result(probe))
    assert settled.gate is not None
    assert not settled.gate.reason
    assert len(await scene.due()) == 1


async def test_a_probe_given_back_unsent_lets_the_next_one_through(scene: Scene) -> None:
    await scene.open("a")
    await scene.complete("a", "m")
    await scene.shut("wx1", "blocked", scene.bench.now)
    (probe,) = await scene.claim()
    await scene.settle(scene.result(probe, None))
    (again,) = await scene.claim()
    assert again.passage.probe is not None


async def test_a_lapsed_lease_is_a_doubt_and_a_new_fence(due: Scene) -> None:
    (held,) = await due.claim(holder="lost")
    assert await due.due() == []
    await due.bench.advance(30)
    (again,) = await due.claim(holder="other")
    assert again.card.fence > held.card.fence
    assert again.card.doubt_at == due.bench.now
    (late,) = await due.settle(due.result(held))
    assert late.stale
    await due.settle(due.result(again))
    card = await due.card("a")
    assert (card.behind, phase(card)) == (False, Phase.uncertain)
    await due.balance()


async def test_where_nothing_differs_the_revision_is_delivered_without_a_call(scene: Scene) -> None:
    """Near and open again before anybody looked."""
    await scene.open("a", deadline=1000, notice=900)
    await scene.bench.advance(100)
    await scene.tick()
    await scene.feed(scene.event("activity.rescheduled", "a", deadline=None))
    assert await scene.claim() == []
    card = await scene.card("a")
    assert (card.settled, card.behind, card.shown) == (3, False, 1)
    assert (await scene.changes("a"))[-1].startswith("delivered:3:")
    await scene.balance()


async def test_a_claim_says_when_it_is_worth_another(due: Scene) -> None:
    """The next `attempt_at` ahead of an open app, or the end of a gate."""
    await due.deliver("a", Verdict.busy, jitter=0.5)
    rooms = await due.rooms()
    found = await claim(due.store, rooms, holder="h", limit=5, rules=due.cards)
    assert (found.cards, found.next_in) == ([], SECOND // 2)
    await due.shut("wx1", "minute_limit", due.bench.now + 9 * SECOND)
    found = await claim(due.store, rooms, holder="h", limit=5, rules=due.cards)
    assert found.next_in == 9 * SECOND


async def test_two_that_claim_at_once_take_different_cards(bench: Bench, scene: Scene) -> None:
    names = [f"a{place}" for place in range(12)]
    await scene.open(*names)
    for name in names:
        await scene.complete(name, "m")
    other = await bench.another()
    found = await asyncio.gather(
        *(claim(each, {"wx1": 8}, holder="h", limit=8, rules=scene.cards) for each in (scene.store, other))
    )
    taken = [each.card.activity_id for claims in found for each in claims.cards]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(names)


HELD_CLOCK = """
CREATE FUNCTION held_clock() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN
  PERFORM pg_advisory_xact_lock_shared(4711);
  RETURN (SELECT us FROM standing_clock); END $$"""
HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"


@pytest.fixture
async def held_claims(postgres: PostgresBench) -> AsyncIterator[Store]:
    """A store whose statements, once they have their snapshot, wait for an advisory lock."""
    await postgres.admin.execute(HELD_CLOCK)
    yield await postgres.another(now="held_clock()")
    await postgres.admin.execute("DROP FUNCTION held_clock()")


async def _waiting(bench: PostgresBench) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await bench.admin.fetchval(HELD):
            await asyncio.sleep(0.01)


@pytest.mark.postgres
async def test_a_member_committed_between_a_claims_snapshot_and_its_lock_is_in_it(
    postgres: PostgresBench, held_claims: Store
) -> None:
    """The lock takes the row as it is by then, and the members are read after it: one view of both."""
    scene = Scene(postgres)
    await scene.open("a")
    await scene.complete("a", "m1")
    await postgres.admin.execute("SELECT pg_advisory_lock(4711)")
    claiming = asyncio.create_task(claim(held_claims, {"wx1": 5}, holder="h", limit=5, rules=scene.cards))
    await _waiting(postgres)
    await scene.complete("a", "m2")
    await postgres.admin.execute("SELECT pg_advisory_unlock(4711)")
    (claimed,) = (await claiming).cards
    assert (claimed.card.revision, claimed.call.members) == (3, ("m1", "m2"))
    await scene.settle(scene.result(claimed))
    assert await scene.owed("a") == []
    await scene.balance()


@pytest.mark.postgres
async def test_an_end_committed_between_a_claims_snapshot_and_its_lock_is_planned(
    postgres: PostgresBench, held_claims: Store
) -> None:
    """What is written is made of the row that is locked, never of the one that was seen."""
    scene = Scene(postgres)
    await scene.open("a")
    await scene.complete("a", "m1")
    await postgres.admin.execute("SELECT pg_advisory_lock(4711)")
    claiming = asyncio.create_task(claim(held_claims, {"wx1": 5}, holder="h", limit=5, rules=scene.cards))
    await _waiting(postgres)
    await scene.close("a")
    await postgres.admin.execute("SELECT pg_advisory_unlock(4711)")
    cards = (await claiming).cards or await scene.claim()
    (claimed,) = cards
    assert (claimed.card.state, claimed.call.members, claimed.more) == ("ended", ("m1",), True)
    await scene.balance()


@pytest.mark.postgres
async def test_a_member_committed_between_a_claims_lock_and_its_read_is_in_it(
    postgres: PostgresBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second statement has a snapshot of its own."""
    scene = Scene(postgres)
    await scene.open("a")
    await scene.complete("a", "m1")
    read = SqlTx.owed

    async def owed(tx: SqlTx, activity_ids: Sequence[str]) -> dict[str, list[Owed]]:
        await postgres.admin.execute(
            "INSERT INTO members (activity_id, group_openid, state, late, done_at) "
            "VALUES ('a', 'm2', 'done', false, $1)",
            postgres.now + 1,
        )
        return await read(tx, activity_ids)

    with monkeypatch.context() as patch:
        patch.setattr(SqlTx, "owed", owed)
        (claimed,) = await scene.claim()
    assert claimed.call.members == ("m1", "m2")


async def test_a_card_that_is_locked_is_left_for_the_next_claim(bench: Bench, scene: Scene) -> None:
    """Nobody waits for an activity that is being changed."""
    if bench.kind != "postgres":
        pytest.skip("one writer at a time")
    await scene.open("a", "b")
    for name in "ab":
        await scene.complete(name, "m")
    other = await bench.another()
    async with other.transaction() as tx:
        await tx.lock(["a"])
        assert [each.card.activity_id for each in await scene.claim()] == ["b"]
    assert [each.card.activity_id for each in await scene.claim()] == ["a"]


async def test_cards_that_say_not_when_they_want_a_dispatcher_learn_it(due: Scene) -> None:
    """The release before raises without `attempt_at`."""
    await due.bench.forget_attempt("a")
    assert await due.due() == []
    assert await schedule(due.store, 10, due.rules) == 1
    assert await due.due() == ["a"]
    assert await schedule(due.store, 10, due.rules) == 0
