"""A producer in Python that has `contracts` writes what livecard reads, or is told at once why not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest

from contracts import examples, wire
from contracts.decode import decode
from contracts.events import CLOSED, OPENED, Completed, Event
from contracts.producing import WireData, encode_event
from contracts.reading import read_data
from contracts.times import parse_rfc3339

AT = datetime(2026, 11, 21, 16, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=8)))
ABOUT: dict[str, Any] = {"id": "e-1", "source": "/signup", "activity_id": "966_NGiq", "time": AT}


def test_an_event_is_a_record_with_its_key_its_value_and_its_content_type() -> None:
    made = encode_event(wire.CompletedData(members=("gp-bob",)), **ABOUT)
    read = decode(made.value, made.headers)
    assert isinstance(read, Event)
    assert (read.source, read.id, read.type) == ("/signup", "e-1", "livecard.participant.completed")
    assert (made.key, read.activity_id, read.data) == (b"966_NGiq", "966_NGiq", Completed(("gp-bob",)))
    assert read.time == parse_rfc3339("2026-11-21T08:00:00.25Z")


@pytest.mark.parametrize("type_name", wire.WIRE)
def test_every_type_is_written_as_it_is_read(type_name: str) -> None:
    given = examples.DATA[type_name]
    if type_name == OPENED:
        given = {**given, "room": wire.RoomData(**given["room"])}
    made = encode_event(wire.WIRE[type_name](**given), **ABOUT)  # type: ignore[arg-type] # any of the five
    read = decode(made.value, made.headers)
    assert isinstance(read, Event), read
    assert read.data == read_data(type_name, json.dumps(examples.DATA[type_name]).encode())


def test_a_producer_can_write_every_type() -> None:
    assert {*get_args(WireData)} == {*wire.WIRE.values()}


def test_what_may_be_left_out_is_left_out() -> None:
    made = encode_event(wire.ClosedData(), **ABOUT)
    read = decode(made.value, made.headers)
    assert isinstance(read, Event)
    assert read.type == CLOSED


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"id": ""}, "id: expected a string of 1–128 characters"),
        ({"source": "a\n"}, "source: expected a string of 1–128 characters"),
        ({"activity_id": "x" * 129}, "subject: expected a string of 1–128 characters"),
        ({"time": AT.replace(tzinfo=None)}, "time: expected a time in RFC 3339 with an offset"),
        ({"time": datetime(1999, 1, 1, tzinfo=UTC)}, "time: expected a time in RFC 3339"),
    ],
)
def test_an_illegal_attribute_is_told_at_once(changed: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        encode_event(wire.CompletedData(members=("gp-bob",)), **{**ABOUT, **changed})


def test_data_that_is_no_type_of_ours_is_told_with_those_that_are() -> None:
    with pytest.raises(TypeError, match=r"expected one of OpenedData, .*AddedData .*got dict"):
        encode_event({"members": ["gp-bob"]}, **ABOUT)  # type: ignore[arg-type] # as untyped code does


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (wire.CompletedData(), "data.members"),
        (wire.CompletedData(members=()), "data.members: expected an array of 1 to 500 strings"),
        (wire.RescheduledData(deadline="tomorrow"), "data.deadline: expected a time in RFC 3339"),
        (wire.ClosedData(note="x" * 4_001), "data.note"),
    ],
)
def test_illegal_data_is_told_in_the_words_of_its_dead_letter(data: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        encode_event(data, **ABOUT)
