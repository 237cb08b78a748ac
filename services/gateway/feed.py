"""The changes of activities as they are published, for those who listen: the last hour's, and streams.

One `Feed` a process takes every change from a tail of `activity.changes` and hands it to the streams of its
activity. It keeps those of the last hour, bounded in bytes, so that a stream may resume after a change that
its client names. Nothing waits here, and nothing grows without a bound: a stream whose client does not read
is ended; the client resumes.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from itertools import islice, pairwise
from typing import Final, Literal, Protocol

import msgspec
import structlog

from contracts.changes import ACTIVITY_CHANGED, SOURCE
from contracts.times import parse_rfc3339
from services.runtime.ports import SELDOM, Clock

LOG = structlog.get_logger("livecard.gateway")

KEEP: Final = 3_600.0
"""Seconds for which a change is kept."""
MEMORY: Final = 64 * 1024 * 1024
"""Bytes of changes that are kept; and, apart, of what waits for clients."""
STREAM_MEMORY: Final = 1024 * 1024
"""Bytes that wait for one client."""
STREAMS: Final = 1_000
"""Streams that are open at once in a process."""
OVERHEAD: Final = 500
"""Bytes that a change costs beside its own."""
CHUNK: Final = 64 * 1024
"""Bytes handed over together, if there is more than one change."""

Ending = Literal["left", "revoked", "slow", "gap", "drained"]
"""Why a stream ended: its client left, its key is not allowed any more, its client does not read, changes
were lost, or the process leaves."""


class NotReading(Exception):
    """The changes cannot be read yet, so nothing could be promised."""


class TooManyStreams(Exception):
    """This process has as many as it may have."""


class FeedMetrics(Protocol):
    """What the feed tells telemetry."""

    def streams(self, count: int) -> None:
        """So many are open."""
        ...

    def stream_ended(self, why: Ending) -> None:
        """One that was open ended."""
        ...


class Silent:
    """Tells nobody."""

    def streams(self, count: int) -> None:
        """Nothing."""

    def stream_ended(self, why: Ending) -> None:
        """Nothing."""


class _Data(msgspec.Struct, frozen=True):
    """Of its data; `previous` null: the activity was opened."""

    previous: str | None = ""


class _Head(msgspec.Struct, frozen=True):
    """What is read of a change."""

    id: str
    type: str
    source: str
    time: str
    data: _Data


_SPLITS: Final = re.compile("[\\r\\n\\0]")
_HEAD: Final = msgspec.json.Decoder(_Head)


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A change as it was published; `time` (µs) is its own, `at` (monotonic seconds) when it came."""

    activity_id: str
    id: str
    partition: int
    time: int
    at: float
    frame: bytes
    opens: bool

    @property
    def value(self) -> bytes:
        """The CloudEvent."""
        return self.frame.partition(b"\ndata: ")[2].removesuffix(b"\n\n")

    @property
    def size(self) -> int:
        """Bytes that it costs."""
        return len(self.frame) + OVERHEAD


class Stream:
    """What waits for one client; with `fresh` it begins with a snapshot, which is to be read now."""

    def __init__(self, feed: Feed, activity_id: str) -> None:
        self._feed = feed
        self.activity_id = activity_id
        self.fresh = True
        self.ending: Ending | None = None
        self.opened = False
        """An opening has come since it began, so whose the activity is has to be looked up again."""
        self._frames: deque[bytes] = deque()
        self.waiting = 0
        self._news = asyncio.Event()
        self.ended = asyncio.Event()

    async def next(self, patience: float) -> bytes | None:
        """What has come, at least one change; empty if nothing came for so many seconds; None: it is over."""
        if not self._frames and self.ending is None:
            self._news.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._news.wait()
            except TimeoutError:
                return b""
        if self.ending is not None:
            return None
        taken = [self._frames.popleft()]
        size = len(taken[0])
        while self._frames and size + len(self._frames[0]) <= CHUNK:
            taken.append(self._frames.popleft())
            size += len(taken[-1])
        self._count(-size)
        return b"".join(taken)

    def push(self, frame: bytes, *, opens: bool = False) -> None:
        """One more, or its end where too much waits."""
        self.opened |= opens
        if self.ending is not None:
            return
        if self._frames and self.waiting + len(frame) > STREAM_MEMORY:
            self.end("slow")
            return
        self._frames.append(frame)
        self._count(len(frame))
        self._news.set()
        self._feed.make_room()

    def end(self, why: Ending) -> None:
        """No more; again: nothing."""
        if self.ending is not None:
            return
        self.ending = why
        self._frames.clear()
        self._count(-self.waiting)
        self._news.set()
        self.ended.set()
        self._feed.drop(self, why)

    def _count(self, bytes_: int) -> None:
        self.waiting += bytes_
        self._feed.waiting += bytes_


