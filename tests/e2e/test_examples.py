"""The examples of our formats are really sent, in both modes, to `livecard up`; what it publishes keeps to
its schemas."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from jsonschema import Draft202012Validator

from contracts import changes, examples, schemas
from contracts.events import ADDED, CLOSED, COMPLETED, OPENED, RESCHEDULED
from contracts.times import SECOND, format_rfc3339, parse_rfc3339
from contracts.topics import Topics
from scripts.patience import PATIENCE
from tests.e2e.up import up

pytestmark = pytest.mark.slow

ORDER: Final = (OPENED, ADDED, COMPLETED, RESCHEDULED, CLOSED)
"""In which all five are applied."""
MODES: Final = ("structured", "binary")
Sent = tuple[str, dict[str, str], Any]
"""Key, headers and value of a record."""


def moved(value: Any, by: int) -> Any:
    """The same with each of its times so many µs later."""
    if isinstance(value, dict):
        return {name: moved(each, by) for name, each in value.items()}
    if isinstance(value, list):
        return [moved(each, by) for each in value]
    try:
        return format_rfc3339(parse_rfc3339(value) + by)
    except (TypeError, ValueError):
        return value


def records(mode: str, by: int) -> list[Sent]:
    """The examples as if of today, each mode with an activity of its own; last, who is not listed."""
    eve = {**examples.structured(COMPLETED), "id": "e-9", "data": {"members": ["gp-eve"]}}
    sent: list[Sent] = []
    for event in [examples.structured(name) for name in ORDER] + [eve]:
        headers, value = {"content-type": changes.CONTENT_TYPE}, event
        event |= {"subject": mode, "source": f"/{mode}"}
        if mode == "binary":
            headers, value = examples.binary(event["type"])
            headers |= {"ce_subject": mode, "ce_source": f"/{mode}", "ce_id": event["id"]}
            value = event["data"]
        sent.append((mode, moved(headers, by), moved(value, by)))
    return sent


async def publish(kafka: str, sent: list[Sent]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.split(","))
    await producer.start()
    try:
        for key, headers, value in sent:
            given = [(name, text.encode()) for name, text in headers.items()]
            body = json.dumps(value).encode()
            await producer.send_and_wait(Topics().events, body, key=key.encode(), headers=given)
    finally:
        await producer.stop()


async def told(kafka: str) -> list[dict[str, Any]]:
    """The changes until both cards show their end and both refusals are told."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.split(","), auto_offset_reset="earliest")
    await consumer.start()
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(PATIENCE):
            places = await consumer._client._wait_on_metadata(Topics().changes)
            consumer.assign([TopicPartition(Topics().changes, place) for place in places])
            while not all(_over(found, mode) for mode in MODES):
                for part in (await consumer.getmany(timeout_ms=200)).values():
                    found += [json.loads(record.value) for record in part]
    finally:
        await consumer.stop()
    return found


def _over(found: list[dict[str, Any]], mode: str) -> bool:
    own = [each for each in found if each["subject"] == mode]
    shown = [each["data"]["target_state"] for each in own if each["type"] == changes.CARD_DELIVERED]
    return 3 in shown and any(each["type"] == changes.EVENT_REFUSED for each in own)


async def test_every_example_is_applied_and_every_change_keeps_to_its_schema(tmp_path: Path) -> None:
    now = int(datetime.now(UTC).timestamp()) * SECOND
    by = now - parse_rfc3339(examples.structured(OPENED)["time"])
    async with up(tmp_path) as running:
        for mode in MODES:
            await publish(running.kafka, records(mode, by))
        found = await told(running.kafka)
    for each in found:
        Draft202012Validator(schemas.json_schema(each["type"])).validate(each)
    for mode in MODES:
        own = [each for each in found if each["subject"] == mode]
        refused = [each["data"] for each in own if each["type"] == changes.EVENT_REFUSED]
        assert [each["event"]["id"] for each in refused] == ["e-9"]
        done = [each["data"]["members"] for each in own if each["type"] == changes.PARTICIPANT_DONE]
        assert sorted(chain(*done)) == ["gp-alex", "gp-bob"]
        moves = [each["data"] for each in own if each["type"] == changes.ACTIVITY_CHANGED]
        assert (moves[0]["reason"], moves[-1]["reason"], moves[-1]["participants"]) == ("opened", "closed", 3)
