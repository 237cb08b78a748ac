"""`livecard send` and a broker: what was sent is told, and which event was too large."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from rich.console import Console

from contracts.topics import MAX_EVENT_BYTES
from services.cli import send as sending
from services.cli.errors import CommandError
from services.kafka.admin import create_topics
from services.kafka.oversized import size
from services.kafka.ports import BusUnavailable, Message
from services.runtime.settings import Settings
from tests.cli.running import livecard


def completed(number: int, extra: str = "") -> str:
    """An event as a line; `extra` stands in a field that nobody reads."""
    data = {"members": [f"gp-{number}"]}
    event = {"type": "livecard.participant.completed", "subject": "a-1", "data": data, "extra": extra}
    return json.dumps(event)


def noise(bytes_: int) -> str:
    """Text that does not compress."""
    return random.Random(7).randbytes(bytes_ // 2).hex()


LINES = "\n".join([completed(1), completed(2), completed(3, noise(1_200_000)), completed(4)])


class Topic:
    """A bus whose topic takes so many bytes."""

    limit = MAX_EVENT_BYTES
    taken: list[Message]

    def __init__(self, *_: object, **__: object) -> None:
        Topic.taken = []

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def publish(self, topic: str, messages: list[Message]) -> None:
        """All of them, or none."""
        if max(map(size, messages)) > self.limit:
            raise BusUnavailable(f"no {topic}") from MessageSizeTooLargeError()
        Topic.taken += messages


async def attempt(path: Path) -> str:
    """Send; what the error says."""
    quiet = Console(quiet=True)
    with pytest.raises(CommandError) as caught:
        await sending.send(Settings(kafka="k:1"), quiet, quiet, path, check=False)
    return str(caught.value)


async def test_an_event_that_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its line and its size, with the name of the limit, and how many were sent."""
    monkeypatch.setattr(sending, "KafkaBus", Topic)
    path = tmp_path / "events.json"
    path.write_text(LINES)
    told = await attempt(path)
    assert told.startswith("line 3 is too large for activity.events: 120")
    assert "max.message.bytes (1048588" in told
    assert told.endswith("; 2 of 4 events were sent before")
    assert len(Topic.taken) == 2


async def test_a_topic_with_a_small_limit_is_told_with_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where events went together nobody knows which it was."""
    monkeypatch.setattr(sending, "KafkaBus", Topic)
    monkeypatch.setattr(Topic, "limit", 1_000)
    path = tmp_path / "events.json"
    path.write_text("\n".join([completed(1), completed(2, noise(2_000)), completed(3)]))
    told = await attempt(path)
    assert told.startswith("line 2, the largest up to line 3, is too large")
    assert told.endswith("; 0 of 3 events were sent before")


async def test_a_real_broker_says_so_too(kafka: str, topic_prefix: str) -> None:
    """Its refusal is known for what it is."""
    await create_topics(Settings(kafka=kafka, topic_prefix=topic_prefix))
    settings = {"LIVECARD_KAFKA": kafka, "LIVECARD_TOPIC_PREFIX": topic_prefix}
    code, printed = livecard("send", "-", stdin=LINES, **settings)
    assert code == 1
    assert f"line 3 is too large for {topic_prefix}activity.events: 120" in printed
    assert "2 of 4 events were sent before" in printed


@pytest.mark.parametrize("text", [completed(1), f"[{completed(1)}]"])
def test_a_mark_of_windows_editors_is_no_mistake(text: str) -> None:
    """They begin a UTF-8 file with one."""
    code, printed = livecard("send", "--check", "-", stdin=b"\xef\xbb\xbf" + text.encode())
    assert (code, "1 events are right" in printed) == (0, True), printed
