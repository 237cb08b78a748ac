"""`GET /control/stream`: all that the page shows, then what changes, also for whoever comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from services.simulator.app import SimulatorServer
from services.simulator.cards import Declaration


class Reader:
    """One stream; `last` is the id of the event that was read last."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.last = ""

    async def next(self, *wanted: str) -> tuple[str, Any]:
        """The next event, of these names if any is named: its name and its data."""
        event: dict[str, str] = {}
        while True:
            line = (await self._response.content.readline()).decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if name:
                event[name] = value
            elif "data" in event:
                self.last = event["id"]
                if not wanted or event["event"] in wanted:
                    return event["event"], msgspec.json.decode(event["data"])
                event = {}
            else:
                event = {}


@asynccontextmanager
async def stream(client: Any, last: str = "") -> AsyncIterator[Reader]:
    headers = {"Last-Event-ID": last} if last else {}
    async with client.http.get("/control/stream", headers=headers) as response:
        assert response.content_type == "text/event-stream"
        yield Reader(response)


async def test_first_everything_then_each_change(card: Any) -> None:
    async with stream(card) as reader:
        name, snapshot = await reader.next()
        assert name == "snapshot"
        assert [each["title"] for each in snapshot["cards"]] == ["团建"]
        assert (await reader.next())[0] == "faults"
        name, told = await reader.next()
        assert name == "means"
        assert told["means"]["gateway"] is None
        assert told["means"]["apps"] == ["wx1", "wx2"]
        await card.send(1, ["alex"])
        name, told = await reader.next()
        assert (name, told["card"]["viewers"]["publisher"]) == ("card", "1人已完成")
        await card.fault({"errcode": -1})
        name, told = await reader.next()
        assert (name, told["faults"][0]["action"]) == ("faults", {"errcode": -1})


async def test_who_comes_back_is_sent_what_changed_since(card: Any) -> None:
    async with stream(card) as reader:
        await reader.next("means")
    await card.send(1, ["alex"])
    await card.declare("other")
    async with stream(card, reader.last) as again:
        assert [(await again.next("card", "snapshot"))[1]["card"]["activity_id"] for _ in range(2)] == [
            "act",
            "other",
        ]
    async with stream(card, again.last) as nothing_new:
        assert (await nothing_new.next())[0] == "faults"


async def test_after_a_reset_and_for_an_id_of_another_run_everything_comes_anew(
    card: Any, server: SimulatorServer
) -> None:
    async with stream(card) as reader:
        await reader.next("means")
        await card.post("/control/reset")
        name, told = await reader.next()
        assert (name, told["cards"], told["total"]) == ("snapshot", [], 0)
    for last in ("1.1.5", "nonsense", f"{server.stream._born}.1.0"):
        async with stream(card, last) as reader:
            assert (await reader.next())[0] == "snapshot"


async def test_cards_that_only_the_store_knows_come_too(client: Any, server: SimulatorServer) -> None:
    from services.simulator.cards import Declaration

    found: list[Declaration] = []

    async def source(_activity_id: str | None) -> list[Declaration]:
        return found

    server.shell.source = source
    async with stream(client) as reader:
        await reader.next("means")
        found.append(
            Declaration(activity_id="k", appid="wx1", template="complete", title="Kafka", expires_at=2**60)
        )
        _, told = await reader.next()
        assert told["card"]["title"] == "Kafka"


async def test_a_simulator_that_stops_ends_its_streams(client: Any, server: SimulatorServer) -> None:
    async with stream(client) as reader:
        await reader.next("means")
        server.stream.close()
        assert (await reader._response.read()) == b""


async def test_of_very_many_who_take_part_the_first_are_told_and_all_counted(
    server: SimulatorServer, client: Any
) -> None:
    """A change tells a card anew: 100,000 members would be megabytes each time, for each who watches."""
    everybody = [f"gp-{n}" for n in range(5_000)]
    server.model.declare(
        server.shell.now(),
        Declaration(
            activity_id="act",
            appid="wx1",
            template="complete",
            publisher="gp-4999",
            participants=tuple(everybody),
            names={each: f"n{each}" for each in everybody},
        ),
    )
    await client.log_in()
    async with stream(client) as reader:
        await reader.next("snapshot")
        await client.send(1, ["gp-3", "gp-4998"])
        _, told = await reader.next("card")
    card = told["card"]
    assert (card["participants"], card["finished"]) == (5_000, 2)
    assert list(card["viewers"]["participants"]) == everybody[:500]
    assert card["done"] == ["gp-3"]
    assert card["names"].keys() == {*everybody[:500], "gp-4998", "gp-4999"}
    assert "posts" not in card
    assert len((await client.get("/control/activities/act"))["viewers"]["participants"]) == 5_000
