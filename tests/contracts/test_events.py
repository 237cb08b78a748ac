"""The digest that tells whether a second opening says the same as the first."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.decode import decode
from contracts.events import OPENED, Event, Opened, Room, opened_digest
from tests.contracts.samples import OPENED_DATA, value_of

ONE = Opened(appid="wx1", template="complete", expires_at=5, participants=("a", "b"), room=Room(opengid="g"))


@given(st.lists(st.sampled_from("abc"), min_size=1), st.randoms(use_true_random=False))
def test_order_and_repetition_of_participants_do_not_matter(participants, random):
    shuffled = participants * 2
    random.shuffle(shuffled)
    first = msgspec.structs.replace(ONE, participants=tuple(participants))
    second = msgspec.structs.replace(ONE, participants=tuple(shuffled))
    assert opened_digest(first) == opened_digest(second)


@pytest.mark.parametrize(
    "changed",
    [
        {"appid": "wx2"},
        {"template": "participate"},
        {"expires_at": 6},
        {"version": "trial"},
        {"title": "t"},
        {"publisher": "p"},
        {"room": None},
        {"room": Room(opengid="h")},
        {"room": Room(open_single_roomid="g")},
        {"choose": "everyone"},
        {"participants": ("a",)},
        {"participants": ()},
        {"deadline": 5},
        {"notice": 0},
        {"close_when_complete": True},
    ],
)
def test_everything_else_does(changed):
    assert opened_digest(msgspec.structs.replace(ONE, **changed)) != opened_digest(ONE)


def test_a_default_given_equals_a_default_left_out():
    least = {name: OPENED_DATA[name] for name in ("appid", "template", "expires_at")}
    said = {
        **least,
        "version": "release",
        "title": "",
        "notice": 3600,
        "choose": "listed",
        "participants": [],
    }
    digests = set()
    for data in (least, said):
        read = decode(value_of(OPENED, data))
        assert isinstance(read, Event)
        assert isinstance(read.data, Opened)
        digests.add(opened_digest(read.data))
    assert len(digests) == 1


def test_what_is_ignored_makes_no_other_opening():
    assert opened_digest(msgspec.structs.replace(ONE, ignored=("particpants",))) == opened_digest(ONE)


def test_the_digest_is_stable_across_releases():
    """Digests are stored: this value must never change."""
    assert opened_digest(ONE) == "78828e73de17e154f9e4361c73dd9bf3"


def test_a_notice_that_is_left_out_is_that_of_the_card_that_is_continued():
    """Given, it is this one's, also if it is what it would be anyway; null equals left out."""
    bare = {name: OPENED_DATA[name] for name in ("appid", "template", "expires_at")}
    for data, notice in (
        ({}, 3600),
        ({"notice": None}, 3600),
        ({"continues": "a"}, None),
        ({"continues": "a", "notice": None}, None),
        ({"continues": "a", "notice": 3600}, 3600),
        ({"continues": None}, 3600),
    ):
        read = decode(value_of(OPENED, {**bare, **data}))
        assert isinstance(read, Event)
        assert isinstance(read.data, Opened)
        assert (read.data.notice, read.data.continues) == (notice, data.get("continues"))
