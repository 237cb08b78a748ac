"""Each verdict's path from the card through the dispatcher to what is published (wechat-api.md §4)."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from structlog.testing import capture_logs

from contracts.times import DAY, MINUTE, SECOND
from services.transactions.claim import redeliver
from tests.dispatcher.world import BASE, Make, Reply, Sent, in_virtual_time


def reply(*replies: int | str):
    """These replies one after the other, then the last one for ever."""
    queue = list(replies)
    return lambda _: queue.pop(0) if len(queue) > 1 else queue[0]


@in_virtual_time()
async def test_ok_confirms_members_and_publishes_the_delivery(make: Make) -> None:
    world = await make()
    async with world.running():
        await world.open("a", template="participate", version="trial")
        await world.complete("a", "m1", "m2")
        await world.settled("a")
        (call,) = world.wechat.calls
        assert (call.target_state, call.members) == (1, ("m1", "m2"))
        (said,) = await world.delivered("a")
        assert (said.revision, said.target_state, said.members, said.calls) == (2, 1, ("m1", "m2"), 1)
        (attempt,) = await world.attempts("a")
        assert (attempt.outcome, attempt.members, attempt.errcode) == ("ok", 2, 0)
        assert world.relay.kicks


@in_virtual_time()
async def test_opening_alone_needs_no_call(make: Make) -> None:
    world = await make()
    async with world.running():
        await world.open("a")
        await world.settled("a")
    assert world.wechat.calls == []


@pytest.mark.parametrize("code", [-1])
@in_virtual_time()
async def test_busy_is_tried_again_with_backoff_until_it_works(make: Make, code: int) -> None:
    world = await make()
    world.wechat.script = reply(*[code] * 6, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a", patience=400)
    assert len(world.wechat.calls) == 7
    card = await world.card("a")
    assert (card.attempts, card.suspect_at, card.settled_as) == (0, None, "delivered")


@pytest.mark.parametrize("code", [40001, 40014, 42001])
@in_virtual_time()
async def test_a_token_that_stays_bad_costs_no_attempt(make: Make, code: int) -> None:
    world = await make()
    world.wechat.script = reply(*[code] * 10, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a")
    starts = [call.at for call in world.wechat.calls]
    pauses = [after - before for before, after in itertools.pairwise(starts)]
    assert len(starts) == 11
    assert all(1.0 <= pause <= 2.2 for pause in pauses)


@in_virtual_time()
async def test_the_minute_limit_closes_the_gate_until_the_next_minute(make: Make) -> None:
    world = await make()
    world.wechat.script = reply(45011, 0)
    async with world.running():
        await world.open("a", "b")
        await world.complete("a", "m1")
        await world.until(lambda: world.wechat.calls and world.wechat.calls[0].over)
        await world.complete("b", "m1")
        await world.settled("a", "b")
    first, *others = world.wechat.calls
    minute = (BASE + round(first.over * SECOND)) // MINUTE + 1
    opens = (minute * MINUTE - BASE) / SECOND
    assert len(others) == 2
    assert all(opens <= call.at <= opens + 2 + 5 + 0.5 for call in others)
    assert (await world.card("a")).attempts == 0
    assert await world.failed("a") == []
    assert [gate.reason for gate in await world.store.all_gates()] == [""]


@in_virtual_time(patience=100_000)
async def test_the_daily_limit_closes_until_midnight_in_shanghai(make: Make) -> None:
    world = await make(sweep=60.0)
    world.wechat.script = reply(45009, 0)
    async with world.running():
        await world.open("a", life=3 * 86_400.0)
        await world.complete("a", "m1")
        await world.settled("a", patience=90_000)
    first, second = world.wechat.calls
    shanghai = 8 * 3_600 * SECOND
    midnight = ((BASE + shanghai) // DAY + 1) * DAY - shanghai
    assert (midnight - BASE) / SECOND <= second.at <= (midnight - BASE) / SECOND + 61
    assert first.at < 1


@in_virtual_time()
async def test_a_quota_that_has_something_left_opens_the_gate_early(make: Make) -> None:
    world = await make(quota_probe=300.0)
    world.wechat.script = reply(45009, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: world.wechat.quota_asked == 2, patience=1_000)
        world.wechat.quota["wx1"] = 5
        took = await world.settled("a", patience=400)
        assert took <= 300 + 6 + 6
        assert world.wechat.quota_asked == 3


@pytest.mark.parametrize("code", [40164, 48001])
@in_virtual_time()
async def test_a_misconfigured_app_is_told_once_and_probed_slowly(make: Make, code: int) -> None:
    world = await make()
    world.wechat.script = reply(code, code, code, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a", patience=600)
    starts = [call.at for call in world.wechat.calls]
    assert len(starts) == 4
    assert all(after - before >= 60 for before, after in itertools.pairwise(starts))
    (failure,) = await world.failed("a")
    assert (failure.verdict, failure.errcode) == ("misconfigured", code)
    assert len(await world.delivered("a")) == 1


@in_virtual_time()
async def test_a_secret_that_changed_opens_the_gate_at_the_next_sweep(make: Make) -> None:
    world = await make()
    world.wechat.script = reply(40125, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: world.wechat.calls and world.wechat.calls[0].over)
        world.apps.renewed = {"wx1"}
        assert await world.settled("a") <= 6


@in_virtual_time()
async def test_a_gate_that_closes_and_opens_is_logged_once_with_what_wechat_said(make: Make) -> None:
    """The one at three in the morning reads the log of the dispatcher first."""
    world = await make()
    world.wechat.latency = 5.0
    world.wechat.script = lambda sent: 40164 if sent.at < 10 else 0
    with capture_logs() as told:
        async with world.running("d1", "d2"):
            for name in ("a", "b", "c"):  # answered one after the other
                await world.open(name)
                await world.complete(name, "m1")
                await asyncio.sleep(0.3)
            await asyncio.sleep(10)
        async with world.running("d3"):  # knows of no closing
            for name in ("a", "b", "c"):
                await world.settled(name)
    (closed,) = [line for line in told if line["event"].startswith("a gate closed")]
    assert (closed["appid"], closed["reason"], closed["errcode"]) == ("wx1", "misconfigured", 40164)
    assert {"until", "errmsg", "rid"} <= closed.keys()
    assert [line["appid"] for line in told if line["event"].startswith("a gate opened")] == ["wx1"]


@in_virtual_time()
async def test_an_app_nobody_named_is_held_without_attempts_until_the_file_names_it(make: Make) -> None:
    world = await make()
    async with world.running():
        await world.open("a", appid="wx9")
        await world.complete("a", "m1")
        await world.until(world.store.all_gates)

        async def closed() -> bool:
            return any(gate.reason == "unknown_app" for gate in await world.store.all_gates())

        await world.until(closed)
        await world.until(lambda: not world.dispatchers[0].permits.rooms())
        assert world.wechat.calls == []
        assert (await world.card("a")).attempts == 0
        world.apps.known.add("wx9")
        assert await world.settled("a") <= 6
    assert len(world.wechat.calls) == 1
    assert await world.failed("a") == []


@in_virtual_time()
async def test_47504_ends_the_activity_as_expired_and_is_never_called_again(make: Make) -> None:
    world = await make()
    world.wechat.script = reply(47504)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a")
        await world.complete("a", "m2")
        await world.settled("a")
    assert len(world.wechat.calls) == 1
    card = await world.card("a")
    assert (card.state, card.settled_as, card.final) == ("ended", "expired", True)
    (failure,) = await world.failed("a")
    assert (failure.verdict, failure.members) == ("expired", ("m1",))


@in_virtual_time()
async def test_47501_is_final_for_this_card(make: Make) -> None:
    world = await make()
    world.wechat.script = reply(47501)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a")
        await world.complete("a", "m2")
        await world.settled("a")
        assert (await redeliver(world.store, "a")).refused
    assert len(world.wechat.calls) == 1
    card = await world.card("a")
    assert (card.settled, card.settled_as, card.final) == (3, "dead", True)
    assert [each.verdict for each in await world.failed("a")] == ["unknown_activity"]


@in_virtual_time()
async def test_a_code_nobody_documents_gets_five_attempts_and_the_next_revision_wakes_the_card(
    make: Make,
) -> None:
    world = await make()
    world.wechat.script = reply(*[99_999] * 5, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a")
        assert len(world.wechat.calls) == 5
        assert (await world.card("a")).verdict == "unknown_code"
        await world.complete("a", "m2")
        await world.settled("a")
    assert world.wechat.calls[-1].members == ("m1", "m2")
    assert [each.verdict for each in await world.failed("a")] == ["unknown_code"]
    assert (await world.card("a")).verdict == ""


@in_virtual_time()
async def test_47502_to_a_lowering_call_keeps_the_card_at_2_and_tells_once(make: Make) -> None:
    world = await make()
    async with world.running():
        await world.open("a", deadline=100.0, notice=3_600)
        await world.settled("a")
        assert [call.target_state for call in world.wechat.calls] == [2]
        world.wechat.script = lambda sent: 47502 if sent.target_state == 1 else 0
        await world.feed()
        await world.reschedule("a", 80_000.0)
        await world.complete("a", "m1", "m2", "m3")
        await world.settled("a")
        await world.complete("a", "m4")
        await world.settled("a")
        await world.close("a")
        await world.settled("a")
    shown = [(call.target_state, call.members) for call in world.wechat.calls]
    assert shown[0] == (2, None)
    assert [state for state, _ in shown].count(1) == 1, "a lowering that was refused is never bisected"
    assert shown[-1] == (3, None)
    assert all(state == 2 for state, _ in shown[2:-1])
    assert {post for post, count in world.wechat.posts.items() if count == 1} == {
        ("a", f"m{n}") for n in (1, 2, 3, 4)
    }
    assert [each.verdict for each in await world.failed("a")] == ["not_lowered"]


@in_virtual_time()
async def test_47502_after_a_doubt_means_that_the_card_was_raised_not_that_the_member_is_bad(
    make: Make,
) -> None:
    """Nearing was applied without an answer, then the deadline moved: WeChat is at 2, our books at 1."""
    world = await make()
    await world.open("a", deadline=100.0, notice=10)
    raised = False

    def stuck(sent: Sent) -> Reply:
        nonlocal raised
        if sent.target_state == 2 and not raised:
            raised = True
            return "cut"
        return 47502 if raised and sent.target_state < 2 else 0

    world.wechat.script = stuck
    async with world.running():
        await world.reschedule("a", 5.0)
        await world.until(lambda: raised)
        await world.reschedule("a", 500.0)
        await world.complete("a", "m1")
        await world.settled("a")
        assert world.wechat.posts["a", "m1"] == 1, "the member is told with the state the card has"
        assert (await world.card("a")).cannot_lower
        await world.until(lambda: world.wechat.of("a")[-1].members in (None, ()))
    assert [each.verdict for each in await world.failed("a")] == ["not_lowered"]
    assert world.wechat.of("a")[-1].target_state == 2, "and the repair repeats that state"
