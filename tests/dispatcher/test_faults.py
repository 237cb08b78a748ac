"""Doubt, leases, fences, hanging apps, a store that is away."""

from __future__ import annotations

import asyncio

from contracts.times import SECOND
from statemachine.card import Card, phase
from tests.dispatcher.scripted import Sent
from tests.dispatcher.world import Make, in_virtual_time


def lose_the_fence(card: Card, now: int) -> None:
    """As if the lease had run out and somebody else had come, backed off, and gone."""
    card.fence, card.lease_until, card.lease_by = card.fence + 1, 0, ""
    card.retry_at = now + 3 * SECOND


@in_virtual_time()
async def test_an_unknown_outcome_is_repeated_counted_and_repaired_without_members_30_s_later(
    make: Make,
) -> None:
    world = await make()
    replies: list[int | str] = ["cut", 0, 0]
    world.wechat.script = lambda _: replies.pop(0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: len(world.wechat.calls) == 3)
        await world.settled("a")

        async def trusted() -> bool:
            return (await world.card("a")).doubt_at is None

        await world.until(trusted)
        await asyncio.sleep(120)
    first, repeat, repair = world.wechat.calls
    assert (first.members, repeat.members, repair.members) == (("m1",), ("m1",), ())
    assert repair.target_state == 1
    assert 29.999 <= repair.at - first.over <= 31.0
    totals = await world.totals()
    assert totals["calls.unknown"] == 1
    assert totals["members.repeated"] == 1
    assert totals["repairs"] == 1
    assert totals["calls.made"] == 3


@in_virtual_time()
async def test_an_end_in_doubt_is_delivered_again_though_it_was_confirmed(make: Make) -> None:
    world = await make()
    replies: list[int | str] = ["hang", 0, 0]
    world.wechat.script = lambda _: replies.pop(0)
    async with world.running():
        await world.open("a")
        await world.close("a")
        await world.until(lambda: len(world.wechat.calls) == 3)
    assert [call.target_state for call in world.wechat.calls] == [3, 3, 3]
    assert world.wechat.calls[2].at - world.wechat.calls[0].over >= 29.999


@in_virtual_time()
async def test_doubt_delays_the_repair_and_never_the_news(make: Make) -> None:
    world = await make()
    replies: list[int | str] = ["hang"]
    world.wechat.script = lambda _: replies.pop(0) if replies else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: len(world.wechat.calls) == 2)
        await world.settled("a")
        await world.complete("a", "m2")
        assert await world.settled("a") < 2.0


@in_virtual_time()
async def test_a_doubt_during_the_repair_is_not_cleared_by_it(make: Make) -> None:
    """The repair that is under way may have been sent before what the new doubt is about."""
    world = await make()
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a")
        await world.doubt("a", 31.0)
        await world.until(lambda: len(world.wechat.calls) == 2)
        assert world.wechat.under_way == {"a"}
        await world.doubt("a", 0.0)
        await world.settled("a")
        assert (await world.card("a")).doubt_at is not None
        waited = await world.until(lambda: len(world.wechat.calls) == 3)
        assert waited >= 29.0


@in_virtual_time()
async def test_a_call_that_the_lease_would_not_outlive_is_not_sent(make: Make) -> None:
    world = await make(lease=12.0, call_deadline=10.0)
    world.front.slow = 3.0
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: world.front.claims >= 2)
        assert world.wechat.calls == []
        world.front.slow = 0.0
        await world.settled("a")
    assert len(world.wechat.calls) == 1
    assert (await world.card("a")).doubt_at is None


@in_virtual_time()
async def test_the_lease_is_checked_in_the_same_step_as_the_send(make: Make) -> None:
    """Getting a token may take long: the check comes after it, not before."""
    world = await make(lease=12.0, call_deadline=10.0)
    world.wechat.before_send = 11.0
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await asyncio.sleep(60)
        assert world.wechat.calls == []
        world.wechat.before_send = 0.0
        await world.settled("a")
    assert len(world.wechat.calls) == 1