class Feed:
    """`services.kafka.tail.Reader`: takes changes, keeps the last hour's, tells the streams."""

    def __init__(
        self,
        clock: Clock,
        metrics: FeedMetrics | None = None,
        *,
        memory: int = MEMORY,
        streams: int = STREAMS,
    ) -> None:
        self._clock, self._memory, self._most = clock, memory, streams
        self._metrics: FeedMetrics = metrics or Silent()
        self._reading = self._draining = False
        self._kept: deque[Kept] = deque()
        self._by_activity: dict[str, dict[str, Kept]] = {}
        self._size = 0
        self._streams: dict[str, set[Stream]] = {}
        self._open = 0
        self.waiting = 0
        """Bytes that wait for clients."""

    def __len__(self) -> int:
        """Streams that are open."""
        return self._open

    def make_room(self) -> None:
        """Where too much waits for clients, all together, end the stream for which most does."""
        while self.waiting > self._memory:
            streams = [each for of_one in self._streams.values() for each in of_one]
            if not streams:
                return
            max(streams, key=lambda each: each.waiting).end("slow")

    def open(self, activity_id: str, last: str | None) -> Stream:
        """A stream of everything that is published after the change `last`, if that is one of the last hour's
        and nothing after it can be missing here; else `fresh`, of everything that is published from now on:
        a snapshot is to be read *after* this. Raises `NotReading` or `TooManyStreams`."""
        if not self._reading or self._draining:
            raise NotReading
        if self._open >= self._most:
            raise TooManyStreams
        self._forget()
        stream = Stream(self, activity_id)
        missed = self._after(activity_id, last) if last else None
        if missed is not None:
            stream.fresh = False
            for each in missed:
                stream.push(each.frame)
            if stream.ending:  # too much for one client: a snapshot says it shorter
                stream = Stream(self, activity_id)
        self._streams.setdefault(activity_id, set()).add(stream)
        self._open += 1
        self._metrics.streams(self._open)
        return stream

    def _after(self, activity_id: str, last: str) -> list[Kept] | None:
        """What came after `last`; None where that is not known, or the order is not to be trusted: a
        partition was added, or a change was published once more, so that others saw another order."""
        kept = self._by_activity.get(activity_id, {})
        if last not in kept:
            return None
        changes = list(kept.values())
        if any(a.partition != b.partition or a.time > b.time for a, b in pairwise(changes)):
            return None
        return changes[list(kept).index(last) + 1 :]

    def drop(self, stream: Stream, why: Ending) -> None:
        """Forget one that ended."""
        of_one = self._streams.get(stream.activity_id, set())
        if stream in of_one:
            self._open -= 1
            self._metrics.streams(self._open)
            self._metrics.stream_ended(why)
            of_one.remove(stream)
            if not of_one:
                del self._streams[stream.activity_id]

    def take(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """A record of the topic; what is none of our changes is passed over, and so is a repeat."""
        change = _read(partition, key, value, self._clock.monotonic())
        if change is None:
            LOG.warning(
                "a record of activity.changes is no change of ours", partition=partition, every=SELDOM
            )
            return
        kept = self._by_activity.setdefault(change.activity_id, {})
        if change.id in kept:
            return
        kept[change.id] = change
        self._kept.append(change)
        self._size += change.size
        self._forget()
        for stream in list(self._streams.get(change.activity_id, ())):
            stream.push(change.frame, opens=change.opens)

    def changes_of(self, activity_id: str, limit: int) -> list[bytes]:
        """The last changes of an activity that are kept here, as they were published, in that order."""
        self._forget()
        newest = islice(reversed(self._by_activity.get(activity_id, {}).values()), limit)
        return [each.value for each in newest][::-1]

    def begin(self) -> None:
        """From now on no change is missed, so streams may open."""
        self._reading = True

    def gap(self) -> None:
        """Changes were lost: every client begins anew, with a snapshot."""
        self._kept.clear()
        self._by_activity.clear()
        self._size = 0
        self._end_all("gap")

    def close(self) -> None:
        """End all streams; no more are opened."""
        self._draining = True
        self._end_all("drained")

    def _end_all(self, why: Ending) -> None:
        for stream in [each for of_one in self._streams.values() for each in of_one]:
            stream.end(why)

    def _forget(self) -> None:
        """Let go of what is too old or too much."""
        oldest = self._clock.monotonic() - KEEP
        while self._kept and (self._size > self._memory or self._kept[0].at < oldest):
            change = self._kept.popleft()
            self._size -= change.size
            kept = self._by_activity[change.activity_id]
            del kept[change.id]
            if not kept:
                del self._by_activity[change.activity_id]


def _read(partition: int, key: bytes | None, value: bytes | None, at: float) -> Kept | None:
    if not key or not value or b"\n" in value or b"\r" in value:
        return None
    try:
        head, activity_id = _HEAD.decode(value), key.decode()
        time = parse_rfc3339(head.time)
    except ValueError:  # msgspec's are
        return None
    if head.source != SOURCE or _SPLITS.search(head.id) or _SPLITS.search(head.type):
        return None
    frame = b"event: %b\nid: %b\ndata: %b\n\n" % (head.type.encode(), head.id.encode(), value)
    opens = head.type == ACTIVITY_CHANGED and head.data.previous is None
    return Kept(activity_id, head.id, partition, time, at, frame, opens)


def snapshot(body: bytes) -> bytes:
    """The frame of a snapshot: JSON in one line."""
    return b"event: snapshot\ndata: %b\n\n" % body


def last_event_id(headers: Mapping[str, str]) -> str | None:
    """What a client says it saw last: UTF-8, though a server reads headers as Latin-1."""
    said = headers.get("last-event-id", "")
    try:
        return said.encode("latin-1").decode() or None
    except UnicodeError:
        return said
