"""One trace from the producer's `traceparent` to the call: every hop's span, its parent and its links."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, format_trace_id

from contracts.nudge import Nudge
from contracts.records import Record
from contracts.topics import Topics
from contracts.tracing import Carried
from services.lifecycle.ingest import Ingest
from services.runtime.clock import RealClock
from services.tracing.export import provider
from services.tracing.spans import Spans, _read
from services.transactions.apply import Applied
from services.transactions.arrivals import read_arrival
from statemachine.card import DeliveryRules
from statemachine.model import Rules
from tests.dispatcher.world import LoopClock, World, in_virtual_time
from tests.lifecycle.support import Kicks, MemoryBus, completed, opened, record
from tests.verification.dict_store.store import MemoryStore

A, B = "a" * 32, "b" * 32
SPAN = "00f067aa0ba902b7"


def parent(trace: str, flags: str = "01") -> tuple[str, bytes]:
    """The header of a producer that traces."""
    return ("traceparent", f"00-{trace}-{SPAN}-{flags}".encode())


class Line:
    """An ingest and a dispatcher on one store; nudges go from one to the other as Kafka brings them."""

    def __init__(self, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        clock = LoopClock()
        made = provider("test", "test-1", SimpleSpanProcessor(self.exporter))
        self.spans = Spans(made, clock)
        self.world = World(MemoryStore(clock.wall, rules=DeliveryRules()), clock, **settings)
        self.world.traces = self.spans
        self.bus = MemoryBus()
        self.offset = 0
        self.ingest = Ingest(
            store=self.world.store,
            bus=self.bus,
            relay=Kicks(),
            clock=clock,
            chance=random.Random(1),
            topics=Topics(),
            rules=Rules(),
            traces=self.spans,
        )

    async def take(self, *said: tuple[bytes, Sequence[Any]]) -> None:
        """One batch: values with their headers."""
        records = []
        for value, headers in said:
            self.offset += 1
            records.append(record(self.offset, value, headers=headers))
        await self.ingest.take(records)

    def nudge(self) -> None:
        """Kafka brings the nudges to the dispatcher."""
        for name, headers in self.bus.headers.items():
            self.spans.heard(Nudge(name, self.bus.nudged[name]), headers)
        self.bus.headers.clear()
        self.bus.nudged.clear()
        for each in self.world.dispatchers:
            each.wake()

    def named(self, name: str) -> list[ReadableSpan]:
        """Finished spans, in order."""
        return [each for each in self.exporter.get_finished_spans() if each.name.startswith(name)]


def trace_of(span: ReadableSpan) -> str:
    return format_trace_id(span.context.trace_id)


def linked(span: ReadableSpan) -> list[int]:
    return [each.context.span_id for each in span.links]


def under(child: ReadableSpan, of: ReadableSpan) -> bool:
    """Whether one is the child of the other, in its trace."""
    return (
        child.parent is not None
        and child.parent.span_id == of.context.span_id
        and trace_of(child) == trace_of(of)
    )


@in_virtual_time()
async def test_one_trace_goes_from_the_producer_to_the_call() -> None:
    """Event, transaction, nudge, call: each the child of the one before, or linked both ways."""
    line = Line()
    async with line.world.running():
        await line.take((opened("a"), []))
        await line.take((completed("e-1", "a", "gp-1"), [parent(A)]))
        line.nudge()
        await line.world.settled("a")
    (event,), (nudge,), (call,) = line.named("process"), line.named("send"), line.named("setChatToolMsg")
    batch = line.named("take in events")[-1]
    assert [trace_of(each) for each in (event, nudge, call)] == [A, A, A]
    assert event.parent is not None
    assert event.parent.span_id == int(SPAN, 16)
    assert under(nudge, event)
    assert under(call, nudge)
    assert linked(event) == [batch.context.span_id]
    assert linked(batch) == [event.context.span_id]
    assert trace_of(batch) != A
    assert (event.attributes or {})["cloudevents.event_id"] == "e-1"
    about = call.attributes or {}
    assert (about["livecard.activity_id"], about["livecard.verdict"], about["livecard.members"]) == (
        "a",
        "ok",
        1,
    )
    assert [each.name for each in call.events] == ["nudged"]
    assert event.start_time <= event.end_time <= nudge.end_time <= call.end_time  # type: ignore[operator]  # None only of a span that goes on


@in_virtual_time()
async def test_events_of_one_card_are_linked_within_a_batch_and_across_batches() -> None:
    """Two in a batch, one in the next, one call for all: in the last one's trace, linked to the others."""
    line = Line()
    await line.take((opened("a"), []))
    await line.take(
        (completed("e-1", "a", "gp-1"), [parent(A)]),
        (completed("e-2", "a", "gp-2"), [parent(B)]),
    )
    line.nudge()
    await line.take((completed("e-3", "a", "gp-3"), [parent("c" * 32)]))
    line.nudge()
    async with line.world.running():
        await line.world.settled("a")
    first, second = line.named("send")
    (call,) = line.named("setChatToolMsg")
    events = line.named("process")
    assert linked(first) == [events[0].context.span_id]
    assert under(first, events[1])
    assert under(call, second)
    assert linked(call) == [first.context.span_id]
    assert (call.attributes or {})["livecard.members"] == 3


