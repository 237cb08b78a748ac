"""Spans of what was done: of each traced event, its transaction, its nudge and the call to WeChat.

Every span is made after the fact, with the times it had. So nothing of OpenTelemetry runs around our own
work, and a nudge that overtakes nobody still finds its call (docs/operations.md, *Traces*).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contracts.events import Event
from contracts.nudge import Nudge
from contracts.tracing import TRACEPARENT, TRACESTATE, Carried, all_of_headers, carried, of_request
from contracts.wechat import Verdict
from services.kafka.ports import NO_HEADERS, Headers
from services.runtime.ports import SELDOM, Clock
from services.tracing.heard import Heard, HeardTraces
from services.tracing.ports import Asking
from services.transactions.apply import Applied
from services.transactions.arrivals import Arrival
from statemachine.step import Result

LOG = structlog.get_logger("livecard.tracing")

CLOSE_DEADLINE: Final = 3.0
"""Seconds for exporting what is left; a collector that is away keeps no process from leaving."""
NUDGES: Final = "card.nudges"
NOT_ASKED: Final[Asking | None] = None

P = ParamSpec("P")
R = TypeVar("R")


def _harmless(
    instead: R,
) -> Callable[[Callable[Concatenate[Spans, P], R]], Callable[Concatenate[Spans, P], R]]:
    """A trace is never worth the work that it is of: what fails is logged, and `instead` returned."""

    def decorate(method: Callable[Concatenate[Spans, P], R]) -> Callable[Concatenate[Spans, P], R]:
        @functools.wraps(method)
        def guarded(self: Spans, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return method(self, *args, **kwargs)
            except Exception:
                LOG.exception("a trace could not be made", every=SELDOM)
                return instead

        return guarded

    return decorate


class Spans:
    """`services.tracing.ports.Traces` by OpenTelemetry."""

    def __init__(self, provider: TracerProvider, clock: Clock) -> None:
        self._provider, self._clock = provider, clock
        self._tracer = provider.get_tracer("livecard")
        self._known = HeardTraces[SpanContext]()

    @_harmless(NO_HEADERS)
    def taken(self, arrivals: Sequence[Arrival], applied: Applied, seconds: float) -> Mapping[str, Headers]:
        """A span of the transaction in a trace of its own, one of each traced event in that event's trace,
        linked both ways; one of each nudge for an activity that has such an event."""
        ended = self._now()
        began = ended - round(seconds * 1e9)
        batch = self._tracer.start_span(
            "take in events", Context(), attributes=_of_batch(arrivals, applied), start_time=began
        )
        refused = {_place(letter.record): letter.reason for letter in applied.dead}
        by_activity: dict[str, list[SpanContext]] = {}
        for arrival in arrivals:
            contexts = _read(carried(arrival.record.value, arrival.record.headers))
            if not contexts:
                continue
            span = self._event(arrival, contexts, batch.get_span_context(), began)
            if (reason := refused.get(_place(arrival.record))) is not None:
                span.set_status(StatusCode.ERROR, reason)
            span.end(ended)
            batch.add_link(span.get_span_context())
            if isinstance(arrival.content, Event) and arrival.content.activity_id in applied.nudges:
                by_activity.setdefault(arrival.content.activity_id, []).append(span.get_span_context())
        batch.end(ended)
        return {
            name: self._nudge(name, applied.nudges[name], contexts, ended)
            for name, contexts in by_activity.items()
        }

    def _event(self, arrival: Arrival, contexts: Sequence[SpanContext], batch: SpanContext, at: int) -> Span:
        record, content = arrival.record, arrival.content
        about: dict[str, Any] = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        }
        if isinstance(content, Event):
            about |= {
                "cloudevents.event_id": content.id,
                "cloudevents.event_source": content.source,
                "cloudevents.event_type": content.type,
                "cloudevents.event_subject": content.activity_id,
                "livecard.activity_id": content.activity_id,
            }
        return self._tracer.start_span(
            f"process {record.topic}",
            _parent(contexts[0]),
            SpanKind.CONSUMER,
            about,
            [Link(each) for each in (batch, *contexts[1:])],
            start_time=at,
        )

    def _nudge(self, activity_id: str, revision: int, contexts: Sequence[SpanContext], at: int) -> Headers:
        """In the trace of the last event of the activity, linked to those before it."""
        span = self._tracer.start_span(
            f"send {NUDGES}",
            _parent(contexts[-1]),
            SpanKind.PRODUCER,
            {
                "messaging.system": "kafka",
                "messaging.operation.type": "send",
                "messaging.destination.name": NUDGES,
                "livecard.activity_id": activity_id,
                "livecard.revision": revision,
            },
            [Link(each) for each in contexts[:-1]],
            start_time=at,
        )
        span.end(at)
        return _headers(span)

    @_harmless(None)
    def heard(self, nudge: Nudge, headers: Headers) -> None:
        """Kept for the call that this nudge leads to."""
        now = self._now()
        for context in _read(all_of_headers(headers)):
            self._known.add(nudge.activity_id, Heard(nudge.revision, context, now))

    @_harmless("")
    def called(self, result: Result, seconds: float) -> str:
        """In the trace of the last nudge for a revision that the call covers, linked to the others'; what no
        traced event caused (a timer, a repair) begins a trace."""
        claimed, card = result.claimed, result.claimed.card
        found = self._known.of(card.activity_id, card.settled, card.revision)
        ended = self._now()
        span = self._tracer.start_span(
            "setChatToolMsg",
            _parent(found[-1].context) if found else Context(),
            SpanKind.CLIENT,
            {
                "livecard.activity_id": card.activity_id,
                "livecard.appid": card.appid,
                "livecard.revision": card.revision,
                "livecard.target_state": claimed.call.target_state,
                "livecard.members": len(claimed.call.members),
                "livecard.repair": claimed.repair,
                "livecard.verdict": "" if result.verdict is None else result.verdict.value,
                "livecard.sent": result.sent,
                "livecard.errcode": -1 if result.errcode is None else result.errcode,
                "livecard.rid": result.rid,
            },
            [Link(each.context) for each in found[:-1]],
            start_time=ended - round(seconds * 1e9),
        )
        for each in found:
            span.add_event("nudged", {"livecard.revision": each.revision}, each.at)
        if result.verdict is not None and result.verdict is not Verdict.ok:
            span.set_status(StatusCode.ERROR, result.verdict.value)
        span.end(ended)
        context = span.get_span_context()
        return format_trace_id(context.trace_id) if context.is_valid else ""

    @_harmless(NOT_ASKED)
    def asked(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Asking | None:
        """Under the span that the caller names; the caller's own context stays where ours is none."""
        given, at = list(headers), self._now()
        caller = of_request(given)
        found = _read([caller] if caller else [])
        span = self._tracer.start_span(
            method,
            _parent(found[0]) if found else Context(),
            SpanKind.SERVER,
            {"http.request.method": method},
            start_time=at,
        )
        ours = [(name.encode(), raw or b"") for name, raw in _headers(span)]
        kept = [(name, raw) for name, raw in given if name not in _CONTEXT] if ours else given
        return Asking([*kept, *ours], span, at)

    @_harmless(None)
    def answered(self, asking: Asking, route: str, status: int, seconds: float, activity_id: str) -> None:
        """Until the first byte of the answer: a stream has no end of interest."""
        span: Span = asking.span
        if route:
            span.update_name(route)
            span.set_attribute("http.route", route.partition(" ")[2])
        if activity_id:
            span.set_attribute("livecard.activity_id", activity_id)
        if status:
            span.set_attribute("http.response.status_code", status)
        if not status or status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(asking.at + round(seconds * 1e9) if status else self._now())

    def close(self) -> None:
        """Export what is left, as far as there is time."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(CLOSE_DEADLINE)

    def _now(self) -> int:
        return self._clock.wall() * 1_000


_W3C: Final = TraceContextTextMapPropagator()
_CONTEXT: Final = (TRACEPARENT.encode(), TRACESTATE.encode())


def _read(found: Sequence[Carried]) -> list[SpanContext]:
    """Those that are trace contexts; what is broken is ignored."""
    contexts = []
    for each in found:
        carrier = {TRACEPARENT: each.traceparent, TRACESTATE: each.tracestate}
        context = get_current_span(_W3C.extract(carrier, Context())).get_span_context()
        if context.is_valid:
            contexts.append(context)
    return contexts


def _headers(span: Span) -> Headers:
    """The context of this span, as it is carried on."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, set_span_in_context(span))
    return tuple((name, carrier[name].encode()) for name in (TRACEPARENT, TRACESTATE) if name in carrier)


def _parent(context: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(context), Context())


def _of_batch(arrivals: Sequence[Arrival], applied: Applied) -> dict[str, int]:
    about = {
        "messaging.batch.message_count": len(arrivals),
        "livecard.nudges": len(applied.nudges),
        "livecard.repeats": applied.repeats,
    }
    for (_, outcome), count in applied.outcomes.items():
        name = f"livecard.outcome.{outcome}"
        about[name] = about.get(name, 0) + count
    return about


def _place(record: Any) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset
