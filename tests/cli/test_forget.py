"""`livecard forget` on Apache Kafka: the dead letters go on without the person, and what was done is told."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.topics import Topics
from services.kafka.bus import KafkaBus
from services.kafka.ports import Message
from services.store.open import migrate
from tests.cli.running import livecard
from tests.kafka.reading import settings_for, whole_topic

HEADERS = (("livecard-reason", b"invalid"), ("h", None))


async def test_dead_letters_are_written_anew_without_the_person(
    kafka: str, topic_prefix: str, sqlite_database: str
) -> None:
    """Others stay as they were, headers and all; run again there is nothing left to do."""
    settings = await settings_for(kafka, topic_prefix)
    await migrate(sqlite_database)
    bus, topic = KafkaBus(settings), Topics(topic_prefix).dead
    await bus.start()
    values = [b'{"members":["eve"]}', b'{"members":["eve","bob"]}', b"\xff {", b'{"members":["bob"]}']
    await bus.publish(topic, [Message(b"k", value, HEADERS) for value in values])
    await bus.stop()
    surroundings = {
        "LIVECARD_KAFKA": kafka,
        "LIVECARD_TOPIC_PREFIX": topic_prefix,
        "LIVECARD_DATABASE": sqlite_database,
    }

    async def letters() -> Sequence[bytes | None]:
        found = [each async for each in whole_topic(kafka, topic)]
        assert {tuple(each.headers) for each in found} == {HEADERS}
        return [each.value for each in found]

    assert await letters() == values
    code, printed = livecard("forget", "eve", "--why", "ticket 7", **surroundings)
    assert code == 0, printed
    assert "       1 dead letters, deleted" in printed
    assert "       1 dead letters, written anew without the person" in printed
    assert f"not reached: what is on {topic_prefix}activity.events" in printed
    assert await letters() == [b'{"members":["bob"]}', b"\xff {", b'{"members":["bob"]}']
    code, printed = livecard("forget", "eve", **surroundings)
    assert (code, "nothing names this person" in printed) == (0, True), printed


def test_a_reason_is_kept_so_it_is_not_a_letter(sqlite_database: str) -> None:
    code, printed = livecard("forget", "eve", "--why", "x" * 501, LIVECARD_DATABASE=sqlite_database)
    assert (code, "a reason has at most 500 characters; this one has 501" in printed) == (1, True), printed


def test_nobody_is_not_a_person(sqlite_database: str) -> None:
    """An empty name would be everybody who is not bound yet."""
    code, printed = livecard("forget", " ", LIVECARD_DATABASE=sqlite_database)
    assert (code, "the OPENID is empty" in printed) == (1, True), printed
