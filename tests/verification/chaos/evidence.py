"""Collects the record of a run: from the topics and WeChat outside, from the store inside."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import asyncpg

from contracts.changes import decode_change
from contracts.decode import Dead, decode
from contracts.topics import Topics
from contracts.wechat import TARGET_ENDED
from services.runtime.settings import Settings
from services.simulator.cards import Applied
from tests.e2e.line import now
from tests.kafka.reading import whole_topic
from tests.verification.chaos.record import Arrival, Attempt, Harm, Published, Record, Shown, Taken, Wish
from tests.verification.chaos.stage import Stage

UNSETTLED = {
    "revisions pending": "SELECT count(*) FROM activities WHERE revision > settled",
    "cards doubted": "SELECT count(*) FROM activities WHERE suspect_at IS NOT NULL",
    "cards held": "SELECT count(*) FROM activities WHERE lease_until > 0",
    "timers due": "SELECT count(*) FROM activities WHERE due_at < extract(epoch FROM now()) * 1000000",
    "changes in the outbox": "SELECT count(*) FROM outbox",
    "events parked": "SELECT count(*) FROM parked",
}


async def behind(stage: Stage, events: int) -> str:
    """What has not come true yet, in words; empty when all is quiet."""
    connection = await asyncpg.connect(_dsn(stage), timeout=5)
    try:
        taken = await connection.fetchval("SELECT count(*) FROM inbox")
        counts = {what: await connection.fetchval(query) for what, query in UNSETTLED.items()}
    finally:
        await connection.close()
    waiting = [f"{count} {what}" for what, count in counts.items() if count]
    if taken != events:
        waiting.insert(0, f"{taken} of {events} events taken in")
    return ", ".join(waiting)


async def collect(
    stage: Stage,
    *,
    seed: int,
    begin: int,
    events: int,
    harms: list[Harm],
    problems: list[str],
    wishes: list[Wish],
) -> Record:
    """Everything about a run that is over and quiet."""
    settings = Settings()
    record = Record(
        seed=seed,
        begin=begin,
        end=now(),
        margin=settings.us("expiry_margin"),
        lease=int(float(stage.line.settings["LIVECARD_LEASE"]) * 1_000_000),
        events=events,
        records=0,
        harms=sorted(harms, key=lambda harm: harm.at),
        problems=[*problems, *stage.died],
        wishes=wishes,
    )
    topics = Topics(stage.inside.prefix)
    await _arrivals(stage, record, topics.events)
    await _changes(stage, record, topics.changes)
    async for letter in whole_topic(stage.kafka.bootstrap, topics.dead):
        record.problems.append(f"a dead letter: {dict(letter.headers)}")
    await _inside(stage, record)
    for call in stage.wechat.calls:
        record.calls[call.activity_id].append(call)
    for name, card in stage.wechat.model.cards.items():
        room = frozenset(card.declaration.members or ())
        record.cards[name] = Shown(card.target_state, dict(card.posts), room, _lowered(card.history))
    record.ledger = await stage.inside.ledger()
    return record


def _lowered(history: Sequence[Applied]) -> tuple[tuple[int, int, tuple[str, ...]], ...]:
    return tuple(
        (after.at, after.target_state, after.members)
        for before, after in pairwise(history)
        if before.target_state == TARGET_ENDED > after.target_state
    )


def _dsn(stage: Stage) -> str:
    return stage.inside.database.replace("+asyncpg", "")


async def _arrivals(stage: Stage, record: Record, topic: str) -> None:
    async for each in whole_topic(stage.kafka.bootstrap, topic):
        event = decode(each.value, each.headers)
        if isinstance(event, Dead):
            record.problems.append(f"unreadable in {topic}: {event}")
            continue
        record.records += 1
        record.arrivals[event.activity_id].append(
            Arrival(event, each.partition, each.offset, each.timestamp * 1000)
        )


async def _changes(stage: Stage, record: Record, topic: str) -> None:
    async for each in whole_topic(stage.kafka.bootstrap, topic):
        change = decode_change(each.value)
        record.changes[change.activity_id].append(Published(change, each.value, each.timestamp * 1000))


async def _inside(stage: Stage, record: Record) -> None:
    connection = await asyncpg.connect(_dsn(stage))
    try:
        for row in await connection.fetch("SELECT source, id, outcome, reason, received_at FROM inbox"):
            record.taken[row["source"], row["id"]] = Taken(row["outcome"], row["reason"], row["received_at"])
        for row in await connection.fetch(
            "SELECT activity_id, at + duration AS settled, duration, target_state, members, outcome, fence "
            "FROM attempts ORDER BY seq"
        ):
            name, *rest = row.values()
            record.attempts[name].append(Attempt(*rest))
        for row in await connection.fetch("SELECT title, activity_id FROM activities WHERE title <> ''"):
            record.announced.setdefault(row["title"], set()).add(row["activity_id"])
    finally:
        await connection.close()
