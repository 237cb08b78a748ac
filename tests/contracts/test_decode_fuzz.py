"""Whatever arrives, `decode` answers an event or a dead letter; it never raises."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decode import Dead, decode
from contracts.events import Event
from contracts.reading import plain
from tests.contracts.samples import DATA, event

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
NAMES = st.sampled_from([f"ce_{name}" for name in event("x")] + ["ce_time", "content-type"]) | st.text()
HEADERS = st.lists(
    st.tuples(
        NAMES,
        st.none() | st.binary() | st.sampled_from([b"1.0", b"2026-11-21T08:00:00Z", *map(str.encode, DATA)]),
    )
)
STRUCTURED = st.fixed_dictionaries({}, optional=dict.fromkeys([*event("x"), "data_base64"], JSON))


def answered(value: bytes | None, headers: list[tuple[str, bytes | None]]) -> Event | Dead:
    """What `decode` says, checked for what every answer promises."""
    read = decode(value, headers)
    assert isinstance(read, Event | Dead)
    for text in (read.source, read.id, read.activity_id):
        assert text is None or (0 < len(text) <= 128 and plain(text) and text.encode())
    if isinstance(read, Dead):
        assert 0 < len(read.error) <= 300
        assert read.error.isprintable()
        assert "unexpectedly" not in read.error, "an exception nobody foresaw"
    return read


@given(st.none() | st.binary(), HEADERS)
def test_any_bytes_with_any_headers(value, headers):
    answered(value, headers)


@given(JSON, HEADERS)
def test_any_json_with_any_headers(value, headers):
    answered(json.dumps(value).encode(), headers)


@given(STRUCTURED)
def test_any_attributes(attributes):
    answered(json.dumps(attributes).encode(), [])


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        inner = [path for key, item in value.items() for path in _paths(item, (*at, key))]
    if isinstance(value, list):
        inner = [path for key, item in enumerate(value) for path in _paths(item, (*at, key))]
    return [at, *inner] if at else inner


@settings(max_examples=500)
@given(st.data(), st.sampled_from(sorted(DATA)))
def test_a_good_event_with_one_thing_changed(draw, type_name):
    """An answer stays an answer; an error about data names a path inside data."""
    one = json.loads(json.dumps(event(type_name)))
    *above, last = draw.draw(st.sampled_from(_paths(one)))
    there = one
    for step in above:
        there = there[step]
    there[last] = draw.draw(JSON)
    value = json.dumps(one).encode()
    read = answered(value, [])
    if isinstance(read, Dead) and read.reason == "invalid":
        assert read.error.startswith("data")
    answered(value[: draw.draw(st.integers(0, len(value)))], [])


@given(st.sampled_from(sorted(DATA)), st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_a_good_event_with_bytes_overwritten(type_name, at, noise):
    value = json.dumps(event(type_name)).encode()
    answered(value[:at] + noise + value[at + len(noise) :], [])
