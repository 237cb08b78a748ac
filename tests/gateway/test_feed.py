"""The feed: who is told of which change, what is kept for how long, what ends a stream."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from contracts.changes import decode_change
from services.gateway import feed as feeds
from services.gateway.feed import Ending, Feed, NotReading, TooManyStreams, last_event_id
from tests.gateway.changes import NOW, change, ids, publish
from tests.wechat.conftest import HandClock


class Told:
    """What telemetry hears."""

    def __init__(self) -> None:
        self.open = 0
        self.ended: Counter[str] = Counter()

    def streams(self, count: int) -> None:
        self.open = count

    def stream_ended(self, why: Ending) -> None:
        self.ended[why] += 1


def reading(clock: HandClock | None = None, told: Told | None = None, **limits: int) -> Feed:
    """A feed that has caught up."""
    feed = Feed(clock or HandClock(), told, **limits)
    feed.begin()
    return feed


async def test_a_stream_has_the_changes_of_its_activity_as_they_were_published() -> None:
    feed = reading()
    stream = feed.open("a-1", None)
    assert stream.fresh
    publish(feed, 1)
    publish(feed, 2, activity="a-2")
    publish(feed, 3)
    frames = await stream.next(0)
    assert frames is not None
    first, second, rest = frames.split(b"\n\n")
    assert rest == b""
    assert ids(frames) == ["a-1:1", "a-1:3"]
    kind, id_, data = first.split(b"\n")
    assert (kind, id_) == (b"event: livecard.participant.done", b"id: a-1:1")
    assert data == b"data: " + change(1)
    assert decode_change(second.rpartition(b"data: ")[2]).id == "a-1:3"


async def test_nothing_for_a_while_is_empty_and_an_end_is_none() -> None:
    stream = reading().open("a-1", None)
    assert await stream.next(0.01) == b""
    stream.end("left")
    assert await stream.next(0.01) is None


async def test_a_stream_resumes_after_the_change_that_its_client_names() -> None:
    feed = reading()
    publish(feed, 1, 2, 3)
    stream = feed.open("a-1", "a-1:1")
    publish(feed, 4)
    assert not stream.fresh
    assert ids(await stream.next(0) or b"") == ["a-1:2", "a-1:3", "a-1:4"]
    assert await feed.open("a-1", "a-1:4").next(0) == b""


@pytest.mark.parametrize("last", [None, "", "a-1:9", "a-2:1"])
async def test_a_client_that_names_no_change_that_is_kept_begins_with_a_snapshot(last: str | None) -> None:
    feed = reading()
    publish(feed, 1)
    publish(feed, 1, activity="a-2")
    assert feed.open("a-1", last).fresh


async def test_a_change_is_kept_for_an_hour() -> None:
    clock = HandClock()
    feed = reading(clock)
    publish(feed, 1)
    clock.now += feeds.KEEP
    assert not feed.open("a-1", "a-1:1").fresh
    clock.now += 1
    assert feed.open("a-1", "a-1:1").fresh


async def test_what_is_kept_is_bounded_in_bytes() -> None:
    size = len(change(1)) + feeds.OVERHEAD
    feed = reading(memory=10 * size)
    publish(feed, *range(100))
    assert feed.open("a-1", "a-1:80").fresh
    assert not feed.open("a-1", "a-1:98").fresh
    assert feed._size <= 10 * size
    assert len(feed._kept) == sum(map(len, feed._by_activity.values())) < 10


async def test_a_repeat_is_told_once() -> None:
    feed = reading()
    stream = feed.open("a-1", None)
    publish(feed, 1, 2, 1)
    assert ids(await stream.next(0) or b"") == ["a-1:1", "a-1:2"]


async def test_an_order_that_is_not_vouched_for_is_not_resumed() -> None:
    """A partition was added meanwhile; or a change came again after later ones, here for the first time."""
    moved, repeated = reading(), reading()
    publish(moved, 1)
    publish(moved, 2, partition=7)
    publish(repeated, 2)
    publish(repeated, 1)
    assert moved.open("a-1", "a-1:1").fresh
    assert repeated.open("a-1", "a-1:1").fresh


async def test_changes_of_one_moment_are_resumed() -> None:
    feed = reading()
    publish(feed, 1, 2, 3, time=NOW)
    assert ids(await feed.open("a-1", "a-1:2").next(0) or b"") == ["a-1:3"]


async def test_a_client_that_does_not_read_is_cut_off_and_nobody_else() -> None:
    """It loses its place; what it did not read is let go of."""
    told = Told()
    feed = reading(told=told)
    slow, other = feed.open("a-1", None), feed.open("a-2", None)
    size = len(change(1))
    publish(feed, *range(feeds.STREAM_MEMORY // size + 2))
    publish(feed, 1, activity="a-2")
    assert slow.ending == "slow"
    assert await slow.next(0) is None
    assert ids(await other.next(0) or b"") == ["a-2:1"]
    assert (feed.waiting, len(feed), told.open, told.ended) == (0, 1, 1, Counter(slow=1))


async def test_what_waits_for_all_clients_together_is_bounded() -> None:
    feed = reading(memory=2_000)
    streams = [feed.open(f"a-{each}", None) for each in range(20)]
    for number in range(20):
        for each in range(20):
            publish(feed, number, activity=f"a-{each}")
    assert {stream.ending for stream in streams} == {"slow"}
    assert feed.waiting == 0


async def test_where_too_much_waits_for_all_the_one_that_reads_least_is_ended() -> None:
    """Not whoever happens to be told next."""
    feed = reading(memory=2_000)
    stalled, healthy = feed.open("a-1", None), feed.open("a-2", None)
    number = 0
    while feed.waiting + 2 * len(change(1)) < 2_000:
        publish(feed, number := number + 1)
    for each in range(1, 20):
        publish(feed, each, activity="a-2")
        if stalled.ending:
            break
    assert (stalled.ending, healthy.ending) == ("slow", None)


async def test_a_client_that_missed_more_than_may_wait_for_it_begins_with_a_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "STREAM_MEMORY", 2_000)
    feed = reading()
    publish(feed, *range(100))
    stream = feed.open("a-1", "a-1:0")
    assert (stream.fresh, stream.ending, feed.waiting) == (True, None, 0)
    publish(feed, 100)
    assert ids(await stream.next(0) or b"") == ["a-1:100"]


async def test_changes_that_were_lost_end_every_stream_and_nothing_is_resumed() -> None:
    told = Told()
    feed = reading(told=told)
    publish(feed, 1, 2)
    streams = [feed.open("a-1", None), feed.open("a-2", None)]
    feed.gap()
    assert [await stream.next(0) for stream in streams] == [None, None]
    assert feed.open("a-1", "a-1:1").fresh
    assert told.ended == Counter(gap=2)


async def test_a_drain_wakes_and_ends_every_stream_and_opens_none() -> None:
    feed = reading()
    waiting = asyncio.create_task(feed.open("a-1", None).next(3600))
    await asyncio.sleep(0)
    feed.close()
    assert await waiting is None
    with pytest.raises(NotReading):
        feed.open("a-1", None)


async def test_before_it_has_caught_up_nothing_is_promised() -> None:
    feed = Feed(HandClock())
    publish(feed, 1)
    with pytest.raises(NotReading):
        feed.open("a-1", None)
    feed.begin()
    assert not feed.open("a-1", "a-1:1").fresh


async def test_streams_are_counted_and_a_place_that_was_left_is_free() -> None:
    feed = reading(streams=2)
    first, _ = feed.open("a-1", None), feed.open("a-1", None)
    with pytest.raises(TooManyStreams):
        feed.open("a-1", None)
    first.end("left")
    first.end("left")
    feed.open("a-1", None)
    with pytest.raises(TooManyStreams):
        feed.open("a-1", None)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"\xff",
        change(1).replace(b"/livecard", b"/other"),
        change(1).replace(b"a-1:1", b"a\\n\\nevent: x"),
        change(1).replace(b'"time":"20', b'"time":"x'),
        change(1).replace(b",", b",\n"),
    ],
)
async def test_what_is_no_change_of_ours_is_passed_over(value: bytes | None) -> None:
    feed = reading()
    stream = feed.open("a-1", None)
    feed.take(0, b"a-1", value)
    feed.take(0, b"\xff", change(1))
    feed.take(0, None, change(1))
    assert await stream.next(0) == b""
    publish(feed, 1)
    assert ids(await stream.next(0) or b"") == ["a-1:1"]


@pytest.mark.parametrize("id_", ["a-1:1", "团建:1", "é:1", "a b:ÿ"])
def test_an_id_comes_back_whatever_its_letters(id_: str) -> None:
    """Browsers send it in UTF-8, servers read headers as Latin-1."""
    assert last_event_id({"last-event-id": id_.encode().decode("latin-1")}) == id_
    assert last_event_id({}) is None
