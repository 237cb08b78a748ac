"""One chaos run: load from several producers, a monkey, a calm, and the judgement.

The judgement is by content, not by order: every event has one outcome and the ledger balances; every
member who finished is known as done; the card shows just those who were in time, and its end; the
changes published tell the same, in order.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.times import SECOND, format_rfc3339
from contracts.topics import Topics
from scripts.engines import Kafka, Postgres
from tests.chaos.monkey import Monkey
from tests.e2e.line import Line, a_line, now, until

SETTINGS = {
    "LIVECARD_LEASE": "5",
    "LIVECARD_CALL_DEADLINE": "2",
    "LIVECARD_KAFKA_SESSION": "6",
    "LIVECARD_REPAIR_AFTER": "3",
    "LIVECARD_SWEEP": "1",
    "LIVECARD_BACKOFF_CAP": "4",
    "LIVECARD_PROBE": "2",
    "LIVECARD_RELAY_LEASE": "4",
    "LIVECARD_REPLICATION": "3",
}
SERVICES = ("lifecycle", "clock", "dispatcher")
CALM = 150.0
"""Seconds in which everything must come true once nothing goes wrong any more (45011 waits a minute)."""


@dataclass
class Told:
    """What was sent: per activity who finished; and how many distinct events there were."""

    members: dict[str, set[str]] = field(default_factory=dict)
    events: int = 0
    records: int = 0


@dataclass
class Verdict:
    """What came of a run. `wrong` is empty when all is right."""

    seed: int
    kills: int
    acts: dict[str, int]
    events: int
    records: int
    repeated_posts: int
    unknown: int
    wrong: list[str]
    story: list[str]


async def send(producer: AIOKafkaProducer, topic: str, event: dict[str, Any], partition: int | None) -> None:
    """Until the brokers have it; a repeat is harmless."""
    value, key = msgspec.json.encode(event), str(event["subject"]).encode()
    while True:
        try:
            await producer.send_and_wait(topic, value, key=key, partition=partition)
        except KafkaError:
            await asyncio.sleep(0.5)
        else:
            return


async def play(line: Line, name: str, told: Told, chance: random.Random, seconds: float) -> None:
    """One activity's life, its events shuffled, repeated and spread over partitions."""
    people = [f"gp-{number}" for number in range(chance.randint(2, 12))]
    line.declare(name, people)
    begin = now()
    ending = chance.choice(("deadline", "closed", "complete"))
    opening: dict[str, Any] = {"close_when_complete": ending == "complete"}
    if ending == "deadline":
        opening |= {"deadline": format_rfc3339(begin + int(seconds * SECOND)), "notice": int(seconds / 3)}
    finishers = people if ending == "complete" else people[: chance.randint(1, len(people))]
    told.members[name] = set(finishers)
    events = [line.opened(name, people, **opening)]
    events += [line.completed(name, person, time=format_rfc3339(begin)) for person in finishers]
    chance.shuffle(events)
    told.events += len(events)
    producers = [line.producer, *PRODUCERS]
    topic = Topics(line.prefix).events
    for event in events:
        for _ in range(chance.choice((1, 1, 1, 2))):
            partition = chance.choice((None, None, chance.randrange(8)))
            await send(chance.choice(producers), topic, event, partition)
            told.records += 1
        await asyncio.sleep(chance.expovariate(len(events) / (seconds * 0.6)))
    if ending == "closed":
        told.events += 1
        told.records += 1
        await send(line.producer, topic, line.event("activity.closed", name, {}), None)


PRODUCERS: list[AIOKafkaProducer] = []


async def chaos(kafka: Kafka, postgres: Postgres, seed: int, seconds: float, activities: int) -> Verdict:
    """One run on these engines."""
    with tempfile.TemporaryDirectory(prefix="livecard-chaos-") as folder:
        database = f"chaos{seed}"
        admin = await asyncpg.connect(postgres.url("postgres").replace("+asyncpg", ""))
        await admin.execute(f'CREATE DATABASE "{database}"')
        await admin.close()
        url = postgres.url(database)
        async with (
            AsyncExitStack() as stack,
            a_line(kafka.bootstrap, url, f"{database}.", Path(folder), **SETTINGS) as line,
        ):
            PRODUCERS[:] = [
                AIOKafkaProducer(bootstrap_servers=kafka.bootstrap.split(","), acks="all") for _ in range(2)
            ]
            for producer in PRODUCERS:
                await producer.start()
                stack.push_async_callback(producer.stop)
            told, monkey = Told(), Monkey(line, kafka, postgres, seed)
            await line.start(*SERVICES, *SERVICES)
            lives = [
                asyncio.create_task(play(line, f"c-{place}", told, random.Random(f"{seed}/{place}"), seconds))
                for place in range(activities)
            ]
            await monkey.run(seconds)
            line.simulator.faults.remove()
            await asyncio.gather(*lives)
            wrong = await judge(line, told, url)
            cards = line.simulator.model.cards.values()
            ledger = await line.ledger()
            return Verdict(
                seed,
                monkey.kills,
                dict(monkey.acts),
                told.events,
                told.records,
                sum(card.repeated_posts for card in cards),
                ledger["calls"]["unknown"],
                wrong,
                monkey.told,
            )


async def judge(line: Line, told: Told, url: str) -> list[str]:
    """Wait for the calm, then look at everything."""

    async def quiet() -> bool:
        ledger = await line.ledger()
        if ledger["events"]["taken"] != told.events or ledger["revisions"]["pending"]:
            return False
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            doubts = await connection.fetchval("SELECT count(*) FROM activities WHERE suspect_at IS NOT NULL")
            open_ = await connection.fetchval("SELECT count(*) FROM activities WHERE state <> 'ended'")
            outbox = await connection.fetchval("SELECT count(*) FROM outbox")
        finally:
            await connection.close()
        return not (doubts or open_ or outbox)

    wrong: list[str] = []
    try:
        await until(quiet, "everything came true in the calm", CALM)
    except AssertionError as error:
        wrong.append(str(error))
    ledger = await line.ledger()
    wrong += [f"the ledger: {problem}" for problem in ledger["problems"]]
    if ledger["events"]["taken"] != told.events:
        wrong.append(f"{told.events} distinct events were sent, {ledger['events']['taken']} were taken in")
    if ledger["events"]["dead"] or ledger["events"]["parked"]:
        wrong.append(f"dead or parked events: {ledger['events']}")
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    rows = await connection.fetch("SELECT activity_id, group_openid, late FROM members WHERE state = 'done'")
    ends = dict(await connection.fetch("SELECT activity_id, verdict FROM activities"))
    await connection.close()
    for name, finished in told.members.items():
        done = {row["group_openid"]: row["late"] for row in rows if row["activity_id"] == name}
        card = line.card(name)
        in_time = {person for person, late in done.items() if not late}
        if done.keys() != finished:
            wrong.append(f"{name}: {sorted(finished ^ done.keys())} are not known as they finished")
        if card.posts.keys() != in_time:
            wrong.append(f"{name}: the card shows {sorted(card.posts)}, it should show {sorted(in_time)}")
        if card.target_state != 3 or ends[name]:
            wrong.append(f"{name}: the card shows state {card.target_state}; given up: {ends[name]!r}")
    return wrong
