"""Changes on their way out: outbox rows with deterministic ids (design.md §4)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from contracts.changes import DATA_CONTENT_TYPE, SOURCE, CardDelivered, CardFailed, ChangeData, encode_change
from contracts.events import MOST_MEMBERS
from contracts.records import DeadReason, Record, dead_headers, encode_record
from contracts.times import format_rfc3339
from contracts.tracing import Carried, attributes
from services.store.rows import CHANGES, DEAD, EVENTS, OutboxRow, shard_of
from statemachine.model import PassedOn, Published


def change_row(activity_id: str, key: str, now: int, data: ChangeData) -> OutboxRow:
    """One change; `key` is unique within the activity and the same whenever this is computed again."""
    change_id = f"{activity_id}:{key}"
    body = encode_change(change_id, activity_id, now, data).decode()
    return OutboxRow(activity_id, CHANGES, change_id, body, shard_of(activity_id), now)


def card_rows(activity_id: str, key: str, now: int, data: CardDelivered | CardFailed) -> list[OutboxRow]:
    """What became of a revision, in as many changes as its members need: no broker takes a change of any
    length, and one that it refuses would hold up the outbox for ever. The first one counts the calls.
    """
    members = data.members or ()
    if len(members) <= MOST_MEMBERS:
        return [change_row(activity_id, key, now, data)]
    rows = []
    for start in range(0, len(members), MOST_MEMBERS):
        part = msgspec.structs.replace(data, members=members[start : start + MOST_MEMBERS])
        if start and isinstance(part, CardDelivered):
            part = msgspec.structs.replace(part, calls=0)
        rows.append(change_row(activity_id, f"{key}:{start}" if start else key, now, part))
    return rows


def change_rows(activity_id: str, published: Iterable[Published], now: int) -> list[OutboxRow]:
    """The changes of one activity, in order."""
    return [change_row(activity_id, each.key, now, each.data) for each in published]


def event_row(
    activity_id: str,
    key: tuple[str, str],
    kind: str,
    data: Mapping[str, Any],
    *,
    time: int,
    now: int,
    trace: Carried | None = None,
) -> OutboxRow:
    """An event on its way to `activity.events`: `key` is its `(source, id)`, `data` as producers write it,
    `time` (µs) when it happened, `trace` that which it belongs to."""
    source, id_ = key
    event = {
        "specversion": "1.0",
        "id": id_,
        "source": source,
        "type": kind,
        "subject": activity_id,
        "time": format_rfc3339(time),
        "datacontenttype": DATA_CONTENT_TYPE,
        **attributes(trace),
        "data": data,
    }
    body = msgspec.json.encode(event).decode()
    return OutboxRow(activity_id, EVENTS, id_, body, shard_of(activity_id), now)


def people_row(
    activity_id: str, id_: str, kind: str, members: Sequence[str], *, time: int, now: int
) -> OutboxRow:
    """An event of ours about people, whom the activity knows by these names."""
    return event_row(activity_id, (SOURCE, id_), kind, {"members": list(members)}, time=time, now=now)


def derived_id(why: str, *said: str) -> str:
    """The id of an event that follows from another: the same whenever it is made, so that it counts once."""
    digest = hashlib.sha256("\n".join(said).encode()).hexdigest()
    return f"{why}:{digest[:40]}"


def passed_rows(passed: Iterable[PassedOn], now: int) -> list[OutboxRow]:
    """Who came too late for an activity that is continued, as events of the one that continues it."""
    rows = []
    for to, event, members in passed:
        id_ = derived_id("continued", event.activity_id, event.source, event.id, to, members[0])
        rows.append(people_row(to, id_, event.type, members, time=event.time, now=now))
    return rows


def dead_row(activity_id: str, record: Record, reason: DeadReason, error: str, now: int) -> OutboxRow:
    """A dead letter that goes through the outbox, with its headers as they will be published."""
    headers = tuple(dead_headers(record, reason, error, now))
    letter = Record(record.topic, record.partition, record.offset, record.key, record.value, headers)
    return OutboxRow(
        activity_id, DEAD, coordinates(record), encode_record(letter), shard_of(activity_id), now
    )


def coordinates(record: Record) -> str:
    """`topic/partition/offset`: what names a record that has no id of its own."""
    return f"{record.topic}/{record.partition}/{record.offset}"
