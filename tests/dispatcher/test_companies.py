"""A dispatcher, the real client and real servers: where a token comes from, and what that closes and opens
(design.md §6)."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.runtime.clock import RealClock
from services.runtime.process import delivery_rules
from services.runtime.settings import Settings
from services.simulator.app import SimulatorServer
from services.wechat.client import WeChatClient
from tests.dispatcher.world import World
from tests.verification.dict_store.store import MemoryStore
from tests.wechat.company import KEY, SECRET, Service, book, kept, refreshed

PROBE = 600.0
"""Longer than any test: what opens a gate here is no probe."""


@pytest.fixture
async def standin() -> AsyncIterator[SimulatorServer]:
    server = SimulatorServer(apps={"wx1": SECRET}, chance=random.Random(1), auto_declare=True)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def world() -> World:
    clock = RealClock()
    store = MemoryStore(clock.wall, rules=delivery_rules(Settings(probe=PROBE)))
    return World(store, clock, probe=PROBE, sweep=0.05, coalesce=0.01)


def connect(world: World, hosts: str, folder: Path, entry: Any) -> WeChatClient:
    """The dispatcher's client and apps file."""
    apps: Any = book(folder, entry)
    client = WeChatClient(hosts, apps, world.clock, deadline=5.0)
    world.apps, world.seen_by["d1"] = apps, client
    return client


async def shown(world: World, name: str, delivered: int) -> bool:
    return (await world.card(name)).settled >= delivered


@pytest.fixture
async def service(standin: SimulatorServer) -> AsyncIterator[Service]:
    running = Service()
    await running.start()
    running.token = refreshed(standin)
    yield running
    await running.stop()


async def test_a_credential_that_the_token_service_refuses_closes_the_gate_until_it_changes(
    world: World, standin: SimulatorServer, service: Service, tmp_path: Path
) -> None:
    """`misconfigured`, at no attempt of the card's; the file of the credential opens it by itself."""
    key = kept(tmp_path / "key", "canary-wrong")
    client = connect(world, standin.url, tmp_path, {"token_url": service.url, "token_key_file": str(key)})
    async with world.running():
        (name,) = await world.owe(1)
        await world.until(lambda: _closed(world, "misconfigured"))
        gate = await world.gate()
        assert gate.errmsg.startswith("no token: the token service does not accept our credential (HTTP 401)")
        assert "canary" not in gate.errmsg
        assert ((await world.card(name)).attempts, len(service.asked)) == (0, 1)
        kept(key, KEY)
        await world.until(lambda: shown(world, name, 2))
        assert (await world.gate()).reason == ""
    await client.close()


async def test_a_token_that_somebody_refreshed_behind_the_service_closes_the_gate_until_there_is_another(
    world: World, standin: SimulatorServer, service: Service, tmp_path: Path
) -> None:
    """`token`, which a different one opens within a question of the closing process."""
    client = connect(world, standin.url, tmp_path, {"token_url": service.url, "token_key": KEY})
    async with world.running():
        (name,) = await world.owe(1)
        await world.until(lambda: shown(world, name, 2))
        stolen = refreshed(standin)
        await world.complete(name, "m2")
        await world.until(lambda: _closed(world, "token"))
        service.token = stolen
        await world.until(lambda: shown(world, name, 3))
        assert (await world.card(name)).attempts == 0
    await client.close()


async def test_a_token_service_that_is_away_leaves_the_gate_open_for_others(
    world: World, standin: SimulatorServer, tmp_path: Path
) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = connect(
            world, standin.url, tmp_path, {"token_url": f"http://127.0.0.1:{bound.getsockname()[1]}/wx1"}
        )
        async with world.running():
            (name,) = await world.owe(1)
            await world.until(lambda: _tried(world, name))
            assert (await world.gate()).reason == ""
    await client.close()


async def test_cards_go_by_the_next_host_and_none_is_in_doubt(
    world: World, standin: SimulatorServer, tmp_path: Path
) -> None:
    """The first refuses connections; WeChat sees each call once."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        hosts = f"http://127.0.0.1:{bound.getsockname()[1]},{standin.url}"
        client = connect(world, hosts, tmp_path, SECRET)
        async with world.running():
            names = await world.owe(5)
            for name in names:
                await world.until(partial(shown, world, name, 2))
            assert {(await world.card(name)).doubt_at for name in names} == {None}
    assert sum(sum(card.posts.values()) for card in standin.model.cards.values()) == 5
    await client.close()


async def test_an_unknown_outcome_is_a_doubt_and_is_repeated_where_it_was(
    world: World, standin: SimulatorServer, tmp_path: Path
) -> None:
    """The next host is not asked: the call was applied, and its answer lost."""
    second = SimulatorServer(apps={"wx1": SECRET}, chance=random.Random(2), auto_declare=True)
    await second.start()
    client = connect(world, f"{standin.url},{second.url}", tmp_path, SECRET)
    path = "/cgi-bin/message/wxopen/chattoolmsg/send"
    rule = {"action": {"apply_then_cut": True}, "match": {"path": path}, "count": 1}
    standin.shell.put_faults(json.dumps(rule).encode())
    async with world.running():
        (name,) = await world.owe(1)
        await world.until(lambda: shown(world, name, 2))
        assert (await world.card(name)).doubt_at is not None
    assert standin.model.cards[name].posts == {"m1": 2}
    assert (second.model.cards, second.model.counts.view([])["calls"]) == ({}, {})
    await client.close()
    await second.stop()


async def _closed(world: World, reason: str) -> bool:
    return any(gate.reason == reason for gate in await world.store.all_gates())


async def _tried(world: World, name: str) -> bool:
    return bool(await world.attempts(name)) or (await world.card(name)).attempts > 0
