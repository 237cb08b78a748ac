"""What a claim finds due, in which order and of whom how much; and when there will be more."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.times import SECOND
from services.store.rows import Writes
from tests.store.benches import START, Bench, PostgresBench, rolled_back
from tests.store.support import Scene

FUTURE = START + 5 * SECOND
WAITS: dict[str, dict[str, Any]] = {
    "throttled": {"throttled_until": FUTURE},
    "backing off": {"retry_at": FUTURE},
    "calling": {"lease_until": FUTURE},
}


@pytest.fixture
async def behind(scene: Scene) -> Scene:
    """A scene with the card `a`, behind by one revision; `b` is in sync."""
    await scene.open("a", "b")
    await scene.complete("a", "m1")
    return scene


async def test_an_undelivered_card_is_due_and_one_in_sync_is_not(behind: Scene) -> None:
    """Until it is delivered."""
    assert await behind.due() == ["a"]
    await behind.deliver("a")
    assert await behind.due() == []


@pytest.mark.parametrize("why", WAITS)
async def test_a_card_waits_until_its_time_has_come(behind: Scene, why: str) -> None:
    """Throttled, backing off, calling: not one microsecond early, and not one late."""
    await behind.set("a", **WAITS[why])
    await behind.bench.advance(4.999999)
    assert await behind.due() == []
    await behind.bench.advance(0.000001)
    assert await behind.due() == ["a"]


@pytest.mark.parametrize(("why", "end"), [("throttled", True), ("backing off", False), ("calling", False)])
async def test_the_end_ignores_throttling_and_nothing_else(behind: Scene, why: str, end: bool) -> None:
    """Its own backoff and a lease hold it back."""
    await behind.close("a")
    await behind.set("a", **WAITS[why])
    assert await behind.due() == (["a"] if end else [])


async def test_a_card_whose_id_is_dead_is_not_due(behind: Scene) -> None:
    """`expires_at` = now is dead; an end neither."""
    await behind.open("c")
    await behind.close("c")
    await behind.bench.advance(86_399.999999)
    assert await behind.due() == ["c", "a"]
    await behind.bench.advance(0.000001)
    assert await behind.due() == []


async def test_a_closed_gate_hides_its_apps_cards_only(behind: Scene) -> None:
    """Until it opens, by time or by hand."""
    await behind.open("c", appid="wx2")
    await behind.complete("c", "m")
    await behind.shut("wx1", "daily_limit", FUTURE)
    assert await behind.due() == ["c"]
    await behind.bench.advance(5)
    assert await behind.due() == ["a", "c"]
    await behind.shut("wx1", "blocked", FUTURE + SECOND)
    assert await behind.due() == ["c"]
    await behind.store.open_gates(["wx1"], None)
    assert await behind.due() == ["a", "c"]


@pytest.mark.parametrize(
    ("reason", "found"),
    [("", 6), ("minute_limit", 4), ("daily_limit", 4), ("token", 1), ("misconfigured", 1), ("blocked", 1)],
)
async def test_after_a_closing_an_app_is_narrow_or_one_call_probes_it(
    scene: Scene, reason: str, found: int
) -> None:
    """So many at once as `narrow` says; one where a call has to find out whether the app is let in."""
    names = [f"a{n}" for n in range(7)]
    await scene.open(*names)
    for name in names:
        await scene.complete(name, "m")
        await scene.bench.advance(1)
    await scene.shut("wx1", reason, START)
    assert await scene.due(room=6, narrow=4) == names[:found]
    assert len(await scene.due(room=3, narrow=4)) == min(found, 3)


async def test_apps_take_turns_and_within_each_ends_go_first(scene: Scene) -> None:
    """One busy app does not hide the others, not even with ends; within a turn the ends lead."""
    await scene.open("a1", "a2", "a3", "a4", "a5")
    await scene.open("b1", "b2", appid="wx2")
    await scene.open("c1", appid="wx3")
    for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
        await scene.complete(name, "m")
        await scene.bench.advance(1)
    await scene.close("a4")
    await scene.bench.advance(1)
    await scene.close("a5")
    assert await scene.due() == ["a4", "b1", "c1", "a5", "b2", "a1", "a2", "a3"]
    assert await scene.due(limit=3) == ["a4", "b1", "c1"]
    assert await scene.due(room=1) == ["a4", "b1", "c1"]


async def test_those_due_the_longest_go_first_within_an_app(scene: Scene) -> None:
    """Nobody starves behind newer work."""
    await scene.open("z", "y", "x")
    for name in "zyx":
        await scene.complete(name, "m")
        await scene.bench.advance(1)
    assert await scene.due() == ["z", "y", "x"]


async def test_only_apps_with_room_are_asked(behind: Scene) -> None:
    """Each as far as its own room goes; an app that nobody ever saw has nothing."""
    await behind.open("c", "d", appid="wx2")
    await behind.complete("c", "m")
    await behind.complete("d", "m")
    async with rolled_back(behind.store) as tx:
        due = await tx.claim_due({"wx2": 1, "unseen": 9}, 100, 4)
        assert [card.appid for card in due.cards] == ["wx2"]  # both are due since the same moment
        assert set(due.gates) == {"wx2"}
        assert due.now == START
        assert (await tx.claim_due({}, 100, 4)).cards == []


async def test_a_doubt_is_due_after_its_delay_and_news_do_not_wait_for_it(scene: Scene) -> None:
    """An uncertain card 30 s after the doubt; one that is given up never, by itself."""
    await scene.open("a", "b", "dead")
    await scene.set("a", doubt_at=START)
    await scene.set("dead", doubt_at=START, verdict="rejected")
    await scene.set("b", doubt_at=START)
    await scene.complete("b", "m")
    assert await scene.due() == ["b"]
    await scene.bench.advance(29.999999)
    assert await scene.due() == ["b"]
    await scene.bench.advance(0.000001)
    assert await scene.due() == ["b", "a"]


async def test_a_lease_of_the_release_before_is_honoured(behind: Scene) -> None:
    """It claims without moving `attempt_at`; once its lease is over the card is due."""
    await behind.bench.overwrite("a", lease_until=FUTURE, lease_by="old", fence=1)
    await behind.bench.advance(4.999999)
    assert await behind.due() == []
    await behind.bench.advance(0.000001)
    assert await behind.due() == ["a"]
    (claimed,) = await behind.claim("a")
    assert (claimed.card.fence, claimed.card.doubt_at) == (3, FUTURE)


def needs_two_at_once(bench: Bench) -> None:
    """Skips where the second transaction would not begin."""
    if bench.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")


async def test_what_another_holds_is_passed_over(bench: Bench) -> None:
    """Nobody waits, and the room goes to others."""
    needs_two_at_once(bench)
    scene, other = Scene(bench), await bench.another()
    names = [f"a{n}" for n in range(4)]
    await scene.open(*names)
    for name in names:
        await scene.complete(name, "m")
        await bench.advance(1)
    async with bench.store.transaction() as tx:
        assert [card.activity_id for card in (await tx.claim_due({"wx1": 2}, 9, 4)).cards] == names[:2]
        async with other.transaction() as second:
            rest = (await second.claim_due({"wx1": 2}, 9, 4)).cards
            assert [card.activity_id for card in rest] == names[2:]


async def test_gates_are_locked_or_passed_over(bench: Bench) -> None:
    """A claim that finds a probe under way does not wait for it."""
    needs_two_at_once(bench)
    other = await bench.another()
    async with bench.store.transaction() as tx:
        await tx.write(Writes(apps=["wx1", "wx2"]))
    async with bench.store.transaction() as tx:
        assert list(await tx.lock_gates(["wx1"], wait=True)) == ["wx1"]
        async with other.transaction() as second:
            assert list(await second.lock_gates(["wx1", "wx2"], wait=False)) == ["wx2"]


@pytest.mark.postgres
async def test_a_claims_now_is_read_after_its_locks(postgres: PostgresBench) -> None:
    """The clock here counts how often it is read: what the claim is told was the last reading."""
    scene = Scene(postgres)
    await scene.open("a", "b", "c")
    for name in "abc":
        await scene.complete(name, "m")
    await postgres.admin.execute(f"CREATE SEQUENCE ticks START {START + SECOND}")
    counting = await postgres.another(now="nextval('ticks')")
    async with rolled_back(counting) as tx:
        due = await tx.claim_due({"wx1": 9}, 9, 4)
    read = await postgres.admin.fetchval("SELECT last_value FROM ticks")
    await postgres.admin.execute("DROP SEQUENCE ticks")
    assert len(due.cards) == 3
    assert due.now == read


async def _next_attempt(scene: Scene, *appids: str) -> float | None:
    """Seconds."""
    async with scene.store.transaction() as tx:
        found = await tx.next_attempt(appids)
    return None if found is None else found / SECOND


async def test_the_next_attempt_is_the_first_that_lies_ahead(behind: Scene) -> None:
    """What is due already is no reason to wait; nothing ahead is None."""
    assert await _next_attempt(behind, "wx1") is None
    await behind.open("c", "d")
    await behind.set("c", doubt_at=START)
    await behind.complete("d", "m")
    await behind.set("d", retry_at=START + 40 * SECOND)
    assert await _next_attempt(behind, "wx1") == 30
    await behind.bench.advance(30)
    assert await _next_attempt(behind, "wx1") == 10
    assert await _next_attempt(behind, "wx2") is None
    assert await _next_attempt(behind) is None
    await behind.close("b")
    await behind.set("b", retry_at=START + 31 * SECOND)
    assert await _next_attempt(behind, "wx1") == 1


async def test_behind_a_closed_gate_its_opening_is_the_next_attempt(behind: Scene) -> None:
    """Its cards are not; those of other apps, and other gates, are none of the asker's affair."""
    await behind.open("c", appid="wx2")
    await behind.complete("c", "m")
    await behind.set("c", retry_at=START + 9 * SECOND)
    await behind.set("a", retry_at=START + SECOND)
    await behind.shut("wx1", "blocked", START + 5 * SECOND)
    assert await _next_attempt(behind, "wx1", "wx2") == 5
    assert await _next_attempt(behind, "wx2") == 9


