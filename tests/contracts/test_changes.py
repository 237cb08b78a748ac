"""What livecard publishes, as it stands on the wire (design.md §4)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.changes import (
    CHANGE_TYPES,
    ActivityChanged,
    CardDelivered,
    CardExpiring,
    CardFailed,
    Change,
    EventRef,
    EventRefused,
    ParticipantDone,
    decode_change,
    encode_change,
)
from contracts.times import EARLIEST, LATEST, parse_rfc3339

AT = parse_rfc3339("2026-11-21T08:00:00.25Z")
REF = EventRef("/signup", "e-1", "livecard.participant.completed")
FAILED = CardFailed(revision=2, verdict="rejected", errcode=47502, errmsg="bad rid: 1", rid="1")
CASES = [
    (
        ActivityChanged(state="open", previous=None, reason="opened", revision=1, done=0, participants=None),
        "livecard.activity.changed",
        {
            "state": "open",
            "previous": None,
            "reason": "opened",
            "revision": 1,
            "done": 0,
            "participants": None,
            "warnings": [],
        },
    ),
    (
        ActivityChanged(
            state="ended",
            previous="nearing",
            reason="complete",
            revision=4,
            done=2,
            participants=2,
            warnings=("clamped",),
        ),
        "livecard.activity.changed",
        {
            "state": "ended",
            "previous": "nearing",
            "reason": "complete",
            "revision": 4,
            "done": 2,
            "participants": 2,
            "warnings": ["clamped"],
        },
    ),
    (ParticipantDone(("a", "b")), "livecard.participant.done", {"members": ["a", "b"]}),
    (
        CardDelivered(revision=3, target_state=2, members=("a",), calls=1),
        "livecard.card.delivered",
        {"revision": 3, "target_state": 2, "members": ["a"], "calls": 1},
    ),
    (
        FAILED,
        "livecard.card.failed",
        {"revision": 2, "verdict": "rejected", "errcode": 47502, "errmsg": "bad rid: 1", "rid": "1"},
    ),
    (
        CardFailed(revision=2, verdict="unknown_code", errcode=None, errmsg=None, rid=None, members=("a",)),
        "livecard.card.failed",
        {
            "revision": 2,
            "verdict": "unknown_code",
            "errcode": None,
            "errmsg": None,
            "rid": None,
            "members": ["a"],
        },
    ),
    (
        CardExpiring("2026-11-22T08:00:00Z"),
        "livecard.card.expiring",
        {"expires_at": "2026-11-22T08:00:00Z"},
    ),
    (
        EventRefused(event=REF, reason="ended"),
        "livecard.event.refused",
        {"event": {"source": "/signup", "id": "e-1", "type": REF.type}, "reason": "ended"},
    ),
    (
        EventRefused(event=REF, reason="not_listed", members=("x",)),
        "livecard.event.refused",
        {
            "event": {"source": "/signup", "id": "e-1", "type": REF.type},
            "reason": "not_listed",
            "members": ["x"],
        },
    ),
]


@pytest.mark.parametrize(("data", "type_name", "body"), CASES)
def test_a_change_is_a_structured_cloudevent(data, type_name, body):
    value = encode_change("c-1", "966_NGiq", AT, data)
    assert json.loads(value) == {
        "specversion": "1.0",
        "id": "c-1",
        "source": "/livecard",
        "type": type_name,
        "subject": "966_NGiq",
        "time": "2026-11-21T08:00:00.25Z",
        "datacontenttype": "application/json",
        "data": body,
    }
    assert decode_change(value) == Change("c-1", "966_NGiq", AT, data)


def test_every_kind_of_change_is_tried_above():
    assert {type(data) for data, _, _ in CASES} == set(CHANGE_TYPES)


@given(st.text(), st.text(), st.integers(EARLIEST, LATEST), st.lists(st.text()))
def test_a_change_survives_the_wire(id_, activity_id, time, members):
    data = ParticipantDone(tuple(members))
    assert decode_change(encode_change(id_, activity_id, time, data)) == Change(id_, activity_id, time, data)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        encode_change("c", "a", AT, FAILED).replace(b"card.failed", b"card.other"),
        encode_change("c", "a", AT, FAILED).replace(b"rejected", b"objected"),
    ],
)
def test_what_is_not_a_change_raises_value_error(value):
    with pytest.raises(ValueError):  # noqa: PT011 (the kind is the promise, the words are msgspec's)
        decode_change(value)
