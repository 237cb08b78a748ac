"""The tools of the person on call, on a running system: show, replay, redeliver, gates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.topics import Topics
from services.simulator.faults import Action, Match, Rule
from tests.e2e.line import APPID, Line, a_line, until

SERVICES = ("lifecycle", "clock", "dispatcher")
pytestmark = pytest.mark.slow


@pytest.fixture
async def line(kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with a_line(kafka, postgres_database, topic_prefix, tmp_path) as line:
        yield line


async def test_replay_takes_back_what_can_live_and_only_once(line: Line) -> None:
    """A letter that waited too long counts after its `opened` came; garbage stays; twice is safe."""
    line.settings["LIVECARD_PARKED_AFTER"] = "1"
    line.declare("a-1", ["gp-1"])
    await line.start(*SERVICES)
    await line.send(line.completed("a-1", "gp-1"))
    await line.producer.send_and_wait(Topics(line.prefix).events, b"{]", key=b"a-1")

    async def buried() -> bool:
        return bool((await line.ledger())["events"]["dead"] == 2)

    await until(buried, "both are dead letters")
    await line.send(line.opened("a-1", ["gp-1"]))

    async def told() -> str:
        code, printed = await line.run("replay")
        assert code == 0, printed
        return printed if "would be taken back" in printed else ""

    printed = await until(told, "the relay has published the letter")
    assert "1 malformed: still unreadable" in printed
    assert "1 parked_too_long: would be taken back" in printed
    assert "--send" in printed
    assert line.card("a-1").posts == {}
    code, printed = await line.run("replay", "--send", "--reason", "parked_too_long")
    assert (code, "1 parked_too_long: taken back" in printed) == (0, True), printed
    await until(lambda: line.card("a-1").posts, "the event counted after all")
    ledger = await line.settled()
    assert (ledger["events"]["dead"], ledger["events"]["applied"]) == (1, 2)
    code, printed = await line.run("replay", "--send", "--activity", "a-1")
    assert (code, "1 parked_too_long: taken in already" in printed) == (0, True), printed
    assert line.card("a-1").posts == {"gp-1": 1}


async def test_redeliver_tries_again_what_was_given_up(line: Line) -> None:
    """A member WeChat rejected alone is told by show, and delivered once WeChat takes it; twice is safe."""
    line.declare("r-1", ["gp-1", "gp-2"])
    await line.start(*SERVICES)
    line.simulator.faults.add([Rule(action=Action(errcode=40097), match=Match(activity_id="r-1"))])
    await line.send(line.opened("r-1", ["gp-1", "gp-2"]), line.completed("r-1", "gp-1"))

    async def skipped() -> bool:
        return "skipped until `livecard redeliver r-1`: gp-1" in (await line.run("show", "r-1"))[1]

    await until(skipped, "show names the skipped member")
    line.simulator.faults.remove()
    code, printed = await line.run("redeliver", "r-1")
    assert (code, "1 skipped members included" in printed) == (0, True), printed
    await until(lambda: line.card("r-1").posts, "the member is done")
    await line.settled()
    code, printed = await line.run("redeliver", "r-1")
    assert (code, "nothing to do" in printed) == (0, True), printed
    assert line.card("r-1").posts == {"gp-1": 1}


async def test_gates_are_shown_and_opened(line: Line) -> None:
    """A used-up day closes the app's gate; show says why; opening it lets the calls go."""
    line.declare("g-1", ["gp-1"])
    await line.start(*SERVICES)
    line.simulator.faults.add([Rule(action=Action(errcode=45009), match=Match(activity_id="g-1"), count=1)])
    await line.send(line.opened("g-1", ["gp-1"]), line.completed("g-1", "gp-1"))

    async def closed() -> bool:
        return "closed" in (await line.run("gates"))[1]

    await until(closed, "the gate is closed")
    _, printed = await line.run("show", "g-1")
    assert "the app's calls of today are used up (45009)" in printed
    for words in ("opened", "was open already"):
        code, printed = await line.run("gates", "--open", APPID)
        assert (code, f"{APPID}: {words}" in printed) == (0, True), printed
    await until(lambda: line.card("g-1").posts, "the member is done")
    await line.settled()
    code, printed = await line.run("gates", "--open", APPID, "--open", "nobody")
    assert code == 1
    assert "no activity of these apps was ever opened here: nobody" in printed
    assert f"{APPID}: was open already" in printed
    assert "nobody: " not in printed
