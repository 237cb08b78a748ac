"""A record as consumed becomes an arrival: an event, or why it is none."""

from __future__ import annotations

import msgspec

from contracts.decode import Dead, decode
from contracts.events import Event
from contracts.records import DeadReason, Record
from services.store.rows import InboxKey
from services.transactions.outgoing import coordinates


class Failed(msgspec.Struct, frozen=True):
    """Why a record is a dead letter. `key` is its `(source, id)` where those could be read."""

    reason: DeadReason
    error: str
    key: InboxKey | None = None


class Arrival(msgspec.Struct, frozen=True):
    """One record as consumed: what it says, or why it says nothing."""

    record: Record
    content: Event | Failed

    @property
    def key(self) -> InboxKey:
        """What makes it count once: `(source, id)`, or its coordinates when it has none."""
        content = self.content
        if isinstance(content, Event):
            return InboxKey(content.source, content.id)
        return content.key or InboxKey("", coordinates(self.record))


def read_arrival(record: Record) -> Arrival:
    """Decode one record; never raises."""
    read = decode(record.value, record.headers)
    if not isinstance(read, Dead):
        return Arrival(record, read)
    key = InboxKey(read.source, read.id) if read.source and read.id else None
    return Arrival(record, Failed(read.reason, read.error, key))