@in_virtual_time()
async def test_each_call_of_a_plan_and_each_try_is_in_the_trace_and_the_next_news_is_not() -> None:
    """Three members, one a call, the first one refused once; then a completion that nobody traces."""
    line = Line(members_per_call=1)
    replies = iter([-1])
    line.world.wechat.script = lambda _: next(replies, 0)
    async with line.world.running():
        await line.take((opened("a"), []))
        await line.take((completed("e-1", "a", "gp-1", "gp-2", "gp-3"), [parent(A)]))
        line.nudge()
        await line.world.settled("a")
        await line.take((completed("e-2", "a", "gp-4"), []))
        line.nudge()
        await line.world.settled("a")
    calls = line.named("setChatToolMsg")
    assert [trace_of(each) == A for each in calls] == [True, True, True, True, False]
    assert calls[0].status.status_code is StatusCode.ERROR
    assert calls[-1].parent is None


@in_virtual_time()
async def test_a_nudge_that_comes_during_the_call_still_finds_it() -> None:
    """The dispatcher's poll was faster than Kafka."""
    line = Line()
    line.world.wechat.latency = 5.0
    async with line.world.running():
        await line.take((opened("a"), []), (completed("e-1", "a", "gp-1"), [parent(A)]))
        await line.world.until(lambda: line.world.wechat.calls)
        line.nudge()
        await line.world.settled("a")
    (call,) = line.named("setChatToolMsg")
    assert trace_of(call) == A


@in_virtual_time()
async def test_who_is_not_sampled_is_not_traced_anywhere_on_the_line() -> None:
    line = Line()
    async with line.world.running():
        await line.take((opened("a"), []))
        await line.take((completed("e-1", "a", "gp-1"), [parent(A, flags="00")]))
        line.nudge()
        await line.world.settled("a")
    assert not line.named("process")
    assert not line.named("setChatToolMsg")


BROKEN = [b"", b"\xff", None, b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", b"ff-" + b"a" * 32, b"x" * 5000]


@pytest.mark.parametrize("text", BROKEN)
@in_virtual_time()
async def test_a_broken_header_is_ignored_and_its_event_counts(text: bytes | None) -> None:
    line = Line()
    async with line.world.running():
        await line.take((opened("a"), []))
        await line.take((completed("e-1", "a", "gp-1"), [("traceparent", text), ("tracestate", text)]))
        line.nudge()
        await line.world.settled("a")
    assert line.world.taken() == {"gp-1"}
    assert not line.named("process")
    assert not line.bus.headers


@in_virtual_time()
async def test_the_extension_in_the_event_does_where_there_is_no_header() -> None:
    line = Line()
    value = msgspec.json.decode(opened("a")) | {"traceparent": f"00-{B}-{SPAN}-01"}
    await line.take((msgspec.json.encode(value), []))
    (event,) = line.named("process")
    assert trace_of(event) == B


@in_virtual_time()
async def test_a_dead_letter_is_an_error_in_its_producers_trace() -> None:
    line = Line()
    await line.take((b"no event", [parent(A)]))
    (event,) = line.named("process")
    assert (trace_of(event), event.status.status_code, event.status.description) == (
        A,
        StatusCode.ERROR,
        "malformed",
    )


@given(traceparent=st.text(max_size=80), tracestate=st.text(max_size=80))
def test_whatever_a_header_says_it_is_read_or_ignored(traceparent: str, tracestate: str) -> None:
    _read([Carried(traceparent, tracestate)])
    assert len(_read([Carried(f"00-{A}-{SPAN}-01", tracestate)])) == 1


class Broken(TracerProvider):
    """Fails whatever is asked of it."""

    def get_tracer(self, *_: Any, **__: Any) -> Any:
        return self

    def start_span(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug in a span")


def test_a_failure_of_tracing_is_nobody_elses() -> None:
    spans = Spans(Broken(), RealClock())
    arrivals = [read_arrival(Record("t", 0, 1, None, opened("a"), (parent(A),)))]
    assert spans.taken(arrivals, Applied(), 0.1) == {}
