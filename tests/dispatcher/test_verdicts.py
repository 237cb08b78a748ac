"""Each verdict's path from the card through the dispatcher to what is published (wechat-api.md §4)."""

from __future__ import annotations

from statemachine.card import phase
from tests.dispatcher.scripted import Reply, Sent
from tests.dispatcher.world import Make, in_virtual_time


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


@in_virtual_time()
async def test_busy_is_tried_again_with_backoff_until_it_works(make: Make) -> None:
    world = await make()
    world.wechat.script = reply(*[-1] * 6, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a", patience=400)
    assert len(world.wechat.calls) == 7
    card = await world.card("a")
    assert (card.attempts, card.doubt_at, phase(card)) == (0, None, "in_sync")


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
    assert (card.state, card.verdict, phase(card)) == ("ended", "expired", "closed")
    (failure,) = await world.failed("a")
    assert (failure.verdict, failure.members) == ("expired", ("m1",))


@in_virtual_time(patience=1_200)
async def test_47501_gets_ten_attempts_in_a_row_and_the_next_revision_tries_again(make: Make) -> None:
    """The card may not have been sent to the chat yet."""
    world = await make()
    world.wechat.script = reply(*[47501] * 10, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a", patience=900)
        assert len(world.wechat.calls) == 10
        card = await world.card("a")
        assert (card.settled, card.verdict, phase(card)) == (2, "unknown_activity", "given_up")
        await world.complete("a", "m2")
        await world.settled("a")
    assert world.wechat.calls[-1].members == ("m1", "m2")
    assert [each.verdict for each in await world.failed("a")] == ["unknown_activity"]


@in_virtual_time(patience=1_200)
async def test_only_answers_in_a_row_count_towards_giving_up(make: Make) -> None:
    """Four of a code that nobody documents, a -1, four again: nobody gives up."""
    world = await make()
    world.wechat.script = reply(*[99_999] * 4, -1, *[99_999] * 4, 0)
    async with world.running():
        await world.open("a")
        await world.complete("a", "m1")
        await world.settled("a", patience=900)
    assert await world.failed("a") == []


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
