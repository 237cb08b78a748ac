"""A record keeps its bytes, headers and coordinates; a dead letter says why it died (design.md §4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.records import Record, dead_headers, decode_record, encode_record, strip_livecard_headers
from contracts.times import parse_rfc3339

AT = parse_rfc3339("2026-11-21T08:00:00Z")
BYTES = st.none() | st.binary()
NAME = st.text(st.characters(codec=None)) | st.binary().map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)


RECORDS = st.builds(
    Record,
    topic=st.text(),
    partition=st.integers(0, 2**31),
    offset=st.integers(0, 2**62),
    key=BYTES,
    value=BYTES,
    headers=st.lists(st.tuples(NAME, BYTES)).map(tuple),
)


@given(RECORDS)
def test_a_record_survives_the_store(record):
    text = encode_record(record)
    assert decode_record(text) == record
    assert decode_record(text.encode()) == record
    assert "\x00" not in text


@pytest.mark.parametrize("text", ["", "null", "{}", '{"topic": 1}'])
def test_what_is_not_a_record_raises_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 (the kind is the promise, the words are msgspec's)
        decode_record(text)


def test_a_dead_letter_keeps_the_headers_and_says_why_and_whence():
    headers = (
        ("traceparent", b"00"),
        ("livecard-reason", b"invalid"),
        ("null", None),
        ("traceparent", b"\xff"),
        ("livecard-later", b"x"),
    )
    record = Record("p.activity.events", 3, 42, b"966", b"{", headers)
    assert dead_headers(record, "malformed", "value: not JSON: 1–128", AT) == [
        ("traceparent", b"00"),
        ("null", None),
        ("traceparent", b"\xff"),
        ("livecard-reason", b"malformed"),
        ("livecard-error", "value: not JSON: 1–128".encode()),
        ("livecard-topic", b"p.activity.events"),
        ("livecard-partition", b"3"),
        ("livecard-offset", b"42"),
        ("livecard-time", b"2026-11-21T08:00:00Z"),
    ]


def test_replay_sends_back_the_producers_own_headers():
    record = Record("t", 0, 0, None, None, (("a", b"1"), ("b", None)))
    dead = dead_headers(record, "unprocessable", "broken \udcff text", AT)
    assert strip_livecard_headers(dead) == list(record.headers)
