"""Every record becomes an event or a dead letter that its producer can act on (design.md §4)."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest

from contracts.decode import Dead, decode
from contracts.events import (
    ADDED,
    CLOSED,
    COMPLETED,
    OPENED,
    RESCHEDULED,
    Added,
    Closed,
    Completed,
    Event,
    Opened,
    Rescheduled,
    Room,
)
from contracts.times import HOUR, MINUTE, parse_rfc3339
from tests.contracts.refusals import ID, IN_BINARY, PLAIN, REFUSALS, TIME
from tests.contracts.samples import DATA, LEFT_OUT, OPENED_DATA, binary, event, value_of

EIGHT = parse_rfc3339("2026-11-21T08:00:00Z")
STRUCTURED = [("content-type", b"application/cloudevents+json")]

READ = {
    OPENED: Opened(
        appid="wx1",
        template="complete",
        title="团建报名统计",
        publisher="gp-cindy",
        room=Room(opengid="g-1"),
        participants=("gp-alex", "gp-bob"),
        deadline=EIGHT + 10 * HOUR,
        expires_at=EIGHT + 24 * HOUR,
    ),
    RESCHEDULED: Rescheduled(deadline=EIGHT + 11 * HOUR, notice=60),
    CLOSED: Closed(note="done"),
    COMPLETED: Completed(("gp-alex",)),
    ADDED: Added(("gp-dora",), ("o-eve",)),
}


@pytest.mark.parametrize(("type_name", "data"), READ.items())
def test_each_event_is_read_the_same_in_both_modes(type_name, data):
    expected = Event("/signup", "e-1", type_name, "966_NGiq", EIGHT, data)
    assert decode(value_of(type_name), STRUCTURED) == expected
    assert decode(json.dumps(DATA[type_name]).encode(), binary(type_name)) == expected
    assert hash(expected) == hash(decode(value_of(type_name)))


@pytest.mark.parametrize(
    ("more", "ignored"),
    [
        ({"particpants": ["a"]}, ("particpants",)),
        ({"room": {"opengid": "g", "opengId": "g"}, "Title": None}, ("Title", "room.opengId")),
        ({"a\x00\n": 1, "x" * 100: 1}, ("a\ufffd\ufffd", "x" * 64)),
        ({f"f{n}": n for n in range(30)}, tuple(f"f{n}" for n in range(10))),
        ({}, ()),
    ],
)
def test_the_fields_of_an_opening_that_do_not_exist_are_named_and_change_nothing_else(more, ignored):
    read = decode(value_of(OPENED, {**OPENED_DATA, **more}))
    assert isinstance(read, Event)
    assert read.data == msgspec.structs.replace(
        READ[OPENED], ignored=ignored, room=Room(opengid="g" if "room" in more else "g-1")
    )


def test_data_base64_holds_json_too():
    packed = base64.b64encode(b'{"members": ["gp-alex"]}').decode()
    assert decode(value_of(COMPLETED, LEFT_OUT, data_base64=packed)) == decode(value_of(COMPLETED))


@pytest.mark.parametrize(
    "name",
    [name for name in OPENED_DATA if name not in {"appid", "template", "expires_at"}],
)
def test_in_opened_null_equals_absent_in_every_optional_field(name):
    absent = decode(value_of(OPENED, {key: value for key, value in OPENED_DATA.items() if key != name}))
    assert isinstance(absent, Event)
    assert decode(value_of(OPENED, {**OPENED_DATA, name: None})) == absent


def test_the_defaults_of_opened_are_the_contracts():
    least = {name: OPENED_DATA[name] for name in ("appid", "template", "expires_at")}
    read = decode(value_of(OPENED, least))
    assert isinstance(read, Event)
    assert read.data == Opened(
        appid="wx1",
        template="complete",
        expires_at=EIGHT + 24 * HOUR,
        version="release",
        title="",
        publisher=None,
        room=None,
        choose="listed",
        participants=(),
        deadline=None,
        notice=3600,
        close_when_complete=False,
    )


@pytest.mark.parametrize(
    ("type_name", "data", "expected"),
    [
        (RESCHEDULED, {"deadline": None}, Rescheduled(deadline=None)),
        (RESCHEDULED, {"deadline": None, "notice": None}, Rescheduled(deadline=None)),
        (RESCHEDULED, {"deadline": "2026-11-21T08:01:00.0000019Z"}, Rescheduled(deadline=EIGHT + MINUTE + 1)),
        (RESCHEDULED, {"deadline": None, "notice": 0}, Rescheduled(deadline=None, notice=0)),
        (RESCHEDULED, {"deadline": None, "notice": 604_800.0}, Rescheduled(deadline=None, notice=604_800)),
        (CLOSED, {}, Closed()),
        (CLOSED, None, Closed()),
        (CLOSED, {"note": None}, Closed()),
        (CLOSED, {"note": "a\nb" + "x" * 3_997}, Closed(note="a\nb" + "x" * 3_997)),
        (COMPLETED, {"members": ["b", "a", "b"]}, Completed(("b", "a"))),
        (ADDED, {"members": ["b", "a", "b"]}, Added(("b", "a"))),
        (COMPLETED, {"members": ["a"] * 500}, Completed(("a",))),
        (COMPLETED, {"openids": ["o", "p", "o"]}, Completed((), ("o", "p"))),
        (ADDED, {"members": None, "openids": ["o"]}, Added((), ("o",))),
        (COMPLETED, {"members": ["a"] * 500, "openids": ["o"] * 500}, Completed(("a",), ("o",))),
        (
            COMPLETED,
            {"members": ["报" * 128, "\u3000", "👩‍👩‍👧"]},
            Completed(("报" * 128, "\u3000", "👩‍👩‍👧")),
        ),
        (COMPLETED, {"members": ["a"], "more": {"x": [1e5, None]}}, Completed(("a",))),
    ],
)
def test_legal_data_is_read(type_name, data, expected):
    read = decode(value_of(type_name, data))
    assert isinstance(read, Event)
    assert read.data == expected


def test_a_notice_of_zero_is_a_notice():
    read = decode(value_of(OPENED, {**OPENED_DATA, "notice": 0}))
    assert isinstance(read, Event)
    assert isinstance(read.data, Opened)
    assert read.data.notice == 0


def test_a_private_chat_is_a_room_too_and_participants_count_once():
    data = {
        **OPENED_DATA,
        "room": {"opengid": None, "open_single_roomid": "r"},
        "participants": ["b", "a", "b"],
    }
    read = decode(value_of(OPENED, data))
    assert isinstance(read, Event)
    assert isinstance(read.data, Opened)
    assert read.data.room == Room(open_single_roomid="r")
    assert read.data.participants == ("b", "a")


def test_a_closed_event_needs_no_data_in_either_mode():
    assert (
        decode(value_of(CLOSED, data=LEFT_OUT)) == decode(None, binary(CLOSED)) == decode(b"", binary(CLOSED))
    )
    assert isinstance(decode(None, binary(CLOSED)), Event)


def test_of_duplicate_keys_the_last_counts():
    value = value_of(COMPLETED).replace(b'"id": "e-1"', b'"id": "e-0", "id": "e-1"')
    assert decode(value) == decode(value_of(COMPLETED))


@pytest.mark.parametrize(("type_name", "data", "error"), REFUSALS)
def test_data_that_breaks_the_schema_is_invalid_and_says_where_and_what(type_name, data, error):
    value = value_of(type_name, data=data)
    dead = decode(value)
    assert isinstance(dead, Dead)
    assert (dead.reason, dead.source, dead.id, dead.activity_id) == ("invalid", "/signup", "e-1", "966_NGiq")
    assert dead.error.startswith(error)
    body = b"" if data is LEFT_OUT else json.dumps(data).encode()
    told = msgspec.structs.replace(dead, error=f"{dead.error}{IN_BINARY}")
    assert decode(body, binary(type_name)) == told


@pytest.mark.parametrize(
    ("attribute", "given", "error"),
    [
        ("specversion", LEFT_OUT, 'specversion: expected "1.0", got nothing'),
        ("specversion", "0.3", 'specversion: expected "1.0", got "0.3"'),
        ("specversion", 1.0, 'specversion: expected "1.0", got float'),
        ("id", LEFT_OUT, f"id: expected {ID}, got nothing"),
        ("id", None, f"id: expected {ID}, got null"),
        ("id", 7, f"id: expected {ID}, got int 7"),
        ("id", "", f"id: expected {ID}, got an empty string"),
        ("id", "x" * 129, f"id: expected {ID}, got a string of 129 characters"),
        ("id", "a\x00", f"id: expected {ID}, got a string with the control character U+0000 at 1"),
        ("source", LEFT_OUT, f"source: expected {ID}, got nothing"),
        ("source", "\r", f"source: expected {ID}, got a string with the control character U+000D at 0"),
        ("type", LEFT_OUT, "type: expected a non-empty string, got nothing"),
        ("type", "", "type: expected a non-empty string, got an empty string"),
        ("type", ["x"], "type: expected a non-empty string, got array of 1"),
        ("subject", LEFT_OUT, f"subject: expected {ID}, got nothing"),
        ("subject", {}, f"subject: expected {ID}, got object"),
        ("subject", "\x9f", f"subject: expected {ID}, got a string with the control character U+009F at 0"),
        ("time", LEFT_OUT, f"time: expected {TIME}, got nothing"),
        ("time", None, f"time: expected {TIME}, got null"),
        ("time", 1_795_248_000, f"time: expected {TIME}, got int 1795248000"),
        ("time", "2026-11-21T08:00:00", f'time: expected {TIME}, got "2026-11-21T08:00:00"'),
        ("time", "1999-01-01T00:00:00Z", f'time: expected {TIME}, got "1999-01-01T00:00:00Z"'),
        ("data_base64", 5, "data_base64: expected a string in base64, got int 5"),
        ("data_base64", "e30=", "data_base64: expected data or data_base64, got both"),
    ],
)
def test_a_missing_or_illegal_attribute_is_malformed_and_the_legal_ids_are_kept(attribute, given, error):
    dead = decode(value_of(COMPLETED, **{attribute: given}))
    assert dead == Dead(
        "malformed",
        f"{error}{PLAIN}no content-type)",
        None if attribute == "source" else "/signup",
        None if attribute == "id" else "e-1",
        None if attribute == "subject" else "966_NGiq",
    )


@pytest.mark.parametrize("attribute", ["specversion", "id", "source", "type", "subject", "time"])
@pytest.mark.parametrize(
    ("raw", "got"),
    [(None, "got null"), (b"\xff", "got something that is not UTF-8"), (b"", "got an empty string")],
)
def test_a_broken_or_null_ce_header_is_malformed(attribute, raw, got):
    dead = decode(b'{"members": ["a"]}', binary(COMPLETED, **{f"ce_{attribute}": raw}))
    assert isinstance(dead, Dead)
    assert dead.reason == "malformed"
    assert dead.error.startswith(f"header ce_{attribute}: expected ")
    assert f"{got} (read in binary mode, as it has a ce_specversion header; content-type" in dead.error


def test_a_missing_ce_header_is_malformed():
    headers = [header for header in binary(COMPLETED) if header[0] != "ce_subject"]
    assert decode(b'{"members": ["a"]}', headers) == Dead(
        "malformed",
        f"header ce_subject: expected {ID}, got nothing{IN_BINARY}",
        "/signup",
        "e-1",
        None,
    )


def test_broken_utf8_in_an_attribute_keeps_the_other_ids():
    dead = decode(value_of(COMPLETED).replace(b"e-1", b"\xff\xfe"))
    assert dead == Dead(
        "malformed",
        f"id: expected {ID}, got something that is not UTF-8{PLAIN}no content-type)",
        "/signup",
        None,
        "966_NGiq",
    )


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, "value: expected a JSON object, got null"),
        (b"", "value: not JSON: it is cut off"),
        (b"null", "value: expected a JSON object, got null"),
        (b"[1]", "value: expected a JSON object, got array of 1"),
        (b'"x"', 'value: expected a JSON object, got "x"'),
        (b"hello", "value: not JSON: invalid character"),
        (b"\xff\xfe", "value: not JSON: invalid character"),
        (b"\xef\xbb\xbf{}", "value: not JSON: invalid character"),
        (b"{} {}", "value: not JSON: trailing characters"),
        (b'{"specversion": NaN}', "value: not JSON: invalid character"),
        (b"{'a': 1}", "value: not JSON: object keys must be strings"),
        (b"{}", 'specversion: expected "1.0", got nothing'),
        (value_of(COMPLETED)[:-1], "value: not JSON: it is cut off"),
        (b'{"x":' + b"[" * 500_000, "value: nested too deeply"),
        (b'{"x":' + b'{"a":' * 200_000, "value: nested too deeply"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "value: nested too deeply"),
        (b"[" * 1_000_000, "value: expected a JSON object"),
        (b'"' + b"x" * 1_000_000 + b'"', "value: expected a JSON object, got a string of 1000000 characters"),
        (b"9" * 1_000_000, "value: expected a JSON object"),
    ],
)
def test_what_is_not_a_json_object_is_malformed(value, error):
    dead = decode(value)
    assert isinstance(dead, Dead)
    assert (dead.reason, dead.source, dead.id, dead.activity_id) == ("malformed", None, None, None)
    assert dead.error.startswith(error)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "data: not JSON"),
        (b'{"members": ["\\ud800"]}', "data: not JSON"),
        (b'{"members": ["\xff"]}', "data: not UTF-8"),
        (b'{"more": ' + b"[" * 500_000, "data: nested too deeply"),
        (b"Obj\x01\x04avro", "data: not JSON"),
    ],
)
def test_binary_data_that_is_not_json_is_malformed(body, error):
    dead = decode(body, binary(COMPLETED))
    assert isinstance(dead, Dead)
    assert (dead.reason, dead.source, dead.id, dead.activity_id) == (
        "malformed",
        "/signup",
        "e-1",
        "966_NGiq",
    )
    assert dead.error.startswith(error)


@pytest.mark.parametrize("packed", ["", "e30", "not base64!", "e30=\n", "报"])
def test_data_base64_that_is_none_is_malformed(packed):
    dead = decode(value_of(COMPLETED, data=LEFT_OUT, data_base64=packed))
    assert dead == Dead(
        "malformed",
        f"data_base64: expected base64 of a JSON object{PLAIN}no content-type)",
        "/signup",
        "e-1",
        "966_NGiq",
    )


@pytest.mark.parametrize(
    "type_name", ["com.example.other", "livecard.activity.changed", "LIVECARD.activity.opened"]
)
@pytest.mark.parametrize("body", [b"{}", b"", b"not json", b'{"x":' + b"[" * 500_000])
def test_a_type_that_is_not_ours_is_unknown_whatever_its_data(type_name, body):
    dead = decode(body, binary(type_name))
    assert isinstance(dead, Dead)
    assert (dead.reason, dead.source, dead.id, dead.activity_id) == (
        "unknown_type",
        "/signup",
        "e-1",
        "966_NGiq",
    )
    assert dead.error == (
        "type: expected one of livecard.activity.opened, livecard.activity.rescheduled, "
        "livecard.activity.closed, livecard.participant.completed, livecard.participant.added, "
        f'got "{type_name}"'
    )
    assert decode(value_of(type_name)) == dead


def test_unknown_fields_are_ignored_whatever_they_hold():
    assert decode(value_of(COMPLETED, huge=10**200, extension=[{}])) == decode(value_of(COMPLETED))
    with_broken = value_of(COMPLETED, extension="@").replace(b"@", b"\xff\xfe")
    assert decode(with_broken) == decode(value_of(COMPLETED))
    long_number = value_of(COMPLETED, number="@").replace(b'"@"', b"9" * 10_000)
    assert decode(long_number) == decode(value_of(COMPLETED))


def test_a_value_of_1_mb_is_read_or_explained_shortly():
    read = decode(value_of(COMPLETED, filler="x" * 1_000_000))
    assert isinstance(read, Event)
    dead = decode(value_of(COMPLETED, {"members": ["x" * 1_000_000]}))
    assert isinstance(dead, Dead)
    assert len(dead.error) <= 300


@pytest.mark.parametrize(
    "value",
    [
        value_of("secret" * 100_000),
        value_of(COMPLETED, specversion="secret" * 100_000),
        value_of(OPENED, {**OPENED_DATA, "template": "secret" * 100_000}),
        value_of(OPENED, {**OPENED_DATA, "deadline": "secret" * 100_000}),
        value_of(COMPLETED, {"members": {"secret" * 100_000: 1}}),
    ],
)
def test_an_error_never_carries_a_payload(value):
    dead = decode(value)
    assert isinstance(dead, Dead)
    assert len(dead.error) <= 300
    assert "secretsecret" not in dead.error


def test_an_error_is_printable():
    dead = decode(value_of("a\u202eb\u2028"))
    assert isinstance(dead, Dead)
    assert dead.error.isprintable()


def test_the_samples_are_events():
    assert set(event(OPENED)) == {"specversion", "id", "source", "type", "subject", "time", "data"}
