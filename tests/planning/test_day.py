"""The simulation of a day adds up, keeps to quotas as gates do, and agrees with what was measured."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.planning import __main__ as command
from scripts.planning import costs, tables
from scripts.planning.day import MINUTE, REOPENS, Limits, Waiting, simulate
from scripts.planning.load import HOUR, Load, seconds
from statemachine.gate import SPREAD

PERFORMANCE = (Path(__file__).parents[2] / "docs" / "performance.md").read_text("utf-8")
SCALING = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text("utf-8")
QUIET = Load(10_000, members=0, ends=((12, 1.0),))
"""Nothing but cards that come near at eleven and end at twelve."""
FREE = Limits(math.inf)


def test_the_figures_are_those_that_were_measured() -> None:
    assert f"one dispatcher | {tables.CALLS:,.0f} calls/s" in PERFORMANCE
    assert f"({tables.COMPLETIONS:,.0f} completions/s)" in PERFORMANCE
    assert f"calls/s, {costs.CALL * 1e6:.0f} µs of CPU a call" in PERFORMANCE
    least, most = (each * 1e3 for each in costs.SQL)
    assert f"· {most:.2f} · {least:.2f} · {least:.2f} ms ·" in PERFORMANCE
    assert f"10,000 ended by the clock · last call | {10_000 / costs.TIMERS:.2f} s" in PERFORMANCE
    assert f"some {costs.FIRST:,.0f}/s where most are the first" in SCALING


def test_ten_thousand_ends_take_what_the_benchmark_measured() -> None:
    """`make bench`, ends: the last call 4.32 s after the second."""
    assert "0.84 s · 4.32 s after the second" in PERFORMANCE
    assert simulate(QUIET, Limits(tables.CALLS)).ends.within(1) == 4


@pytest.mark.parametrize(
    "limits",
    [
        FREE,
        Limits(100),
        Limits(2_748, minute=1_000),
        Limits(2_748, day=20_000),
        Limits(50, 1_000, 30_000, 60),
        Limits(2_748, 2_000, 30_000, 1, 10_000),
    ],
)
def test_every_change_is_told_saved_or_still_due(limits: Limits) -> None:
    load = Load(5_000)
    day = simulate(load, limits)
    wanted = load.completions + 2 * load.activities
    assert day.calls + day.saved + day.untold == pytest.approx(wanted)
    assert day.calls == pytest.approx(sum(day.news.late.values()) + sum(day.ends.late.values()))
    assert day.calls <= limits.day


def test_a_quota_a_minute_is_used_at_once_and_again_when_the_gate_opens() -> None:
    """10,000 ends, 4,000 a minute: the third minute tells the last, after the gate's mean opening time."""
    assert pytest.approx(SPREAD / 2 / 1_000_000) == REOPENS
    late = simulate(QUIET, Limits(4_000, minute=4_000)).ends.late
    assert late == {0: 4_000, MINUTE + REOPENS: 4_000, 2 * MINUTE + REOPENS: 2_000}


def test_a_day_s_quota_ends_where_it_is_used_up() -> None:
    day = simulate(QUIET, Limits(1_000, day=15_000))
    assert day.quota_ended == 12 * HOUR + 4
    assert (day.calls, day.untold) == (15_000, 5_000)


def test_what_is_kept_for_ends_tells_them_and_what_their_cards_still_had_to_tell() -> None:
    """The news of eleven use up what is not kept; an end takes a call, and one more where its card waits."""
    kept = simulate(QUIET, Limits(2_000, day=15_000, reserve=12_000))
    assert kept.quota_ended == 11 * HOUR + 1
    assert sum(kept.news.late.values()) == 3_000
    assert (kept.calls, kept.ends.total, kept.news.total) == (15_000, 5_000, 0)
    enough = simulate(QUIET, Limits(2_000, day=23_000, reserve=20_000))
    assert enough.untold == pytest.approx(0)


def test_ends_go_before_news() -> None:
    """Half of the cards come near in the second in which the others end."""
    load = Load(1_000, members=0, ends=((12, 0.5), (13, 0.5)))
    day = simulate(load, Limits(100))
    assert day.ends.within(1) == 5
    assert day.news.within(1) == 10


def test_a_card_that_waits_takes_further_changes_along() -> None:
    """With hardly a call, no card is due more than once for its news."""
    load = Load(1_000)
    day = simulate(load, Limits(0.001))
    assert day.news.total <= load.activities
    assert day.saved > 0.8 * load.completions


def test_a_longer_window_saves_calls() -> None:
    calls = [
        simulate(Load(1_000, members=100), Limits(math.inf, coalesce=each)).calls for each in (1, 60, 600)
    ]
    assert calls[0] > calls[1] > calls[2]


def test_a_day_has_every_completion_and_every_end_once() -> None:
    load = Load(700)
    every = list(seconds(load))
    assert len(every) == 24 * HOUR
    assert sum(each.completions for each in every) == pytest.approx(load.completions)
    assert sum(each.ends for each in every) == sum(each.nearing for each in every) == load.activities
    assert every[-1].open == pytest.approx(0)
    assert load.events == load.activities * 9


@dataclass
class Case:
    seconds: int | None
    said: str


@pytest.mark.parametrize(
    "case", [Case(None, "-"), Case(4, "4 s"), Case(600, "10 min"), Case(9_000, "2.5 h")], ids=lambda c: c.said
)
def test_times_are_said_as_people_say_them(case: Case) -> None:
    assert tables.length(case.seconds) == case.said


def test_nothing_made_is_within_no_time() -> None:
    assert Waiting().within(0.5) is None


def test_the_command_answers_with_your_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--activities", "10000", "--minute", "5000", "--day", "50000", "--reserve", "20000"]
    monkeypatch.setattr(sys, "argv", ["planning", *options])
    command.main()
    said = capsys.readouterr().out
    assert "the day's quota  ends at " in said
    assert "events           90,000 in the day" in said
    assert "calls are still due, 0 of them ends" in said
