"""`livecard redeliver` and `close` for everything that matches a filter, and `livecard jobs`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

import msgspec
from rich.console import Console
from rich.text import Text

from contracts.events import CLOSED
from contracts.times import SECOND, format_rfc3339, parse_rfc3339
from services.cli.acting import acting
from services.cli.database import opened_store
from services.cli.errors import CommandError
from services.cli.show import GIVEN_UP
from services.cli.tables import print_table, table
from services.runtime.settings import Settings
from services.store.operators import DONE, NO_BOUND, STOPPED, Act, Filter, Job, Kind, action
from services.store.ports import Store
from services.store.rows import Writes
from services.transactions import jobs as working
from services.transactions.outgoing import event_row
from services.transactions.redeliver import redeliver as redeliver_card

DOING: Final = {"redeliver": "tried again", "close": "closed"}
SHOWN: Final = 50
"""The latest jobs."""
TELL: Final = 10_000
"""Activities between two lines about a job under way."""


class Chosen(msgspec.Struct, frozen=True):
    """Which activities a command is about: these, or those that match."""

    activity_ids: tuple[str, ...] = ()
    appids: tuple[str, ...] = ()
    room: str = ""
    verdict: str = ""
    opened_after: str = ""
    opened_before: str = ""
    everything: bool = False
    go: bool = False
    why: str = ""

    @property
    def filtered(self) -> bool:
        """Whether it names activities by what they are."""
        said = (self.appids, self.room, self.verdict, self.opened_after, self.opened_before)
        return any(said) or self.everything

    def check(self) -> None:
        """Raise `CommandError` for what does not go together."""
        if self.filtered == bool(self.activity_ids):
            raise CommandError(
                "name either ACTIVITY_IDs, or a filter: --app, --room, --verdict, --opened-after, "
                "--opened-before; --all matches everything"
            )
        if self.verdict and self.verdict not in GIVEN_UP:
            known = ", ".join(GIVEN_UP)
            raise CommandError(f"no card is given up with {self.verdict}: --verdict is one of {known}")
        if self.filtered and self.go and not self.why.strip():
            raise CommandError("a job needs --why TEXT: whoever comes next wants to know")


async def redeliver(settings: Settings, out: Console, chosen: Chosen) -> int:
    """Try again what is given up; 1 when some could not be."""
    chosen.check()
    act = acting(chosen.why)
    async with opened_store(settings) as store:
        if chosen.filtered:
            return await _everything(store, "redeliver", chosen, act, out)
        refused = 0
        for activity_id in chosen.activity_ids:
            done = await redeliver_card(store, activity_id, act)
            refused += bool(done.refused)
            if done.refused:
                text = done.refused
            elif done.members or done.revived:
                text = f"will be tried again, {len(done.members)} skipped members included"
            else:
                text = "nobody is skipped and nothing is given up: nothing to do"
            out.print(f"{activity_id}: {text}", markup=False)
    return 1 if refused else 0


async def close(settings: Settings, out: Console, chosen: Chosen) -> int:
    """End activities by events of ours, which go through the outbox; 1 when some cannot be."""
    chosen.check()
    act = acting(chosen.why)
    async with opened_store(settings) as store:
        if chosen.filtered:
            return await _everything(store, "close", chosen, act, out)
        refused = 0
        for activity_id in chosen.activity_ids:
            text = await _close(store, activity_id, act)
            refused += bool(text)
            out.print(f"{activity_id}: {text or 'will be closed'}", markup=False)
    return 1 if refused else 0


async def _close(store: Store, activity_id: str, act: Act) -> str:
    """Why not, if it cannot be."""
    async with store.transaction() as tx:
        cards = await tx.lock_cards([activity_id])
        if not cards:
            return "no such activity, or its `opened` has not come yet"
        if cards[0].state == "ended":
            return "it has ended already"
        now = await tx.now()
        data = {"note": act.why} if act.why else {}
        row = event_row(activity_id, ("/livecard", f"close:{uuid4()}"), CLOSED, data, time=now, now=now)
        await tx.write(Writes(outbox=[row]))
        await tx.note([action(act, "close", appid=cards[0].appid, about=activity_id)])
    return ""


async def _everything(store: Store, kind: Kind, chosen: Chosen, act: Act, out: Console) -> int:
    wanted = await _filter(store, chosen)
    count = await working.estimate(store, kind, wanted)
    out.print(f"{count} activities match now, of {len(wanted.appids)} apps", markup=False)
    if not chosen.go or not count:
        if count:
            out.print("nothing was done; run it again with --go and --why TEXT", markup=False)
        return 0
    job = Job(uuid4().hex[:12], kind, wanted, act.who, act.why, estimate=count)
    await working.begin(store, job)
    out.print(f"job {job.id}: `livecard jobs --stop {job.id}` or Ctrl-C stops it", markup=False)
    return await _run(store, job.id, act, out)


async def _filter(store: Store, chosen: Chosen) -> Filter:
    known = [gate.appid for gate in await store.all_gates()]
    if unknown := sorted({*chosen.appids} - {*known}):
        raise CommandError(f"no activity of these apps was ever opened here: {', '.join(unknown)}")
    return Filter(
        tuple(sorted({*chosen.appids})) or tuple(known),
        chosen.room,
        _time("--opened-after", chosen.opened_after, 0),
        _time("--opened-before", chosen.opened_before, NO_BOUND),
        chosen.verdict,
    )


def _time(option: str, text: str, otherwise: int) -> int:
    try:
        return parse_rfc3339(text) if text else otherwise
    except ValueError as error:
        raise CommandError(f"{option}: {error}") from None


async def _run(store: Store, name: str, act: Act, out: Console) -> int:
    """To its end; whoever interrupts the command stops the job."""
    printed = 0

    def tell(job: Job) -> None:
        nonlocal printed
        if job.done + job.refused >= printed + TELL:
            printed = job.done + job.refused
            out.print(f"{printed} of about {job.estimate}", markup=False)

    try:
        job = await working.run(store, name, tell)
    except asyncio.CancelledError:
        await asyncio.shield(working.stop(store, name, act))
        raise
    assert job is not None
    out.print(_said(job), markup=False)
    return 0 if job.state == DONE else 1


def _said(job: Job) -> str:
    refused = f", {job.refused} could not be" if job.refused else ""
    end = f"; it was stopped: `livecard jobs --resume {job.id}` goes on" if job.state == STOPPED else ""
    return f"job {job.id}: {job.done} {DOING[job.kind]}{refused}{end}"


async def jobs(settings: Settings, out: Console, stop: str, resume: str, why: str, *, as_json: bool) -> int:
    """The latest jobs; one stopped, or gone on with."""
    act = acting(why)
    if stop and resume:
        raise CommandError("--stop and --resume are two commands: name one of them")
    async with opened_store(settings) as store:
        if stop or resume:
            found = await (working.stop(store, stop, act) if stop else working.resume(store, resume, act))
            if found is None:
                raise CommandError(f"there is no job {stop or resume!r}: `livecard jobs` lists them")
            if resume and found.state != DONE:
                return await _run(store, resume, act, out)
            out.print(_said(found), markup=False)
            return 0
        listed = await store.jobs(SHOWN)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(listed), indent=2).decode())
    elif listed:
        _print(listed, out)
    else:
        out.print("there was no job yet")
    return 0


def _print(listed: Sequence[Job], out: Console) -> None:
    made = table(
        "job", "kind", "state", "of about", "done", "refused", "begun", "moved", "who", "why", "filter"
    )
    for each in listed:
        made.add_row(
            *map(
                Text,
                (
                    each.id,
                    each.kind,
                    each.state,
                    str(each.estimate),
                    str(each.done),
                    str(each.refused),
                    format_rfc3339(each.begun_at // SECOND * SECOND),
                    format_rfc3339(each.moved_at // SECOND * SECOND),
                    each.who,
                    each.why,
                    msgspec.json.encode(each.filter).decode(),
                ),
            )
        )
    print_table(out, made)
