"""A token that WeChat refuses, with the real client: how many calls that costs (wechat-api.md §3)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from contracts.wechat import STABLE_TOKEN_PATH
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from services.wechat.transport import Exchange
from tests.dispatcher.world import Make, World, in_virtual_time

CARDS = 60


class Platform:
    """WeChat as a transport: hands out `given`, lets in whoever comes with `valid`. `met`: how many were
    in flight when the first was refused."""

    def __init__(self) -> None:
        self.given = self.valid = "t1"
        self.fetches: list[float] = []
        self.refused: list[tuple[float, str]] = []
        self.taken: list[float] = []
        self.in_flight = self.met = 0

    async def exchange(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None
    ) -> Exchange:
        """A message after 50 ms, a token after 31."""
        now = asyncio.get_running_loop().time
        if path == STABLE_TOKEN_PATH:
            await asyncio.sleep(0.031)
            self.fetches.append(now())
            return _answer(access_token=self.given, expires_in=7_200)
        self.in_flight += 1
        await asyncio.sleep(0.05)
        self.in_flight -= 1
        if query["access_token"] == self.valid:
            self.taken.append(now())
            return _answer(errcode=0, errmsg="ok")
        if not self.refused:
            self.met = 1 + self.in_flight
        self.refused.append((now(), query["access_token"]))
        return _answer(errcode=40001, errmsg="invalid credential rid: 1-2-3")

    async def close(self) -> None:
        """There is nothing to close."""


def _answer(**fields: Any) -> Exchange:
    return Exchange(200, msgspec.json.encode(fields))


def refuses(world: World) -> Platform:
    """A real client between the dispatchers and this platform."""
    platform = Platform()
    apps = AppBook({"wx1": "a-secret"})
    for name in ("d1", "d2"):
        world.seen_by[name] = WeChatClient("http://wechat", apps, world.clock, transport=platform)
    return platform


@pytest.mark.parametrize("holders", [("d1",), ("d1", "d2")], ids=["one process", "two processes"])
@in_virtual_time()
async def test_a_refused_token_costs_the_calls_in_flight_and_a_probe_now_and_then(
    make: Make, holders: tuple[str, ...]
) -> None:
    """Refused for twelve seconds while WeChat hands it out again unchanged, then really revoked: 60 cards are
    owed, and once there is another token all of them go."""
    world = await make(in_flight=16)
    platform = refuses(world)
    async with world.running(*holders):
        names = await world.owe(CARDS)
        await world.settled(*names)
        await asyncio.sleep(2)  # nobody is throttled
        platform.valid, platform.fetches = "t2", []
        await world.owe(CARDS, "m2")
        await asyncio.sleep(12)
        platform.given = "t2"
        took = await world.settled(*names)
    assert took <= 2 + 1 + 1, "within one question of the closing process"
    probes = 1  # after ten seconds
    assert 1 <= platform.met <= len(holders) * world.settings.in_flight
    # Another process hears of the closing with its next claim: what it claimed ahead of its slots goes out.
    in_hand_elsewhere = (len(holders) - 1) * (world.settings.in_flight // 2)
    assert len(platform.refused) <= platform.met + in_hand_elsewhere + probes
    assert len(platform.taken) == 2 * CARDS
    assert len(platform.fetches) <= len(holders) * (2 + 12 / 2 + 2), "a question every two seconds, no more"


@in_virtual_time()
async def test_a_token_that_was_renewed_costs_each_call_in_flight_one_repeat_and_closes_nothing(
    make: Make,
) -> None:
    """Revoked, and another one is to be had: the calls that it met are repeated at once."""
    world = await make()
    platform = refuses(world)
    async with world.running():
        names = await world.owe(CARDS)
        await world.settled(*names)
        platform.given = platform.valid = "t2"
        await world.owe(CARDS, "m2")
        assert await world.settled(*names) <= 2.0
    assert len(platform.refused) <= platform.met
    assert (await world.gate()).generation == 0
    assert len(platform.fetches) == 2
    assert {(await world.card(name)).attempts for name in names} == {0}


@in_virtual_time(patience=2_000)
async def test_a_token_refused_for_ever_is_probed_once_a_minute(make: Make) -> None:
    """Ten minutes, whoever tries and however many cards there are."""
    world = await make()
    platform = refuses(world)
    platform.valid = "never"
    async with world.running("d1", "d2"):
        await world.owe(CARDS)
        await asyncio.sleep(600)
    assert platform.met <= 2 * 4
    assert len(platform.refused) <= platform.met + 3 + 600 / 60
