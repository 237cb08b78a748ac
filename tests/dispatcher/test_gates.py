"""Gates: each reason's closing and opening, probes, stale answers, what one process alone suffers."""

from __future__ import annotations

import itertools

import pytest
from structlog.testing import capture_logs

from contracts.times import DAY, MINUTE, SECOND
from contracts.wechat import verdict_of
from tests.dispatcher.scripted import Script, Sent
from tests.dispatcher.world import BASE, Make, World, in_virtual_time

SHANGHAI = 8 * 3_600 * SECOND
NEXT_MINUTE = ((BASE // MINUTE + 1) * MINUTE - BASE) / SECOND
MIDNIGHT = (((BASE + SHANGHAI) // DAY + 1) * DAY - SHANGHAI - BASE) / SECOND


def reply(*replies: int | str) -> Script:
    """These replies one after the other, then the last one for ever."""
    queue = list(replies)
    return lambda _: queue.pop(0) if len(queue) > 1 else queue[0]


async def closed(world: World, appid: str = "wx1") -> None:
    """Until the store knows that the gate is closed."""

    async def shut() -> bool:
        return (await world.gate(appid)).closed_until > world.clock.wall()

    await world.until(shut)


@pytest.mark.parametrize(
    ("code", "reason", "opens", "spread"),
    [
        (45011, "minute_limit", NEXT_MINUTE, 2.0),
        (45009, "daily_limit", MIDNIGHT, 0.0),
        (40001, "token", 10.0, 0.0),
        (40014, "token", 10.0, 0.0),
        (42001, "token", 10.0, 0.0),
        (40125, "misconfigured", 60.0, 0.0),
        (48001, "blocked", 60.0, 0.0),
    ],
)
@in_virtual_time(patience=100_000)
async def test_every_reason_closes_for_its_time_and_costs_no_attempt(
    make: Make, code: int, reason: str, opens: float, spread: float
) -> None:
    """Of two cards of one app the second is not called before."""
    world = await make()
    world.wechat.script = reply(code, 0)
    async with world.running():
        await world.open("a", "b", life=3 * 86_400.0)
        await world.complete("a", "m1")
        await closed(world)
        gate = await world.gate()
        assert (gate.reason, gate.errcode, gate.errmsg) == (reason, code, f"code {code} rid: r-1")
        await world.complete("b", "m1")
        assert (await world.card("a")).attempts == 0
        await world.settled("a", "b", patience=90_000)
    first, *others = world.wechat.calls
    since = first.over if opens in (10.0, 60.0) else 0.0
    assert len(others) == 2
    assert since + opens - 0.001 <= others[0].at <= since + opens + spread + 0.1
    assert others[1].at <= others[0].over + 0.1, "no other card waits once it is open"
    assert (await world.gate()).reason == ""


@in_virtual_time()
async def test_a_quota_that_has_something_left_opens_the_gate_early(make: Make) -> None:
    world = await make(quota_probe=300.0)
    world.wechat.script = reply(45009, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: world.wechat.quota_asked == 2, patience=1_000)
        world.wechat.quota["wx1"] = 5
        assert await world.settled("a", patience=400) <= 300 + 2
        assert world.wechat.quota_asked == 3


@in_virtual_time(patience=2_000)
async def test_the_wait_for_a_token_doubles_up_to_the_probe_setting(make: Make) -> None:
    world = await make()
    world.wechat.script = reply(*[40001] * 6, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a", patience=600)
    pauses = [after.at - before.over for before, after in itertools.pairwise(world.wechat.calls)]
    assert [round(pause) for pause in pauses] == [10, 20, 40, 60, 60, 60]
    assert await world.failed("a") == []


@in_virtual_time()
async def test_another_token_opens_the_gate_and_is_asked_for_every_two_seconds(make: Make) -> None:
    world = await make()
    world.wechat.script = reply(40001, 40001, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: len(world.wechat.calls) == 2)
        world.wechat.other_tokens = {"wx1"}
        assert await world.settled("a") <= 3.2
    asked = world.wechat.tokens_asked
    assert all(2.0 <= after - before <= 3.0 for before, after in itertools.pairwise(asked))
    assert world.wechat.calls[2].at - asked[-1] <= 0.01


@pytest.mark.parametrize("code", [40125, 48001])
@in_virtual_time()
async def test_a_misconfigured_or_blocked_app_is_told_and_probed_slowly(make: Make, code: int) -> None:
    world = await make()
    world.wechat.script = reply(code, code, code, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a", patience=600)
    pauses = [after.at - before.over for before, after in itertools.pairwise(world.wechat.calls)]
    assert [round(pause) for pause in pauses] == [60, 60, 60]
    failures = await world.failed("a")
    assert {(each.verdict, each.errcode) for each in failures} == {("misconfigured", code)}
    assert len(await world.delivered("a")) == 1


@in_virtual_time()
async def test_a_secret_that_changed_opens_the_gate_at_once(make: Make) -> None:
    world = await make()
    world.wechat.script = reply(40125, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await closed(world)
        world.apps.renewed = {"wx1"}
        assert await world.settled("a") <= 1.2


@in_virtual_time()
async def test_an_app_nobody_named_is_held_without_attempts_until_the_file_names_it(make: Make) -> None:
    world = await make()
    async with world.running():
        await world.open("a", appid="wx9")
        await world.complete("a", "m1")
        await closed(world, "wx9")
        assert (await world.gate("wx9")).reason == "unknown_app"
        await world.open("b")
        await world.complete("b", "m1")
        await world.settled("b")
        assert [call.appid for call in world.wechat.calls] == ["wx1"]
        assert (await world.card("a")).attempts == 0
        world.apps.known.add("wx9")
        assert await world.settled("a") <= 1.2
    assert await world.failed("a") == []


@pytest.mark.parametrize(("code", "every"), [(40001, 10), (40125, 60), (48001, 60)])
@in_virtual_time()
async def test_a_probe_is_one_call_of_all_processes(make: Make, code: int, every: int) -> None:
    """Forty cards owed, three dispatchers: of those called when the gate closed nobody is called again."""
    world = await make()
    names = await world.owe(40)
    world.wechat.script = reply(code)
    async with world.running("d1", "d2", "d3"):
        await closed(world)
        await world.until(lambda: not world.wechat.under_way)
        began = len(world.wechat.calls)
        assert began <= 3 * 4
        await world.until(lambda: len(world.wechat.calls) > began)
        assert world.clock.monotonic() >= every
        assert await world.until(lambda: len(world.wechat.calls) > began + 1) >= every
        world.wechat.script = reply(0)
        await world.settled(*names)
    probes = world.wechat.calls[began : began + 3]
    assert all(after.at - before.at >= every for before, after in itertools.pairwise(probes))
    assert set(world.wechat.posts.values()) == {1}


@pytest.mark.parametrize("answer", ["hang", -1])
@in_virtual_time()
async def test_a_probe_that_learns_nothing_leaves_the_gate_to_the_next_one(
    make: Make, answer: int | str
) -> None:
    """A lease later, and alone again."""
    world = await make()
    names = await world.owe(10)
    world.wechat.script = lambda sent: 40125 if sent.at < 50 else answer if sent.at < 80 else 0
    async with world.running():
        await world.settled(*names)
    probe, again, *rest = [call for call in world.wechat.calls if call.at > 50]
    assert again.at - probe.at >= world.settings.lease
    assert rest[0].at >= again.over, "one call finds out"


@in_virtual_time()
async def test_a_probe_given_back_unsent_leaves_the_gate_as_it_was(make: Make) -> None:
    """The next claim, of whichever process, is the probe."""
    world = await make(in_flight=1, in_flight_narrow=1)
    await world.owe(3)
    world.wechat.script = reply(40125, 0)
    async with world.running("d1"):
        await closed(world)
        before = await world.gate()
        world.wechat.before_send = 5.0

        async def probing() -> bool:
            return (await world.gate()).closed_until > before.closed_until

        await world.until(probing)
    assert (await world.gate()) == before
    assert len(world.wechat.calls) == 1
    world.wechat.before_send = 0.0
    async with world.running("d2"):
        assert await world.settled("a0", "a1", "a2") <= 0.2


@pytest.mark.parametrize("order", [(45009, 45011), (45011, 45009)])
@pytest.mark.parametrize("apart", [0.0, 0.5], ids=["settled together", "settled one after the other"])
@in_virtual_time(patience=100_000)
async def test_of_two_closings_the_later_one_counts(make: Make, order: tuple[int, int], apart: float) -> None:
    """45009 and 45011 to two calls of one app at the same moment: the second never shortens the first."""
    world = await make()
    codes = iter(order)
    latency = iter((0.1, 0.1 + apart))

    def answer(_: Sent) -> int:
        world.wechat.latency = next(latency)
        return next(codes)

    world.wechat.script = answer
    await world.owe(2)
    async with world.running():
        await world.until(lambda: len(world.wechat.calls) == 2)
        await world.settled_down()
        gate = await world.gate()
        assert gate.reason == "daily_limit"
        assert (gate.closed_until - BASE) / SECOND == MIDNIGHT


@in_virtual_time()
async def test_an_answer_to_a_call_from_before_the_closing_opens_nothing(make: Make) -> None:
    world = await make()
    await world.owe(2)
    slow = {"a0": 5.0, "a1": 0.05}

    def answer(sent: Sent) -> int:
        world.wechat.latency = slow[sent.activity_id]
        return 0 if sent.activity_id == "a0" else 40125

    world.wechat.script = answer
    async with world.running():
        await closed(world)
        await world.settled("a0")
        assert (await world.gate()).closed_until > world.clock.wall()
        slow["a1"] = 0.05
        world.wechat.script = reply(0)
        assert await world.settled("a1", patience=100) >= 50


@in_virtual_time()
async def test_a_refusal_from_before_the_closing_does_not_shut_a_gate_that_is_open_again(make: Make) -> None:
    """The secret was mended while the call hung."""
    world = await make()
    await world.owe(2)
    slow = {"a0": 5.0, "a1": 0.05}

    def answer(sent: Sent) -> int:
        world.wechat.latency = slow[sent.activity_id]
        return 40125

    world.wechat.script = answer
    async with world.running():
        await closed(world)
        world.wechat.script, world.wechat.latency = reply(0), 0.05
        world.apps.renewed = {"wx1"}
        assert await world.settled("a1") <= 1.2
        assert await world.settled("a0") <= 6
    assert (await world.gate()).reason == ""


@in_virtual_time()
async def test_after_a_closing_each_process_begins_narrow(make: Make) -> None:
    """Also one that was wide and saw nothing of the closing."""
    world = await make()
    names = await world.owe(200)
    async with world.running("d1", "d2"):
        await world.settled(*names)
        assert world.wechat.most_at_once["wx1"] > 64
        world.wechat.script = lambda sent: 45011 if sent.at < NEXT_MINUTE else 0
        await world.feed()
        await world.owe(1, "m2")
        await closed(world)
        await world.owe(200, "m3")
        world.wechat.most_at_once.clear()
        seen = len(world.wechat.calls)
        await world.until(lambda: len(world.wechat.calls) > seen)
        first = [call for call in world.wechat.calls[seen:] if call.at < world.wechat.calls[seen].over]
        assert len(first) <= 2 * 4
        await world.settled(*names)
        assert world.wechat.most_at_once["wx1"] > 16
    assert set(world.wechat.posts.values()) == {1}


@pytest.mark.parametrize("why", ["40164", "no token"])
@in_virtual_time()
async def test_what_one_process_alone_suffers_backs_the_app_off_there_and_the_others_go_on(
    make: Make, why: str
) -> None:
    """Its address is not on the list, or it cannot fetch a token: the gate stays open, and it is told."""
    world = await make()
    world.seen_by["d2"] = there = type(world.wechat)()
    if why == "40164":
        world.wechat.script = reply(40164)
    else:
        world.wechat.tokenless = {"wx1"}
    with capture_logs() as told:
        async with world.running("d1", "d2"):
            for number in range(60):
                (name,) = await world.owe(1, prefix=f"n{number}-")
                assert await world.settled(name) <= 1.2, "at the next poll of the other at the latest"
    assert len(there.calls) == 60
    assert len(world.wechat.calls) <= 8
    assert (await world.gate()).reason == ""
    loud = [line for line in told if line["log_level"] == "error"]
    assert loud
    assert {line["appid"] for line in loud} == {"wx1"}
    assert {(await world.card(f"n{number}-0")).attempts for number in range(60)} == {0}


@pytest.mark.parametrize("why", ["40164", "no token"])
@in_virtual_time(patience=1_000)
async def test_a_pause_of_one_process_grows_to_a_minute_and_ends_with_the_first_success(
    make: Make, why: str
) -> None:
    world = await make()
    names = await world.owe(20)
    if why == "40164":
        world.wechat.script = reply(40164)
    else:
        world.wechat.tokenless = {"wx1"}
    async with world.running() as dispatcher:
        await world.until(lambda: world.clock.monotonic() > 400, patience=500)
        calls = [call.at for call in world.wechat.calls]
        assert len(calls) <= 4 * 16
        world.wechat.script, world.wechat.tokenless = reply(0), set()
        assert await world.settled(*names) <= 60
        assert dispatcher.limiter.next_pause_end() is None
    assert {(await world.card(name)).attempts for name in names} == {0}


@in_virtual_time()
async def test_a_gate_that_closes_and_opens_is_logged_once_with_what_wechat_said(make: Make) -> None:
    """The one at three in the morning reads the log of the dispatcher first."""
    world = await make()
    world.wechat.latency = 5.0
    world.wechat.script = lambda sent: 48001 if sent.at < 10 else 0
    names = await world.owe(3)
    with capture_logs() as told:
        async with world.running("d1", "d2"):
            await closed(world)
            await world.until(lambda: world.clock.monotonic() > 12)
        async with world.running("d3"):  # knows of no closing
            await world.settled(*names)
    (shut,) = [line for line in told if line["event"].startswith("a gate closed")]
    assert (shut["appid"], shut["reason"], shut["errcode"]) == ("wx1", "blocked", 48001)
    assert {"until", "errmsg", "rid"} <= shut.keys()
    assert shut["activity_id"] in names
    assert verdict_of(shut["errcode"]).value == shut["reason"]
    assert [line["appid"] for line in told if line["event"].startswith("a gate opened")] == ["wx1"]
