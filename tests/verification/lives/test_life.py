"""Lives go as their weights say, and a seed means a life."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from contracts.events import Closed, Completed, Opened, Rescheduled
from contracts.times import SECOND
from tests.verification.lives.life import Happening, Weights, draw_life

BEGIN = 1_790_000_000 * SECOND
PEOPLE = tuple("abcdefgh")


def lives(**weights: object) -> list[list[Happening]]:
    usual = {"whom": PEOPLE, "expires": lambda _: 60.0, "ends": 10.0, "opens": (2.0, 4.0)}
    made = Weights(**{**usual, **weights})  # type: ignore[arg-type]  # checked by its own constructor below
    return [draw_life(random.Random(seed), BEGIN, made) for seed in range(200)]


def test_a_life_of_no_weights_is_its_opening() -> None:
    for (only,) in lives():
        assert isinstance(only.data, Opened)
        assert 2 <= only.at <= 4
        assert only.data.expires_at == BEGIN + 60 * SECOND


def test_a_seed_means_a_life() -> None:
    every = {"news": range(5), "kinds": ((0.5, Completed), (0.9, Rescheduled)), "moves": ((5, 9),)}
    assert lives(**every) == lives(**every)


@pytest.mark.parametrize("share", [(1.0, 1.0), (0.1, 0.5)])
def test_whoever_is_dealt_finishes_in_one_event(share: tuple[float, float]) -> None:
    for life in lives(dealt=share, together=(1, 3)):
        done = [each.data.members for each in life if isinstance(each.data, Completed)]
        named = Counter(member for members in done for member in members)
        assert set(named.values()) == {1}
        assert share == (1.0, 1.0) or len(named) <= 4
        assert share != (1.0, 1.0) or len(named) == len(PEOPLE)


def test_some_speak_before_the_opening_unless_all_are_prompt() -> None:
    def early(prompt: float) -> int:
        made = lives(dealt=(1.0, 1.0), prompt=prompt)
        return sum(each.at < life[0].at for life in made for each in life)

    assert early(1.0) == 0 < early(0.5)


def test_it_is_opened_again_closed_and_moved_to_and_fro() -> None:
    for life in lives(again=1.0, another=1.0, closes=(9.0, 9.0), flips=True):
        first, again, another = (each.data for each in life if isinstance(each.data, Opened))
        assert first == again != another
        assert [each.at for each in life if isinstance(each.data, Closed)] == [9.0]
        moved = [(each.at, each.data) for each in life if isinstance(each.data, Rescheduled)]
        assert [round(((data.deadline or 0) - BEGIN) / SECOND - at) for at, data in moved][:2] == [8, 300]


def test_an_event_may_have_happened_before_it_is_published() -> None:
    assert {each.at - each.time for life in lives(lags=(0.0, 7.0)) for each in life} == {0.0, 7.0}
