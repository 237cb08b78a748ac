"""What a run left behind, outside (topics) and inside (tables)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from contracts.changes import Change, decode_change
from contracts.records import decode_record
from contracts.topics import Topics
from tests.e2e.line import Line
from tests.kafka.reading import whole_topic
from tests.verification.fuzz.makings import Ids
from tests.verification.judging.judge import first_occurrences

Place = tuple[int, int]
"""Partition and offset."""
OURS: Final = ("reason", "error", "topic", "partition", "offset", "time")
"""The headers that a dead letter ends with, each after `livecard-`."""


@dataclass
class State:
    """An activity's row and its members."""

    state: str
    reason: str
    revision: int
    ended_at: int | None
    listed: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)


@dataclass
class Evidence:
    """`letters`: the reason and the content's digest of each dead letter, by where its record stood."""

    begin: int
    end: int
    margin: int
    topic: str
    letters: dict[Place, tuple[str, bytes]] = field(default_factory=dict)
    inbox: dict[Ids, tuple[str, str]] = field(default_factory=dict)
    parked: dict[Ids, bytes] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    changes: dict[str, list[Change]] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def digest(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """A record's content in few bytes; headers of livecard's names, which no dead letter keeps, left out."""
    found = hashlib.blake2b(digest_size=12)
    kept = [(name.encode("utf-8", "surrogateescape"), each) for name, each in headers if not _ours(name)]
    for part in (key, value, *(each for pair in kept for each in pair)):
        found.update(b"-" if part is None else b"%d:" % len(part) + part)
    return found.digest()


def _ours(name: str) -> bool:
    return name[:9] == "livecard-"


async def collect(line: Line, evidence: Evidence) -> None:
    """Read everything."""
    topics = Topics(line.prefix)
    async for letter in whole_topic(line.kafka, topics.dead):
        _letter(evidence, letter)
    records = whole_topic(line.kafka, topics.changes)
    changes, wrong = first_occurrences([(decode_change(each.value), each.value) async for each in records])
    for change in changes:
        evidence.changes.setdefault(change.activity_id, []).append(change)
    evidence.problems += wrong
    await _inside(line, evidence)
    evidence.ledger = await line.ledger()


def _letter(evidence: Evidence, letter: Any) -> None:
    names = [name for name, _ in letter.headers]
    told = {name: (value or b"").decode() for name, value in letter.headers[-len(OURS) :]}
    if [name for name in names if _ours(name)] != [f"livecard-{name}" for name in OURS] or len(told) != len(
        OURS
    ):
        evidence.problems.append(f"a dead letter's headers: {letter.headers}"[:500])
        return
    place = int(told["livecard-partition"]), int(told["livecard-offset"])
    if told["livecard-topic"] != evidence.topic or not told["livecard-error"]:
        evidence.problems.append(f"a dead letter tells wrongly where it is from, or not why: {told}")
    if place in evidence.letters:
        evidence.problems.append(f"two dead letters of one record: {told}")
    found = told["livecard-reason"], digest(letter.key, letter.value, letter.headers)
    evidence.letters[place] = found


async def _inside(line: Line, evidence: Evidence) -> None:
    connection = await asyncpg.connect(line.database.replace("+asyncpg", ""))
    try:
        async with connection.transaction():
            async for row in connection.cursor(
                "SELECT source, id, outcome, reason FROM inbox", prefetch=5000
            ):
                evidence.inbox[row["source"], row["id"]] = row["outcome"], row["reason"]
            async for row in connection.cursor("SELECT source, id, record FROM parked"):
                kept = decode_record(row["record"])
                evidence.parked[row["source"], row["id"]] = digest(kept.key, kept.value, kept.headers)
            columns = "activity_id, state, reason, revision, ended_at"
            async for row in connection.cursor(f"SELECT {columns} FROM activities", prefetch=5000):
                name, *rest = row.values()
                evidence.states[name] = State(*rest)
            columns = "activity_id, group_openid, state, late"
            async for row in connection.cursor(f"SELECT {columns} FROM members", prefetch=5000):
                state = evidence.states[row["activity_id"]]
                state.listed.add(row["group_openid"])
                if row["state"] == "done":
                    (state.late if row["late"] else state.done).add(row["group_openid"])
    finally:
        await connection.close()
