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


NO_FIELD = "no field of livecard.activity.opened"
OPENED = {"appid": "wx1", "template": "complete", "expires_at": "2099-01-01T00:00:00Z"}


def opened(**more: object) -> dict[str, object]:
    """An opening as a person writes it."""
    return {"type": "livecard.activity.opened", "subject": "a-1", "data": {**OPENED, **more}}


def moved(**data: object) -> dict[str, object]:
    """A reschedule as a person writes it."""
    return {"type": "livecard.activity.rescheduled", "subject": "a-1", "data": data}


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            opened(particpants=["gp-1"]),
            f"data.particpants is {NO_FIELD} and is ignored; data.participants is meant?",
        ),
        (
            opened(room={"opengid": "g", "openGid": "g"}),
            f"data.room.openGid is {NO_FIELD} and is ignored; data.room.opengid is meant?",
        ),
        (
            moved(deadline=None, Notice=60),
            "data.Notice is no field of livecard.activity.rescheduled and is ignored; data.notice is meant?",
        ),
        (
            moved(deadline=None, colour="red"),
            "data.colour is no field of livecard.activity.rescheduled and is ignored\n",
        ),
        (
            opened(expires_at="2020-01-01T00:00:00Z"),
            "data.expires_at is past (2020-01-01T00:00:00Z): livecard refuses the event as expired",
        ),
        (
            moved(deadline="2020-01-01T00:00:00Z"),
            "data.deadline is past (2020-01-01T00:00:00Z): the activity ends at once",
        ),
        (
            opened(deadline="2098-12-31T23:59:30Z", expires_at="2099-01-01T00:00:00Z"),
            "data.deadline is too late: the activity ends before, when its id is about to expire",
        ),
        (
            opened(choose="everyone", participants=["gp-1"]),
            "data.participants is ignored: data.choose is everyone",
        ),
    ],
)
def test_what_is_right_and_perhaps_not_meant_is_told(event: dict[str, object], told: str) -> None:
    """The event could be sent; the check says what would come of it."""
    code, printed = livecard("send", "--check", "-", stdin=json.dumps(event))
    assert code == 0, printed
    assert f"livecard: event 1: {told}" in printed
    assert "1 events are right, 1 things to look at; nothing was sent" in printed


def test_an_event_as_it_is_meant_is_told_nothing_about() -> None:
    """No advice where nothing is odd."""
    code, printed = livecard("send", "--check", "-", stdin=json.dumps([opened(), moved(deadline=None)]))
    assert (code, "2 events are right; nothing was sent" in printed) == (0, True), printed


def test_a_wrong_event_is_told_without_the_mode_that_send_chooses() -> None:
    """Whoever writes a file has no headers to look at."""
    code, printed = livecard("send", "--check", "-", stdin=json.dumps(moved(notice=60)))
    assert code == 1
    assert "event 1: invalid: data.deadline: expected a time in RFC 3339" in printed
    assert "mode" not in printed
