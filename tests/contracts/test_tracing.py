"""What a record carries of its trace: the header of its last hop, and CloudEvents' extension."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.tracing import LONGEST, Carried, all_of_headers, carried

HOP = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
START = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
BINARY = ("ce_specversion", b"1.0")


def value(**attributes: Any) -> bytes:
    return json.dumps({"specversion": "1.0", "data": {}, **attributes}).encode()


def test_the_last_hop_comes_before_the_beginning() -> None:
    headers = [("traceparent", HOP.encode()), ("tracestate", b"a=1")]
    assert carried(value(traceparent=START), headers) == (Carried(HOP, "a=1"), Carried(START))


def test_one_that_is_named_twice_counts_once() -> None:
    assert carried(value(traceparent=HOP), [("traceparent", HOP.encode())]) == (Carried(HOP),)


def test_binary_mode_has_the_extension_in_its_headers_and_its_value_is_no_envelope() -> None:
    headers = [BINARY, ("ce_traceparent", START.encode()), ("ce_tracestate", b"b=2")]
    assert carried(value(traceparent=HOP), headers) == (Carried(START, "b=2"),)
    assert carried(value(traceparent=HOP), [BINARY]) == ()


def test_of_a_repeated_header_the_last_counts() -> None:
    assert carried(None, [("traceparent", START.encode()), ("traceparent", HOP.encode())]) == (Carried(HOP),)


@pytest.mark.parametrize(
    ("record", "headers"),
    [
        (None, []),
        (b"no JSON, but traceparent", []),
        (b'{"traceparent": ', []),
        (b"[" * 100_000 + b'"traceparent"', []),
        (value(traceparent=7), []),
        (value(traceparent={"traceparent": HOP}), []),
        (value(traceparent=""), []),
        (value(traceparent="0" * (LONGEST + 1)), []),
        (value(), [("traceparent", None)]),
        (value(), [("traceparent", b"\xff")]),
        (value(), [("Traceparent", HOP.encode())]),
        (value(), [("tracestate", b"a=1")]),
    ],
)
def test_what_cannot_be_one_is_none(record: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    assert carried(record, headers) == ()


def test_a_broken_tracestate_leaves_the_trace() -> None:
    for broken in (b"\xff", None, b"x" * (LONGEST + 1)):
        assert carried(None, [("traceparent", HOP.encode()), ("tracestate", broken)]) == (Carried(HOP),)


def test_a_nudge_that_stands_for_several_names_each() -> None:
    headers = [
        ("tracestate", b"nobody's"),
        ("traceparent", START.encode()),
        ("traceparent", HOP.encode()),
        ("tracestate", b"a=1"),
        ("traceparent", b"\xff"),
    ]
    assert all_of_headers(headers) == (Carried(START), Carried(HOP, "a=1"))


NAMES = st.sampled_from(
    ["traceparent", "tracestate", "ce_traceparent", "ce_specversion", "content-type", "x"]
)
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=80)), max_size=6)


@given(value=st.none() | st.binary(max_size=200), headers=HEADERS)
def test_nothing_that_is_written_there_raises(
    value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    carried(value, headers)
    all_of_headers(headers)
