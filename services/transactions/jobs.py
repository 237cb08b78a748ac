"""Something done to every activity that matches a filter, a page at a time, until it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from contracts.changes import SOURCE
from contracts.events import CLOSED
from services.store.operators import DONE, RUNNING, STOPPED, Act, Filter, Job, Kind, Surveyed, action
from services.store.ports import Store, Tx
from services.store.rows import Writes
from services.transactions.outgoing import derived_id, event_row
from services.transactions.redeliver import redeliver_in

ESTIMATE_PAGE: Final = 5_000
"""Activities that an estimate looks at together."""
PAGE: Final = 200
"""Activities that one transaction of a job looks at."""


async def estimate(store: Store, kind: Kind, wanted: Filter) -> int:
    """How many match now. Reads every activity."""
    count, place = 0, ""
    while True:
        surveyed = await store.survey(kind, wanted, place, ESTIMATE_PAGE)
        count += len(surveyed.matching)
        if surveyed.last is None:
            return count
        place = surveyed.last


async def begin(store: Store, job: Job) -> None:
    """Keep it, and who began it; `advance` does the work."""
    said = f"{job.kind} {job.id}: {job.estimate} match"
    async with store.transaction() as tx:
        await tx.begin_job(job)
        apps = job.filter.appids
        appid = apps[0] if len(apps) == 1 else ""
        await tx.note([action(Act(job.who, job.why), "start job", appid=appid, about=job.id, said=said)])


async def advance(store: Store, name: str) -> Job | None:
    """The next page, in one transaction; the job after it, None where there is none. Whoever has moved it
    meanwhile has done this page, so any number may advance a job."""
    async with store.transaction() as tx:
        before = await tx.lock_job(name)
    if before is None or before.state != RUNNING:
        return before
    surveyed = await store.survey(before.kind, before.filter, before.place, PAGE)
    async with store.transaction() as tx:
        job = await tx.lock_job(name)
        if job is not None and job.state == RUNNING and job.place == before.place:
            await _page(tx, job, surveyed)
            await tx.move_job(job)
    return job


async def _page(tx: Tx, job: Job, surveyed: Surveyed) -> None:
    for activity_id, _ in surveyed.matching:
        if job.kind == "redeliver":
            done = await redeliver_in(tx, activity_id)
            job.refused += bool(done.refused)
            job.done += bool(done.members or done.revived)
    if job.kind == "close" and surveyed.matching:
        now = await tx.now()
        data = {"note": job.why} if job.why else {}
        rows = []
        for activity_id, _ in surveyed.matching:
            key = (SOURCE, derived_id("job", job.id, activity_id))
            rows.append(event_row(activity_id, key, CLOSED, data, time=now, now=now))
        await tx.write(Writes(outbox=rows))
        job.done += len(rows)
    job.place, job.state = surveyed.last or job.place, RUNNING if surveyed.last else DONE


async def stop(store: Store, name: str, act: Act) -> Job | None:
    """Stop it after the page under way; the job, None where there is none. What was done stays done."""
    async with store.transaction() as tx:
        job = await tx.lock_job(name)
        if job is not None and job.state == RUNNING:
            job.state = STOPPED
            await tx.move_job(job)
            await tx.note([action(act, "stop job", about=name, said=f"done {job.done}")])
    return job


async def resume(store: Store, name: str, act: Act) -> Job | None:
    """Let one go on that was stopped, or whose command died; the job, None where there is none."""
    async with store.transaction() as tx:
        job = await tx.lock_job(name)
        if job is not None and job.state != DONE:
            job.state = RUNNING
            await tx.move_job(job)
            await tx.note([action(act, "resume job", about=name, said=f"done {job.done}")])
    return job


async def run(store: Store, name: str, tell: Callable[[Job], None]) -> Job | None:
    """Advance it until it is over or somebody stops it."""
    while True:
        job = await advance(store, name)
        if job is None or job.state != RUNNING:
            return job
        tell(job)
