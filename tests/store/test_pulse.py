"""What the console reads of a store: the same on every engine."""

from __future__ import annotations

import re

import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from services.store.pulse import CallCount, DoneMember, Standing
from services.store.rows import CHANGES, Attempt, Writes
from services.store.sql_pulse import PULSE
from services.transactions.arrivals import read_arrival
from services.transactions.bury_parked import bury_parked
from statemachine.gate import Gate
from tests.store.benches import DAY, START, PostgresBench
from tests.store.support import Scene
from tests.store.test_plans import ACTIVITIES, BEHIND, _plan, crowded

__all__ = ["crowded"]


async def test_how_each_app_stands(scene: Scene) -> None:
    """Every app that opened something: its gate, its cards that are not in sync, the oldest undelivered one.
    What is given up is not in sync, and not undelivered."""
    assert await scene.store.standings(10) == ([], 0)
    await scene.open("a", "b", "c", "d")
    await scene.open("e", appid="wx2")
    await scene.open("f", appid="wx3")
    await scene.complete("d", "m")
    (claimed,) = await scene.claim("d")
    for _ in range(5):
        await scene.settle(scene.result(claimed, Verdict.unknown_code, errcode=1))
        await scene.bench.advance(61)
        (claimed,) = await scene.claim("d") or [claimed]
    first = scene.bench.now
    await scene.complete("b", "m")
    await scene.bench.advance(5)
    await scene.complete("c", "m")
    await scene.complete("f", "m")
    found, now = await scene.store.standings(10)
    assert now == scene.bench.now
    assert [(each.gate.appid, *each[1:]) for each in found] == [
        ("wx1", 3, first),
        ("wx2", 0, None),
        ("wx3", 1, now),
    ]
    assert found[1] == Standing(Gate("wx2"), 0, None)
    assert [each.not_in_sync for each in (await scene.store.standings(2))[0]] == [2, 0, 1]


async def test_calls_of_a_stretch_of_time(scene: Scene) -> None:
    """By app, from its begin up to its end; no more than the limit are counted."""
    scene.contrived = True
    await scene.open("a")
    await scene.open("b", appid="wx2")
    log = [
        Attempt("a", 2, 1, START, 20, 1, 1, "ok"),
        Attempt("a", 2, 2, START + 1, 90, 1, 1, "unknown"),
        Attempt("b", 2, 1, START + 2, 30, 1, 1, "ok"),
        Attempt("a", 2, 3, START + 9, 40, 1, 1, "ok"),
        Attempt("gone", 2, 3, START + 3, 40, 1, 1, "ok"),
    ]
    async with scene.store.transaction() as tx:
        await tx.write(Writes(attempts=log))
    assert await scene.store.calls_between(START, START + 9, 10) == [
        CallCount("wx1", 2, 1, 90),
        CallCount("wx2", 1, 1, 30),
    ]
    assert await scene.store.calls_between(START, START + 10, 1) == [CallCount("wx1", 1, 1, 20)]
    assert await scene.store.calls_between(START + 10, START + 99, 10) == []


async def test_the_counters_tell_dead_letters_by_reason(scene: Scene) -> None:
    """Each letter counts under its reason, whatever becomes of its event later."""
    assert await scene.store.counters() == {}
    await scene.feed(scene.completed("a", "m", id_="early"))
    await scene.feed(*(read_arrival(scene.record(b"{")) for _ in range(2)))
    await scene.feed(scene.event("nothing.known", "a"))
    counted = {name: n for name, n in (await scene.store.counters()).items() if name.startswith("dead.")}
    assert counted == {"dead.malformed": 2, "dead.unknown_type": 1}
    await scene.bench.advance(7_200)
    assert await bury_parked(scene.store, 3_600 * SECOND, 10) == 1
    counted = {name: n for name, n in (await scene.store.counters()).items() if name.startswith("dead.")}
    assert counted == {"dead.malformed": 2, "dead.unknown_type": 1, "dead.parked_too_long": 1}


async def test_what_came_last_to_an_activity(scene: Scene) -> None:
    """Newest first, up to the limit, and nothing of another activity."""
    await scene.open("a", "other")
    await scene.complete("other", "m")
    for member in ("m1", "m2", "m3"):
        await scene.bench.advance(1)
        await scene.complete("a", member)
    found = await scene.store.lately("a", 2)
    assert found.done == (
        DoneMember("m3", START + 3 * SECOND, late=False),
        DoneMember("m2", START + 2 * SECOND, late=False),
    )
    assert [(each.topic, each.created_at) for each in found.outbox] == [
        (CHANGES, START + 3 * SECOND),
        (CHANGES, START + 2 * SECOND),
    ]
    assert found.parked == ()
    for n in range(3):
        await scene.bench.advance(1)
        await scene.feed(scene.completed("early", f"m{n}", id_=f"p{n}"))
    early = await scene.store.lately("early", 2)
    assert [(each.id, each.parked_at) for each in early.parked] == [
        ("p2", START + 6 * SECOND),
        ("p1", START + 5 * SECOND),
    ]
    assert await scene.store.lately("unknown", 2) == type(found)()


@pytest.mark.postgres
async def test_a_look_at_the_whole_reads_little(crowded: PostgresBench) -> None:
    """With 100,000 cards behind a closed gate: of each app its oldest by the index, and no more."""
    plan, pages = await _plan(crowded, PULSE["standings"], limit=1_000)
    assert plan.count("Index Scan using activities_not_in_sync") == 2, plan
    assert "Seq Scan on activities" not in plan
    assert pages < 12_000, plan
    assert pages < 5 * 1_000 + 2_000, plan


@pytest.mark.postgres
async def test_a_minute_of_calls_is_found_by_its_time(crowded: PostgresBench) -> None:
    """Among a day's: by the index of times, and the activities by their ids."""
    now = await crowded.admin.fetchval("SELECT max(expires_at) FROM activities") - DAY
    await crowded.admin.execute(
        f"""INSERT INTO attempts (activity_id, revision, fence, at, duration, target_state, members, outcome,
          errmsg, rid)
        SELECT 'a' || (n * 7919 % {ACTIVITIES} + 1), 2, 1, $1::bigint - n::bigint * {DAY} / {BEHIND}, 1, 1, 1,
          'ok', '', '' FROM generate_series(1, {BEHIND}) n""",
        now,
    )
    await crowded.admin.execute("VACUUM ANALYZE attempts")
    since = now - 3_600 * SECOND
    plan, pages = await _plan(
        crowded, PULSE["calls_between"], since=since, until=since + 60 * SECOND, limit=20_000
    )
    assert "Index Scan using attempts_at" in plan, plan
    assert not re.search(r"Seq Scan on (attempts|activities)", plan), plan
    assert pages < 1_500, plan
