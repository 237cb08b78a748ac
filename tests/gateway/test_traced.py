"""A caller's trace goes on in the events of its request; where traces are on, under a span of ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id
from structlog.testing import capture_logs

from contracts.tracing import Carried, carried
from services.gateway.front import Front
from services.runtime.clock import RealClock
from services.store.rows import EVENTS
from services.tracing.export import provider
from services.tracing.spans import Spans
from tests.gateway.world import World
from tests.tracing.test_spans import Broken

TRACE, SPAN = "a" * 32, "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
COMPLETE, CREATE = "/v1/activities/a-1/complete", "/v1/activities"
BODIES: dict[str, Any] = {
    COMPLETE: {"members": ["gp-alex"]},
    CREATE: {
        "appid": "wx1",
        "template": "complete",
        "activity_id": "a-2",
        "expires_at": "2099-01-01T00:00:00Z",
        "participants": ["gp-alex"],
    },
}


async def sent(world: World, path: str, headers: Any) -> tuple[Carried, ...]:
    """What the event carries that this request made."""
    if path == COMPLETE:
        await world.scene.open("a-1")
    answer = await world.api.post(path, json=BODIES[path], headers=headers)
    assert answer.is_success, answer.text
    (row,) = [row for row in await world.scene.outbox() if row.topic == EVENTS]
    return carried(row.body.encode(), [])


def traced(world: World, made: TracerProvider) -> None:
    """From now on, traces are on."""
    world.front = Front(world.app, replace(world.gateway, traces=Spans(made, RealClock())))
    world.api = world.client("lck_all-of-wx1")


@pytest.fixture
def spans(world: World) -> InMemorySpanExporter:
    """Where the spans of a traced gateway go."""
    exporter = InMemorySpanExporter()
    traced(world, provider("gateway", "gateway-1", SimpleSpanProcessor(exporter)))
    return exporter


def named(span: ReadableSpan) -> str:
    return f"00-{format_trace_id(span.context.trace_id)}-{format_span_id(span.context.span_id)}-01"


@pytest.mark.parametrize("path", [COMPLETE, CREATE])
async def test_off_what_the_caller_says_is_passed_on(world: World, path: str) -> None:
    found = await sent(world, path, {"traceparent": PARENT, "tracestate": "a=1,b=2"})
    assert found == (Carried(PARENT, "a=1,b=2"),)


@pytest.mark.parametrize("said", ["", "x", PARENT.upper(), f"ff{PARENT[2:]}", PARENT + "x" * 3000])
async def test_off_what_is_no_trace_context_is_left_out(world: World, said: str) -> None:
    assert await sent(world, COMPLETE, {"traceparent": said, "tracestate": "a=1"}) == ()


@pytest.mark.parametrize("path", [COMPLETE, CREATE])
async def test_on_the_request_is_a_span_between_the_caller_and_its_event(
    world: World, spans: InMemorySpanExporter, path: str
) -> None:
    found = await sent(world, path, {"traceparent": PARENT, "tracestate": "a=1"})
    (span,) = spans.get_finished_spans()
    assert found == (Carried(named(span), "a=1"),)
    assert span.parent is not None
    assert (format_trace_id(span.context.trace_id), format_span_id(span.parent.span_id)) == (TRACE, SPAN)
    route = path.replace("a-1", "{activity_id}")
    assert (span.name, span.kind) == (f"POST {route}", SpanKind.SERVER)
    about = dict(span.attributes or {})
    assert about.pop("livecard.activity_id", None) == ("a-1" if path == COMPLETE else None)
    assert about == {
        "http.request.method": "POST",
        "http.route": route,
        "http.response.status_code": 202 if path == COMPLETE else 201,
    }


async def test_on_a_request_without_a_trace_begins_one(world: World, spans: InMemorySpanExporter) -> None:
    (found,) = await sent(world, COMPLETE, {"traceparent": "broken"})
    (span,) = spans.get_finished_spans()
    assert (found.traceparent[:-2], span.parent) == (named(span)[:-2], None)  # the flags may say more


async def test_on_whom_the_caller_does_not_sample_is_not_sampled(
    world: World, spans: InMemorySpanExporter
) -> None:
    (found,) = await sent(world, COMPLETE, {"traceparent": PARENT[:-1] + "0"})
    assert (found.traceparent[:36], found.traceparent[-2:]) == (PARENT[:36], "00")
    assert spans.get_finished_spans() == ()


async def test_on_a_refusal_is_no_error_and_a_failure_is_one(
    world: World, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of a query or a header is told; the log line of the failure names the activity."""
    await world.api.get("/v1/activities/nobody", params={"canary": "canary"})

    async def fails(*_: Any) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(type(world.gateway.store), "show", fails)
    with capture_logs() as told:
        await world.api.get("/v1/activities/a-1")
    assert [line["activity_id"] for line in told] == ["a-1"]
    refused, failed = spans.get_finished_spans()
    assert (refused.status.status_code, failed.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
    assert (failed.attributes or {})["http.response.status_code"] == 500
    assert "canary" not in refused.to_json() + failed.to_json()


async def test_a_failure_of_tracing_is_nobody_elses(world: World) -> None:
    """The request is answered, and the caller's trace goes on."""
    traced(world, Broken())
    assert await sent(world, COMPLETE, {"traceparent": PARENT}) == (Carried(PARENT),)
