"""One person erased from everything that the store keeps (docs/operations.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Final

import msgspec

from contracts.records import decode_record, encode_record
from services.store.operators import Act, action
from services.store.persons import PlacedParked, Tally
from services.store.ports import Store, Tx
from services.store.rows import DEAD, InboxKey, InboxOutcome, OutboxRow, ParkedRow, Writes
from services.transactions.erasing import record_without, unnamed, without
from statemachine.card import CALLING, phase
from statemachine.states import DONE

PAGE: Final = 50
"""Activities of one transaction, and messages that are read together."""
SURVEYED: Final = 5_000
"""Activities that one statement reads."""
ANSWERS: Final = 50_000
"""Calls in the log that one reads."""
FORGOTTEN: Final = "forgotten"
"""Why an event is refused that was about this person alone, and still waited for its `opened`."""


class Forgotten(msgspec.Struct, frozen=True):
    """How many rows of each kind were deleted or rewritten. `calling`: the person's cards that were being
    called at that moment, so that the answer may name the person once more."""

    counts: dict[str, int]
    calling: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """In a few words."""
        return ", ".join(f"{kind} {count}" for kind, count in self.counts.items() if count) or "nothing"


async def names_of(store: Store, name: str) -> list[str]:
    """Every openid and group_openid of the person whom this one names, by the bindings, itself first."""
    names = [name]
    while True:
        known = {each for alias in await store.known_as(names) for each in alias if each}
        if known <= set(names):
            return names
        names += sorted(known - set(names))


async def _nowhere() -> str:
    return ""


async def forget(
    store: Store, names: Collection[str], act: Act, elsewhere: Callable[[], Awaitable[str]] = _nowhere
) -> Forgotten:
    """Erase whoever has these names. Safe to run again, and to be cut off: bindings, by which the names are
    known, go last. Rows go from `parked` to members, from both to the outbox and from there to the dead
    letters, so they are looked for in this order. `elsewhere` erases what the outbox has published, and says
    what."""
    counts: Counter[str] = Counter(members=0, publishers=0, parked=0, outbox=0)
    calling: list[str] = []
    await _from_parked(store, names, counts)
    activities = await _activities_with(store, names)
    for start in range(0, len(activities), PAGE):
        async with store.transaction() as tx:
            page = activities[start : start + PAGE]
            calling += await _from_activities(tx, page, names, counts)
    await _from_outbox(store, names, counts)
    more = await elsewhere()
    counts["texts"] = await _from_texts(store, names)
    async with store.transaction() as tx:
        counts["bindings"] = await tx.forget_bindings(names)
        counts["waiting"] = await tx.forget_unbound(names)
        counts["sessions"] = await tx.forget_sessions(names)
        counts["answers"] = await tx.forget_requests(names)
        done = Forgotten(dict(counts), tuple(calling))
        out = Writes()
        out.count("openids.dropped", counts["waiting"])
        act = Act(act.who, unnamed(act.why, names))
        await tx.note([action(act, "forget", said=f"{done.said}{more}")])
        await tx.write(out)
    return done


async def _activities_with(store: Store, names: Collection[str]) -> list[str]:
    found, place = [], ""
    while True:
        page, last = await store.activities_with(names, place, SURVEYED)
        found += page
        if last is None:
            return found
        place = last


async def _from_texts(store: Store, names: Collection[str]) -> int:
    """What WeChat answered, and why operators acted."""
    count, place, tell = 0, 0, partial(unnamed, names=names)
    while (until := await store.answers_until(place, ANSWERS)) is not None:
        async with store.transaction() as tx:
            count += await tx.forget_answers(place, until, names, tell)
        place = until
    async with store.transaction() as tx:
        return count + await tx.forget_texts(names, tell)


async def _from_activities(
    tx: Tx, page: Collection[str], names: Collection[str], counts: Counter[str]
) -> list[str]:
    """Members and publishers. The counts follow; no revision is raised, since WeChat takes nobody back."""
    locked = await tx.lock(sorted(page))
    gone: dict[str, list[str]] = {name: [] for name in locked}
    for name, state in await tx.forget_members(list(locked), names):
        gone[name].append(state)
        counts["members"] += 1
    tallies = []
    for name, states in gone.items():
        activity, card = locked[name]
        listed = len(states) if activity.choose == "listed" else 0
        left = tuple(each for each in card.progress_members if each not in names)
        if states or left != card.progress_members:
            done = activity.done - states.count(DONE)
            tallies.append(Tally(name, activity.participants - listed, done, left))
    await tx.tally(tallies)
    counts["publishers"] += await tx.forget_publishers(list(locked), names)
    return [name for name, row in locked.items() if phase(row.card) is CALLING]


async def _from_parked(store: Store, names: Collection[str], counts: Counter[str]) -> None:
    place = 0
    while page := await store.parked_after(place, PAGE):
        place = page[-1].place
        if named := [each for each in page if record_without(each.row.record, names) is not each.row.record]:
            async with store.transaction() as tx:
                await _rewrite_parked(tx, named, names)
                counts["parked"] += len(named)


async def _rewrite_parked(tx: Tx, found: Iterable[PlacedParked], names: Collection[str]) -> None:
    """Under their activities' locks: one that was opened meanwhile has taken them in."""
    rows = [each.row for each in found]
    await tx.lock(sorted({row.activity_id for row in rows}))
    out = Writes()
    for row in await tx.parked([InboxKey(row.source, row.id) for row in rows]):
        record = record_without(row.record, names)
        if record is not None:
            await tx.rewrite_parked(ParkedRow(row.activity_id, row.source, row.id, row.parked_at, record))
            continue
        out.unpark.append(InboxKey(row.source, row.id))
        out.outcomes.append(InboxOutcome(row.source, row.id, "refused", FORGOTTEN))
    out.count("events.parked", -len(out.unpark))
    out.count("events.refused", len(out.unpark))
    await tx.write(out)


async def _from_outbox(store: Store, names: Collection[str], counts: Counter[str]) -> None:
    seq = 0
    while page := await store.outbox_after(seq, PAGE):
        seq = page[-1].seq
        changed = [(row, body) for row in page if (body := _body(row, names)) != row.body]
        if changed:
            async with store.transaction() as tx:
                for row, body in changed:
                    if body is None:
                        await tx.drop_outbox(row.seq)
                    else:
                        await tx.rewrite_outbox(row.seq, body)
                counts["outbox"] += len(changed)


def _body(row: OutboxRow, names: Collection[str]) -> str | None:
    """What is left to publish; None: nothing."""
    if row.topic == DEAD:
        record = record_without(letter := decode_record(row.body), names)
        return row.body if record is letter else None if record is None else encode_record(record)
    body = without(row.body.encode(), names)
    return None if body is None else body.decode()