async def test_a_dead_id_has_no_next_attempt(behind: Scene) -> None:
    """Its card is the clock's."""
    await behind.set("a", retry_at=START + 2 * 86_400 * SECOND)
    await behind.bench.advance(86_400)
    assert await _next_attempt(behind, "wx1") is None


async def test_of_an_app_that_keeps_the_rest_of_its_quota_ends_alone_are_due(scene: Scene) -> None:
    """Of the others everything; and everything again once that time is over, or it is taken back. A time that
    no day can be long enough for is not believed."""
    await scene.open("ended", "going-on")
    await scene.open("other", appid="wx2")
    for name in ("going-on", "other", "ended"):
        await scene.complete(name, "m")
    await scene.close("ended")
    assert await scene.store.save_quota("wx1", FUTURE)
    assert not await scene.store.save_quota("wx1", FUTURE)
    assert not await scene.store.save_quota("wx-nobody", FUTURE)
    assert sorted(await scene.due()) == ["ended", "other"]
    await scene.shut("wx2", "daily_limit", FUTURE)
    assert sorted(await scene.due()) == ["ended"]
    await scene.store.open_gates(["wx1", "wx2"], None)
    assert sorted(await scene.due()) == ["ended", "other"]
    await scene.bench.advance(5)
    assert sorted(await scene.due()) == ["ended", "going-on", "other"]
    await scene.store.save_quota("wx1", FUTURE + 30 * 86_400 * SECOND)
    assert sorted(await scene.due()) == ["ended", "going-on", "other"]
