"""How long today's calls last: the day is Shanghai's, the faster of two rates counts."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf

from statemachine.quota import ask_again_in, day_end, day_start, used_up_at

HOUR = 3_600_000_000
NOON = int(datetime(2026, 11, 28, 4, tzinfo=UTC).timestamp()) * 1_000_000
"""Noon in Shanghai."""


def test_the_day_is_shanghais() -> None:
    assert (day_start(NOON), day_end(NOON)) == (NOON - 12 * HOUR, NOON + 12 * HOUR)
    assert day_start(NOON + 12 * HOUR) == NOON + 12 * HOUR
    assert day_end(NOON + 12 * HOUR - 1) == NOON + 12 * HOUR


def test_the_average_of_the_day_says_when() -> None:
    """A hundred an hour so far."""
    assert used_up_at(600, 1_200, 0, HOUR, NOON) == NOON + 6 * HOUR
    assert used_up_at(1_200, 1_200, 0, HOUR, NOON) is None
    assert used_up_at(1_199, 1_200, 0, HOUR, NOON) is not None


def test_a_burst_says_so_sooner() -> None:
    assert used_up_at(600, 1_200, 300, HOUR, NOON) == NOON + 2 * HOUR
    assert used_up_at(600, 1_200, 10, HOUR, NOON) == NOON + 6 * HOUR


def test_nothing_left_and_nothing_used() -> None:
    """Also in the first moment of a day."""
    assert used_up_at(0, 100, 0, HOUR, NOON) == NOON
    assert used_up_at(-1, 100, 0, HOUR, NOON) == NOON
    assert used_up_at(100, 0, 0, HOUR, NOON) is None
    assert used_up_at(100, 0, 0, HOUR, day_start(NOON)) is None


def test_it_is_asked_again_when_half_of_what_is_to_spare_may_be_gone():
    assert ask_again_in(600, 100, 10.0, soonest=5.0) == 30.0
    assert ask_again_in(60, 100, 10.0, soonest=5.0) == 5.0
    assert ask_again_in(0, 100, 10.0, soonest=5.0) == inf
    assert ask_again_in(600, 0, 10.0, soonest=5.0) == inf
    assert ask_again_in(600, 100, 0.0, soonest=5.0) == inf
