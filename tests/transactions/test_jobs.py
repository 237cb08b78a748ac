"""Redelivering and closing everything that matches: estimated, in pages, stopped, gone on with, once each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.events import CLOSED
from services.store.operators import DONE, RUNNING, STOPPED, Act, Filter, Job, Kind, Surveyed
from services.store.rows import EVENTS
from services.transactions import jobs
from services.transactions.arrivals import read_arrival
from services.transactions.jobs import advance, begin, estimate, resume, run, stop
from services.transactions.redeliver import redeliver
from tests.store.benches import HOUR, START
from tests.store.support import Scene

ACT = Act("bob@desk", "a test")
ONE = Filter(("wx1",))


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PAGE", 2)
    monkeypatch.setattr(jobs, "ESTIMATE_PAGE", 2)


async def five(scene: Scene) -> None:
    """Of wx1 three with somebody skipped, one without, one of another room; and one of another app."""
    for name in ("a", "b", "c"):
        await scene.open(name, room={"opengid": f"g-{name}"})
        await scene.complete(name, "m")
        await scene.skip(name, "m")
        await scene.bench.advance(1)
    await scene.open("d")
    await scene.open("e", appid="wx2")
    await scene.complete("e", "m")
    await scene.skip("e", "m")


async def made(scene: Scene, kind: Kind, wanted: Filter = ONE, name: str = "j1") -> Job:
    job = Job(name, kind, wanted, ACT.who, ACT.why, estimate=await estimate(scene.store, kind, wanted))
    await begin(scene.store, job)
    return job


async def closing(scene: Scene) -> list[str]:
    """Whose end is on its way."""
    rows = [row for row in await scene.outbox() if row.topic == EVENTS]
    assert all(f'"type":"{CLOSED}"' in row.body for row in rows)
    return [row.activity_id for row in rows]


async def test_what_matches_is_counted_and_nothing_is_done(scene: Scene) -> None:
    await five(scene)
    store = scene.store
    assert await estimate(store, "redeliver", ONE) == 3
    assert await estimate(store, "close", ONE) == 4
    assert await estimate(store, "close", Filter(("wx1", "wx2"))) == 5
    assert await estimate(store, "close", Filter(())) == 0
    assert await estimate(store, "redeliver", Filter(("wx1",), room="g-b")) == 1
    assert await estimate(store, "redeliver", Filter(("wx1",), opened_after=START + 1_000_000)) == 2
    assert await estimate(store, "redeliver", Filter(("wx1",), opened_before=START + 1_000_000)) == 1
    assert await estimate(store, "redeliver", Filter(("wx1",), verdict="rejected")) == 0
    assert await scene.skipped("a") == ["m"]
    await scene.bench.advance(2 * HOUR / 1_000_000 * 24)
    assert await estimate(store, "redeliver", ONE) == 0


async def test_whom_nothing_can_bring_back_does_not_match(scene: Scene) -> None:
    """Once the end was called, no member follows it."""
    await five(scene)
    await scene.set("a", may_show=3)
    scene.contrived = True
    assert await estimate(scene.store, "redeliver", ONE) == 2


async def test_a_job_does_it_to_each_once(scene: Scene) -> None:
    """Afterwards nothing matches."""
    await five(scene)
    await made(scene, "redeliver")
    told: list[str] = []
    job = await run(scene.store, "j1", lambda each: told.append(each.place))
    assert job is not None
    assert (job.state, job.estimate, job.done, job.refused) == (DONE, 3, 3, 0)
    assert told == ["b", "d"]
    assert [await scene.skipped(name) for name in ("a", "b", "c", "e")] == [[], [], [], ["m"]]
    assert await estimate(scene.store, "redeliver", ONE) == 0
    again = await advance(scene.store, "j1")
    assert again is not None
    assert again.state == DONE
    assert await advance(scene.store, "nobody") is None


async def test_two_that_run_a_job_at_once_do_each_page_once(scene: Scene) -> None:
    """Somebody goes on with it while its first command lives; another job beside it is another."""
    await five(scene)
    await made(scene, "close")
    await made(scene, "redeliver", name="j2")
    runs = [run(scene.store, name, lambda _: None) for name in ("j1", "j2", "j1")]
    first, second, third = await asyncio.gather(*runs)
    assert first is not None
    assert second is not None
    assert third is not None
    assert [first.done, third.done, second.done] == [4, 4, 3]
    assert await closing(scene) == ["a", "b", "c", "d"]


async def test_what_changed_since_it_was_looked_at_is_left_alone(scene: Scene) -> None:
    """A card that was mended between the look and the page is not counted."""
    await five(scene)
    await made(scene, "redeliver")
    looked = scene.store.survey

    async def late(*asked: Any) -> Surveyed:
        found = await looked(*asked)
        for name, _ in found.matching:
            if name == "a":
                await redeliver(scene.store, "a")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene.store, "survey", late)
        job = await run(scene.store, "j1", lambda _: None)
    assert job is not None
    assert (job.done, job.refused) == (2, 0)


async def test_a_job_that_was_given_up_with_this_verdict(scene: Scene) -> None:
    await scene.open("a")
    await scene.complete("a", "m")
    await scene.set("a", verdict="unknown_code", settled=2, behind_since=None)
    scene.contrived = True
    assert await estimate(scene.store, "redeliver", Filter(("wx1",), verdict="unknown_code")) == 1
    assert await estimate(scene.store, "redeliver", Filter(("wx1",), verdict="rejected")) == 0
    assert await estimate(scene.store, "redeliver", ONE) == 1


async def test_closing_goes_through_events(scene: Scene) -> None:
    """With the job's reason as the note."""
    await five(scene)
    await made(scene, "close")
    job = await run(scene.store, "j1", lambda _: None)
    assert job is not None
    assert (job.state, job.done) == (DONE, 4)
    assert await closing(scene) == ["a", "b", "c", "d"]
    arrivals = [
        read_arrival(scene.record(row.body.encode())) for row in await scene.outbox() if row.topic == EVENTS
    ]
    applied = await scene.feed(*arrivals)
    assert applied.repeats == 0
    assert await estimate(scene.store, "close", ONE) == 0