@in_virtual_time()
async def test_a_settle_that_lost_its_fence_puts_the_card_in_doubt(make: Make) -> None:
    world = await make()
    world.wechat.latency = 2.0
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: world.wechat.under_way)
        await world.change_card("a", lose_the_fence)
        world.nudge({"a": 0})
        await world.settled("a")
        card = await world.card("a")
        assert (phase(card), card.may_show) == ("uncertain", 1)
        assert (await world.totals())["settles.stale"] == 1
        await world.until(lambda: len(world.wechat.calls) == 2)
    assert world.wechat.calls[1].members == (), "whom WeChat confirmed is not told again"
    assert world.wechat.calls[1].at - world.wechat.calls[0].over >= 29.999


@in_virtual_time()
async def test_a_lapsed_lease_puts_the_card_in_doubt_and_the_news_goes_on(make: Make) -> None:
    world = await make()
    await world.open("a")
    await world.complete("a", "m1")
    await world.claim_and_die("a")
    async with world.running():
        assert 29 <= await world.settled("a") <= 37
        assert (await world.card("a")).doubt_at is not None
        waited = await world.until(lambda: len(world.wechat.calls) == 2)
        assert waited >= 29
    assert world.wechat.calls[1].members == ()


@in_virtual_time()
async def test_an_app_that_hangs_does_not_starve_the_others(make: Make) -> None:
    world = await make(in_flight=16)
    world.wechat.hanging = {"wx1"}
    hung = [f"h{number}" for number in range(300)]
    well = [f"w{number}" for number in range(60)]
    async with world.running():
        await world.open(*hung, appid="wx1")
        await world.open(*well, appid="wx2")
        for activity in hung:
            await world.complete(activity, "m1")
        await asyncio.sleep(5)
        for activity in well:
            await world.complete(activity, "m1")
        assert await world.settled(*well) <= 10
        for _ in range(5):
            await asyncio.sleep(10)
            before = len(world.wechat.calls)
            assert world.wechat.now_at_once["wx1"] <= 4
            await world.complete("w0", f"x{before}")
            assert await world.settled("w0") <= 1.5


@in_virtual_time()
async def test_an_app_that_begins_to_hang_is_narrowed(make: Make) -> None:
    world = await make()
    activities = [f"a{number}" for number in range(200)]
    async with world.running():
        await world.open(*activities)
        for activity in activities:
            await world.complete(activity, "m1")
        await world.settled(*activities)
        assert world.wechat.most_at_once["wx1"] > 32
        world.wechat.hanging = {"wx1"}
        for activity in activities:
            await world.complete(activity, "m2")
        await asyncio.sleep(15)
        world.wechat.most_at_once.clear()
        await asyncio.sleep(30)
        assert 1 <= world.wechat.most_at_once["wx1"] <= 2
        world.wechat.hanging = set()
        await world.settled(*activities)
        assert world.wechat.most_at_once["wx1"] > 16


@in_virtual_time()
async def test_what_is_claimed_while_the_gate_closes_is_given_back_unsent(make: Make) -> None:
    world = await make()
    async with world.running():
        await world.open("a", "b")
        world.wechat.script = lambda _: 45011
        world.wechat.latency = 0.3
        await world.complete("a", "m1")
        await world.until(lambda: world.wechat.under_way)
        world.front.slow = 0.3
        await world.complete("b", "m1")
        await asyncio.sleep(1)
        assert [call.activity_id for call in world.wechat.calls] == ["a"]
        card = await world.card("b")
        assert (card.lease_until, card.attempts, card.behind) == (0, 0, True)


@in_virtual_time()
async def test_a_gate_reopens_narrow_and_widens_with_success(make: Make) -> None:
    world = await make()
    activities = [f"a{number}" for number in range(300)]
    limited = [False]
    world.wechat.script = lambda _: 45011 if limited[0] else 0
    async with world.running():
        await world.open(*activities)
        for activity in activities:
            await world.complete(activity, "m1")
        await world.settled(*activities)
        assert world.wechat.most_at_once["wx1"] > 32
        limited[0] = True
        for activity in activities:
            await world.complete(activity, "m2")

        async def closed() -> bool:
            gates = await world.store.all_gates()
            return any(gate.closed_until > world.clock.wall() for gate in gates)

        await world.until(closed)
        await world.until(lambda: not world.wechat.under_way)
        limited[0] = False
        world.wechat.most_at_once.clear()
        seen = len(world.wechat.calls)
        await world.until(lambda: len(world.wechat.calls) > seen)
        first = [call for call in world.wechat.calls[seen:] if call.at == world.wechat.calls[seen].at]
        assert len(first) <= 4
        await world.settled(*activities)
        assert world.wechat.most_at_once["wx1"] > 8
    assert set(world.wechat.posts.values()) == {1}
    assert {(await world.card(each)).attempts for each in activities} == {0}


