"""A nudge survives the wire, and garbage is nobody's nudge."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.nudge import Nudge, decode_nudge, encode_nudge


def test_a_nudge_is_the_activity_and_its_revision():
    assert json.loads(encode_nudge(Nudge("966_NGiq", 3))) == {"activity_id": "966_NGiq", "revision": 3}


@given(st.text(), st.integers(0, 2**62))
def test_a_nudge_survives_the_wire(activity_id, revision):
    assert decode_nudge(encode_nudge(Nudge(activity_id, revision))) == Nudge(activity_id, revision)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"null",
        b"{}",
        b'{"activity_id": 1, "revision": 1}',
        b'{"activity_id": "a", "revision": 1e99}',
        b'{"activity_id": "\xff", "revision": 1}',
        b'{"x":' + b"[" * 300_000,
    ],
)
def test_garbage_is_none(value):
    assert decode_nudge(value) is None


@given(st.binary())
def test_any_bytes_are_a_nudge_or_none(value):
    assert decode_nudge(value) is None
