"""When WeChat goes away and when it is back: one line each, with numbers; single failures make none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.dispatcher.scripted import Reply
from tests.dispatcher.world import Make, World, in_virtual_time

AWAY = "WeChat does not answer or is busy"
BACK = "WeChat answers again"


def about(told: list[Any]) -> list[Any]:
    return [line for line in told if line["event"].startswith((AWAY, BACK))]


async def away(world: World, reply: Reply, seconds: float, cards: int) -> None:
    """WeChat gives this reply for so long to so many cards, then it is well."""
    ends = world.clock.monotonic() + seconds
    world.wechat.script = lambda sent: reply if sent.at < ends else 0
    names = await world.owe(cards)
    async with world.running():
        await world.settled(*names)


@pytest.mark.parametrize("reply", [-1, "hang"])
@in_virtual_time()
async def test_an_outage_has_two_lines_with_numbers(make: Make, reply: Reply) -> None:
    """However many cards wait, and however long."""
    world = await make()
    with capture_logs() as lines:
        await away(world, reply, 30.0, 40)
    begins, ends = about(lines)
    assert (begins["log_level"], ends["log_level"]) == ("warning", "info")
    assert begins["event"].startswith(AWAY)
    assert begins["cards_behind"] == 40
    assert begins["seconds"] <= 11, "it is told with the first calls"
    assert begins["calls"] >= 3
    assert ends["event"] == BACK
    assert 30 <= ends["seconds"] <= 90
    assert ends["calls"] >= 5
    assert (ends["unknown"] > 0) is (reply == "hang")
    assert 0 < ends["cards_behind"] <= 40


@in_virtual_time()
async def test_an_outage_with_one_card_is_told_too(make: Make) -> None:
    world = await make()
    with capture_logs() as lines:
        await away(world, -1, 20.0, 1)
    begins, _ = about(lines)
    assert begins["cards_behind"] == 1


@in_virtual_time()
async def test_single_failures_are_no_outage(make: Make) -> None:
    """Every second call fails; and many at once within a second."""
    world = await make()
    counted = iter(range(10_000))
    world.wechat.script = lambda _: -1 if next(counted) % 2 else 0
    with capture_logs() as lines:
        async with world.running():
            await world.settled(*await world.owe(60, prefix="b"))
        await away(world, -1, 0.5, 40)
    assert about(lines) == []


@in_virtual_time()
async def test_a_store_that_is_away_as_well_costs_only_a_number(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make()
    calls = 0

    async def hangs() -> Any:
        nonlocal calls
        calls += 1
        await asyncio.Event().wait()

    monkeypatch.setattr(world.front, "backlog", hangs)
    with capture_logs() as lines:
        await away(world, -1, 10.0, 5)
    assert [line["cards_behind"] for line in about(lines)] == [None, None]
    assert calls == 2
