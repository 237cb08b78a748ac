"""Small plots as SVG: where each minute's bars stand. The template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.times import SECOND
from services.gateway.console.overview_cache import MinuteView

WIDTH, HEIGHT = 600, 96
"""Of the picture, in its own units; a bar stands in `WIDTH / 60`."""
GAP: Final = 2
STEPS: Final = (1, 2, 5)


class Bar(msgspec.Struct, frozen=True):
    """A rectangle, and the class that colours it."""

    x: float
    y: float
    width: float
    height: float
    kind: str


class Plot(msgspec.Struct, frozen=True):
    """Bars, and the value at the top."""

    bars: tuple[Bar, ...]
    top: int


def calls_plot(minutes: Sequence[MinuteView]) -> Plot:
    """Calls by the minute: what WeChat confirmed, and above it what it did not."""
    top = round_up(max((each.calls or 0 for each in minutes), default=0))
    bars: list[Bar] = []
    for place, each in enumerate(minutes):
        if each.calls is not None:
            bars += _stack(place, [(each.confirmed, "good"), (each.calls - each.confirmed, "bad")], top)
    return Plot(tuple(bars), top)


def lateness_plot(minutes: Sequence[MinuteView]) -> Plot:
    """The age of the oldest undelivered card by the minute, in seconds."""
    ages = [None if each.lateness is None else each.lateness // SECOND for each in minutes]
    top = round_up(max((age or 0 for age in ages), default=0), least=10)
    bars: list[Bar] = []
    for place, age in enumerate(ages):
        if age is not None:
            bars += _stack(place, [(age, "late")], top)
    return Plot(tuple(bars), top)


def _stack(place: int, parts: Sequence[tuple[int, str]], top: int) -> list[Bar]:
    """One minute. Nothing is a line at the bottom; where nothing is known there is no line."""
    width = WIDTH / 60
    x, foot, bars = place * width, float(HEIGHT), []
    for value, kind in parts:
        if value:
            height = max(1.5, HEIGHT * value / top)
            foot -= height
            bars.append(Bar(round(x, 1), round(foot, 1), round(width - GAP, 1), round(height, 1), kind))
    return bars or [Bar(round(x, 1), HEIGHT - 1, round(width - GAP, 1), 1, "none")]


def round_up(value: int, least: int = 5) -> int:
    """The next of 1, 2, 5, 10, 20, 50 …, for the top of a plot."""
    scale = 1
    while True:
        for step in STEPS:
            if step * scale >= max(value, least):
                return step * scale
        scale *= 10
