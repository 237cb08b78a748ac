"""In which mode a record is read, and that its producer is told (design.md §4)."""

from __future__ import annotations

import json

import pytest

from contracts.decode import Dead, decode
from contracts.events import COMPLETED, RESCHEDULED, Event
from tests.contracts.refusals import IN_BINARY, PLAIN
from tests.contracts.samples import DATA, binary, event, value_of

STRUCTURED = [("content-type", b"application/cloudevents+json")]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("content-type", None)],
        [("content-type", b"\xff")],
        [("content-type", b"application/json")],
        [("ce_id", b"another"), ("ce_type", b"x")],
        [("\udcff", b"x"), ("traceparent", None)],
    ],
)
def test_without_ce_specversion_every_record_is_structured_whatever_its_headers(headers):
    assert isinstance(decode(value_of(COMPLETED), headers), Event)


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/cloudevents+json",
        b"application/cloudevents",
        b" Application/CloudEvents+JSON; charset=utf-8",
        b"application/cloudevents+json;charset=\xff",
    ],
)
@pytest.mark.parametrize("name", ["content-type", "Content-Type"])
def test_a_content_type_of_cloudevents_means_structured_whatever_attributes_stand_beside_it(
    name, content_type
):
    beside = [header for header in binary(RESCHEDULED, ce_id=b"other") if header[0] != "content-type"]
    for headers in ([*beside, (name, content_type)], [(name, content_type), *beside]):
        assert decode(value_of(RESCHEDULED), headers) == decode(value_of(RESCHEDULED))
    assert decode(json.dumps(DATA[RESCHEDULED]).encode(), beside) != decode(value_of(RESCHEDULED))


@pytest.mark.parametrize("content_type", [None, b"", b"application/json", b"application/cloudevent", b"\xff"])
def test_a_ce_specversion_header_means_binary_with_any_other_content_type(content_type):
    headers = [*binary(COMPLETED), ("content-type", content_type)]
    assert decode(b'{"members": ["a"]}', headers) == decode(b'{"members": ["a"]}', binary(COMPLETED))


FRAMED = "it begins with a zero byte, as what serializers with a schema registry write"
UNDEFINED = "which CloudEvents does not define for Kafka"
BY_TYPE = " (read in structured mode, by its content-type; content-type "
IN_BATCH = " (read in batch mode, by its content-type; content-type application/cloudevents-batch"


@pytest.mark.parametrize(
    ("value", "headers", "error"),
    [
        (
            b'{"members": ["a"]}',
            [each for each in binary(COMPLETED) if each[0] != "ce_specversion"],
            f'specversion: expected "1.0", got nothing{PLAIN}content-type application/json)',
        ),
        (b"{}", [], f'specversion: expected "1.0", got nothing{PLAIN}no content-type)'),
        (
            b"Obj\x01\x04avro",
            [("content-type", b"avro/binary")],
            f"value: not JSON: invalid character (byte 0){PLAIN}content-type avro/binary)",
        ),
        (
            b"\0\0\0\0\7{}",
            [("content-type", b"application/x-protobuf")],
            f"value: not JSON: {FRAMED}{PLAIN}content-type application/x-protobuf)",
        ),
        (
            b"\x0a\x03e-1",
            [("content-type", b"application/cloudevents+protobuf")],
            f"value: not JSON: invalid character (byte 1){BY_TYPE}application/cloudevents+protobuf)",
        ),
        (
            json.dumps([event(COMPLETED)]).encode(),
            [*binary(COMPLETED), ("content-type", b"application/cloudevents-batch+json")],
            f"value: expected one event, got a batch, {UNDEFINED}{IN_BATCH}+json)",
        ),
        (
            b"Obj\x01",
            [*binary(COMPLETED), ("content-type", b"application/avro" + b"x" * 200)],
            f"data: not JSON: invalid character (byte 0){IN_BINARY.removesuffix('/json)')}/avro{'x' * 64})",
        ),
    ],
)
def test_an_unreadable_record_is_told_with_its_mode_why_and_the_content_type(value, headers, error):
    dead = decode(value, headers)
    assert isinstance(dead, Dead)
    assert (dead.reason, dead.error) == ("malformed", error)


def test_the_mode_is_told_for_invalid_data_only_where_it_could_be_the_wrong_one():
    whole = decode(value_of(COMPLETED), binary(COMPLETED))
    assert isinstance(whole, Dead)
    assert whole.error == (
        "data.members: expected an array of 1 to 500 strings, here or in openids, got nothing, "
        f"but unknown fields: specversion, id, source, type, subject, time, data{IN_BINARY}"
    )
    wrong = decode(value_of(COMPLETED, {"members": 1}), STRUCTURED)
    assert isinstance(wrong, Dead)
    assert wrong.error == "data.members: expected an array of 1 to 500 strings, got int 1"


@pytest.mark.parametrize(
    ("made", "path", "what"),
    [
        (value_of(COMPLETED, '{"members": ["a"]}'), "data", "an object"),
        (value_of(COMPLETED, {"members": '["a"]'}), "data.members", "an array of 1 to 500 strings"),
        (json.dumps(value_of(COMPLETED).decode()).encode(), "value", "a JSON object"),
    ],
)
def test_json_inside_a_string_is_told_as_such(made, path, what):
    dead = decode(made)
    assert isinstance(dead, Dead)
    assert dead.error.startswith(
        f"{path}: expected {what}, got a string that holds JSON: write that without the quotes around it"
    )


def test_a_long_error_keeps_its_mode():
    dead = decode(value_of(COMPLETED, specversion="\u202e" * 60))
    assert isinstance(dead, Dead)
    assert dead.error.endswith("no content-type)")
    unknown = decode(
        json.dumps({f"a field with a long name {n}": n for n in range(99)}).encode(), binary(COMPLETED)
    )
    assert isinstance(unknown, Dead)
    assert len(unknown.error) == 300
    assert unknown.error.endswith(
        "… (read in binary mode, as it has a ce_specversion header; content-type application/json)"
    )


def test_of_a_repeated_header_the_last_counts():
    read = decode(b'{"members": ["a"]}', [("ce_id", None), *binary(COMPLETED), ("ce_id", b"last")])
    assert isinstance(read, Event)
    assert read.id == "last"


def test_headers_are_utf8_and_not_percent_decoded():
    read = decode(b'{"members": ["a"]}', binary(COMPLETED, ce_id="报名%20".encode()))
    assert isinstance(read, Event)
    assert read.id == "报名%20"