async def test_a_job_is_stopped_and_gone_on_with(scene: Scene) -> None:
    """After the page under way; what was done stays done, and is not done again."""
    await five(scene)
    await made(scene, "close")
    job = await advance(scene.store, "j1")
    assert job is not None
    assert (job.state, job.place, job.done) == (RUNNING, "b", 2)
    stopped = await stop(scene.store, "j1", ACT)
    assert stopped is not None
    assert stopped.state == STOPPED
    still = await advance(scene.store, "j1")
    assert still is not None
    assert (still.state, still.done) == (STOPPED, 2)
    assert await closing(scene) == ["a", "b"]
    assert await resume(scene.store, "j1", Act("cid@desk", "it was right")) is not None
    assert (await run(scene.store, "j1", lambda _: None)) is not None
    assert await closing(scene) == ["a", "b", "c", "d"]
    assert await stop(scene.store, "nobody", ACT) is None
    assert await resume(scene.store, "nobody", ACT) is None
    assert await resume(scene.store, "j1", ACT) is not None, "it is done, so nobody goes on with it"
    said = [(each.what, each.who, each.why, each.about) for each in await scene.store.actions(10)]
    assert said[0] == ("resume job", "cid@desk", "it was right", "j1")
    assert [each[0] for each in said] == ["resume job", "stop job", "start job"]


async def test_jobs_and_who_began_them_are_listed(scene: Scene) -> None:
    """Newest first; the actions name the job."""
    await five(scene)
    await made(scene, "close", Filter(("wx1",), "g-a", 5, 9), "j1")
    await scene.bench.advance(1)
    await made(scene, "redeliver", name="j2")
    await stop(scene.store, "j2", ACT)
    second, first = await scene.store.jobs(10)
    assert (first.id, first.filter, first.begun_at) == (
        "j1",
        Filter(("wx1",), "g-a", 5, 9),
        START + 3_000_000,
    )
    assert (second.id, second.state, second.why) == ("j2", STOPPED, "a test")
    assert [each.id for each in await scene.store.jobs(1)] == ["j2"]
    said = [(each.what, each.about) for each in await scene.store.actions(10)]
    assert said == [("stop job", "j2"), ("start job", "j2"), ("start job", "j1")]
