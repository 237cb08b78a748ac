"""One wide line an attempt: all that is known of a call, and nobody's name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from structlog.testing import capture_logs

from tests.dispatcher.scripted import Reply
from tests.dispatcher.world import Make, in_virtual_time


def attempts(lines: Any) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "attempt"]


@in_virtual_time()
async def test_every_call_is_one_line_with_all_that_came_of_it(make: Make) -> None:
    """Refused, without an answer, taken. Nobody who is listed is named."""
    world = await make()
    replies: Iterator[Reply] = iter([-1, "hang"])
    world.wechat.script = lambda _: next(replies, 0)
    with capture_logs() as lines:
        async with world.running():
            await world.open("a")
            await world.complete("a", "gp-secret", "gp-other")
            await world.settled("a")
    told = attempts(lines)
    assert len(told) == len(world.wechat.calls) == 3
    assert [line["verdict"] for line in told] == ["busy", "unknown", "ok"]
    assert [line["log_level"] for line in told] == ["warning", "warning", "info"]
    assert [line["errcode"] for line in told] == [-1, None, 0]
    assert [line["after_failures"] for line in told] == [0, 1, 2]
    same = {"activity_id": "a", "appid": "wx1", "revision": 2, "target_state": 1, "members": 2, "sent": True}
    for line in told:
        assert same.items() <= line.items()
        assert {"errmsg", "rid", "seconds", "fence", "more", "repair", "log_level"} <= line.keys()
        assert "trace_id" not in line
    assert told[0]["errmsg"] == "code -1 rid: r-1"
    assert "gp-secret" not in str(lines)


@in_virtual_time()
async def test_what_was_not_sent_is_no_attempt(make: Make) -> None:
    """The card is given back; the calls that are made are one line each."""
    world = await make()
    with capture_logs() as lines:
        async with world.running() as dispatcher:
            await world.open("a")
            world.wechat.before_send = 1.0
            await world.complete("a", "gp-1")
            await world.until(lambda: dispatcher._in_hand)
            dispatcher._caller.stopping = True
    assert len(attempts(lines)) == len(world.wechat.calls) == 0


@in_virtual_time()
async def test_an_answer_that_comes_after_its_lease_is_a_line_of_its_own(make: Make) -> None:
    world = await make()
    world.wechat.latency = 5.0
    with capture_logs() as lines:
        async with world.running():
            await world.open("a")
            await world.complete("a", "gp-1")
            await world.until(lambda: world.wechat.calls)

            def taken_over(card: Any, _now: int) -> None:
                card.fence += 1

            await world.change_card("a", taken_over)
            await world.until(lambda: any("after its lease" in line["event"] for line in lines))
    (late,) = [line for line in lines if "after its lease" in line["event"]]
    assert (late["activity_id"], late["appid"], late["verdict"]) == ("a", "wx1", "ok")