@in_virtual_time()
async def test_a_store_that_is_away_during_settling_is_waited_for_and_readiness_says_so(make: Make) -> None:
    world = await make()
    async with world.running() as dispatcher:
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: world.wechat.under_way)
        world.front.away = True
        await asyncio.sleep(15)
        assert await dispatcher.ready()
        assert dispatcher.marks()["settler"] > world.clock.monotonic() - 6
        assert len(world.wechat.calls) == 1
        world.front.away = False
        await world.settled("a")

        async def ready() -> bool:
            return await dispatcher.ready() is None

        assert await world.until(ready) <= 6
    assert len(world.wechat.calls) == 1
    assert (await world.card("a")).doubt_at is None


@in_virtual_time()
async def test_a_store_that_stays_away_beyond_the_lease_leaves_the_decision_to_the_fence(make: Make) -> None:
    world = await make()
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.until(lambda: world.wechat.under_way)
        world.front.away = True
        await asyncio.sleep(100)
        world.front.away = False
        await world.settled("a")
        await asyncio.sleep(60)
    assert world.wechat.posts["a", "m1"] <= 2
    assert not (await world.card("a")).behind


@in_virtual_time()
async def test_a_result_that_the_store_refuses_is_given_up_alone(make: Make) -> None:
    world = await make()
    world.front.poison = "b"
    async with world.running():
        await world.open("a", "b", "c")
        for activity in ("a", "b", "c"):
            await world.complete(activity, "m1")
        await world.settled("a", "c", patience=5)
        world.front.poison = ""
        await world.settled("b", patience=60)
        assert (await world.card("b")).doubt_at is not None
    assert [world.wechat.posts[each, "m1"] for each in "abc"] == [1, 2, 1]


@in_virtual_time()
async def test_an_answer_that_closes_a_gate_and_is_refused_by_the_store_does_not_shut_the_app_here(
    make: Make,
) -> None:
    world = await make()
    world.front.poison = "b"
    world.wechat.script = lambda sent: 45011 if sent.activity_id == "b" else 0
    async with world.running():
        await world.open("a", "b")
        await world.complete("b", "m1")
        await world.until(lambda: world.wechat.calls and world.wechat.calls[0].over)
        await world.complete("a", "m1")
        assert await world.settled("a") <= 0.2


@in_virtual_time()
async def test_settling_the_same_result_twice_changes_nothing(make: Make) -> None:
    """The commit went through and only the answer was lost."""
    world = await make()
    world.front.deaf = 1
    world.wechat.script = lambda sent: 47001 if "bad" in (sent.members or ()) else 0
    async with world.running():
        await world.open("a")
        await world.complete("a", "bad")
        await world.settled("a")
        await world.until(lambda: world.front.deaf == 0)
        await asyncio.sleep(2)
    assert (await world.totals())["calls.made"] == 1
    assert len(await world.failed("a")) == 1
    assert (await world.card("a")).doubt_at is None


@in_virtual_time()
async def test_a_card_whose_row_is_locked_by_somebody_is_tried_again_at_the_next_poll(make: Make) -> None:
    world = await make()
    async with world.running():
        await world.open("a")
        await asyncio.sleep(0.5)
        world.front.locked = {"a"}
        await world.complete("a", "m1")
        await asyncio.sleep(0.3)
        world.front.locked = set()
        assert await world.settled("a") <= 1.1


@in_virtual_time()
async def test_a_broken_collaborator_counts_as_an_unknown_outcome(make: Make) -> None:
    world = await make()
    fails = [True]

    def script(_: Sent) -> int:
        if fails.pop() if fails else False:
            raise RuntimeError("a bug")
        return 0

    world.wechat.script = script
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a")
    assert (await world.card("a")).doubt_at is not None
    assert [each.outcome for each in await world.attempts("a")] == ["unknown", "ok"]
