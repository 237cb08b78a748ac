"""A trace through the whole line: separate processes, Apache Kafka, PostgreSQL, and a collector."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contracts.topics import Topics
from tests.e2e.line import a_line, until
from tests.tracing.collector import Collector, a_collector

pytestmark = pytest.mark.slow
PARENT = "00f067aa0ba902b7"


def quick(collector: Collector) -> dict[str, str]:
    """The settings of a line that is traced."""
    return {
        "LIVECARD_TRACES": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


async def test_one_trace_through_every_process(
    kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path
) -> None:
    """By Kafka's header and by CloudEvents' extension; a broken header is ignored. The attempt's log line
    names the trace."""
    header, extension = "a" * 32, "b" * 32
    async with (
        a_collector() as collector,
        a_line(kafka, postgres_database, topic_prefix, tmp_path, **quick(collector)) as line,
    ):
        for name in ("c-1", "c-2", "c-3"):
            line.declare(name, ["gp-1"])
        _, dispatcher = await line.start("lifecycle", "dispatcher")
        await line.send(*(line.opened(name, ["gp-1"]) for name in ("c-1", "c-2", "c-3")))
        topic = Topics(line.prefix).events
        for name, parent in (("c-1", f"00-{header}-{PARENT}-01".encode()), ("c-2", b"00-broken\xff")):
            value = msgspec.json.encode(line.completed(name, "gp-1"))
            await line.producer.send_and_wait(
                topic, value, key=name.encode(), headers=[("traceparent", parent)]
            )
        await line.send(line.completed("c-3", "gp-1", traceparent=f"00-{extension}-{PARENT}-01"))
        await line.settled()
        await until(lambda: len(collector.named("setChatToolMsg")) == 3, "every call's span has come")
        log = dispatcher.log.read_text()
        assert [await service.terminate() for service in line.services] == [0, 0]
    for trace in (header, extension):
        spans = {span.name: span for span in collector.spans if span.trace_id.hex() == trace}
        event, nudge, call = (
            spans[name] for name in (f"process {topic}", "send card.nudges", "setChatToolMsg")
        )
        assert event.parent_span_id.hex() == PARENT
        assert nudge.parent_span_id == event.span_id
        assert call.parent_span_id == nudge.span_id
        assert collector.services[event.span_id] == "livecard-lifecycle"
        assert collector.services[call.span_id] == "livecard-dispatcher"
        batch = next(each for each in collector.spans if each.span_id == event.links[0].span_id)
        assert event.span_id in {link.span_id for link in batch.links}
        attempts = [msgspec.json.decode(text) for text in log.splitlines() if '"attempt"' in text]
        assert [each["verdict"] for each in attempts if each.get("trace_id") == trace] == ["ok"]
    assert len(collector.named("process")) == 2


async def test_a_collector_that_is_away_keeps_nobody_from_work(
    kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Its answer is not quoted; one line says that spans are lost, and the process leaves in time."""
    async with (
        a_collector() as collector,
        a_line(kafka, postgres_database, topic_prefix, tmp_path, **quick(collector)) as line,
    ):
        collector.status = 400
        line.declare("c-1", ["gp-1"])
        lifecycle, dispatcher = await line.start("lifecycle", "dispatcher")
        await line.send(line.opened("c-1", ["gp-1"]), line.completed("c-1", "gp-1"))
        await line.settled()
        await until(lambda: "spans are lost" in dispatcher.log.read_text(), "it is logged")
        assert [await service.terminate() for service in (lifecycle, dispatcher)] == [0, 0]
        logs = lifecycle.log.read_text() + dispatcher.log.read_text()
    assert line.card("c-1").posts == {"gp-1": 1}
    assert logs.count("spans are lost") <= 2
    assert "canary-answer" not in logs
