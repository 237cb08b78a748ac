"""The limiter: open narrow, widen by success, narrow by closing and doubt, leave room for others."""

from __future__ import annotations

import asyncio
import random

import pytest

from services.dispatcher.limiter import LONGEST_PAUSE, Limiter, Permit
from services.dispatcher.metrics import NoMetrics


class HandClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> int:
        return int(self.now * 1_000_000)


class Alone(Limiter):
    """A limiter whose clock is at hand; `room` asks about one app where `apps` are known."""

    def __init__(self, limit: int = 64, *apps: str) -> None:
        self.clock = HandClock()
        self.known = apps or ("wx1",)
        super().__init__(limit, 4, self.clock, random.Random(1), NoMetrics())

    def room(self, appid: str = "wx1") -> int:
        return self.rooms(self.known)[appid]

    def claimed(self, appid: str = "wx1", generation: int = 0, began: float | None = None) -> Permit:
        """A card whose claim began then, or now."""
        return self.take(appid, generation, self.clock.now if began is None else began)

    def called(self, appid: str = "wx1", generation: int = 0) -> Permit:
        """A call that came back."""
        permit = self.claimed(appid, generation)
        self.give(permit)
        return permit

    def widened(self, successes: int, appid: str = "wx1", generation: int = 0) -> list[int]:
        """The rooms after so many successes."""
        found = []
        for _ in range(successes):
            self.succeeded(self.called(appid, generation))
            found.append(self.room(appid))
        return found


def test_an_app_begins_narrow_and_each_success_doubles_it_up_to_the_limit() -> None:
    each = Alone()
    assert each.room() == 4
    assert each.widened(6) == [8, 16, 32, 96, 96, 96], "at full width half as many wait for a slot"


def test_calls_in_flight_take_room() -> None:
    each = Alone()
    held = [each.claimed("wx1", 0) for _ in range(3)]
    assert (each.room(), each.free) == (1, 93)
    each.give(held[0])
    assert (each.room(), each.free) == (2, 94)


def test_a_closing_answer_leaves_no_room_until_the_store_knows_and_then_little() -> None:
    each = Alone()
    each.widened(4)
    permit = each.called()
    each.close(permit)
    assert each.room() == 0
    each.closed("wx1", 1)
    assert each.room() == 4


def test_what_was_claimed_before_the_closing_is_not_sent_also_once_the_store_knows() -> None:
    each = Alone()
    early, closing = each.claimed("wx1", 0), each.called()
    assert not each.withdrawn(early)
    each.close(closing)
    assert each.withdrawn(early)
    each.closed("wx1", 1)
    assert each.withdrawn(early)
    assert not each.withdrawn(each.claimed("wx1", 1))


def test_two_answers_that_close_leave_no_room_until_both_are_settled() -> None:
    each = Alone()
    for permit in (each.called(), each.called()):
        each.close(permit)
    each.closed("wx1", 1)
    assert each.room() == 0
    each.closed("wx1")
    assert each.room() == 4


def test_a_success_from_before_the_closing_widens_nothing() -> None:
    each = Alone()
    early, closing = each.claimed("wx1", 0), each.called()
    each.close(closing)
    each.closed("wx1", 1)
    each.give(early)
    each.succeeded(early)
    assert each.room() == 4


def test_a_closing_by_another_process_narrows_once() -> None:
    each = Alone()
    each.widened(4)
    permit = each.claimed("wx1", 5)
    assert each.room() == 4 - 1
    each.give(permit)
    assert each.widened(1, generation=5) == [8]
    each.called("wx1", 5)
    assert each.room() == 8


def test_a_generation_that_went_back_is_believed_of_claims_that_began_after_it_was_seen() -> None:
    """The database was restored, or a replica that lacked the last commits took over."""
    each = Alone()
    each.clock.now = 9.0
    each.close(each.called())
    each.closed("wx1", 5)
    assert each.withdrawn(each.claimed(generation=4, began=8.0)), "it was under way, and saw an older gate"
    assert each.withdrawn(each.claimed(generation=4, began=9.0))
    each.clock.now = 10.0
    permit = each.claimed(generation=4)
    assert not each.withdrawn(permit)
    each.succeeded(permit)
    assert each.room() > 4, "its successes widen again"


def test_a_closing_after_the_generation_went_back_withdraws_what_was_claimed_before_it() -> None:
    each = Alone()
    each.called(generation=7)
    each.clock.now = 10.0
    early, closing = each.claimed(generation=3), each.called(generation=3)
    each.clock.now = 11.0
    each.close(closing)
    each.closed("wx1", 4)
    assert each.withdrawn(early)
    assert each.withdrawn(each.claimed(generation=3, began=10.5))
    assert not each.withdrawn(each.claimed(generation=4))


def test_a_closing_before_a_claim_has_told_that_the_generation_went_back() -> None:
    """A card that was claimed meanwhile is not sent; the next claim is believed."""
    each = Alone()
    closing = each.called(generation=7)
    each.clock.now = 11.0
    each.close(closing)
    each.closed("wx1", 4)
    assert each.withdrawn(each.claimed(generation=3, began=10.5))
    each.clock.now = 12.0
    assert not each.withdrawn(each.claimed(generation=4))


def test_unknown_outcomes_halve_down_to_one() -> None:
    each = Alone()
    found = []
    for _ in range(4):
        each.doubted(each.called())
        found.append(each.room())
    assert found == [2, 1, 1, 1]


@pytest.mark.parametrize(("apps", "slots"), [(("hangs", "other"), 12), (("hangs",), 16)])
async def test_while_others_are_known_no_app_takes_the_last_slots(apps: tuple[str, ...], slots: int) -> None:
    """However many cards it has in hand; alone it may use every slot."""
    each = Alone(16, *apps)
    each.widened(4, "hangs")
    waiting, in_slot = [], 0

    async def hang(permit: Permit) -> None:
        nonlocal in_slot
        async with each.slot(permit):
            in_slot += 1
            await asyncio.Event().wait()

    while each.room("hangs"):
        waiting.append(asyncio.create_task(hang(each.claimed("hangs", 0))))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (len(waiting), in_slot) == (24 - 4 * (len(apps) - 1), slots)
    if "other" in apps:
        assert each.room("other") == 4
        async with each.slot(each.claimed("other", 0)):
            pass
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def test_no_room_is_larger_than_what_is_free() -> None:
    each = Alone(6, "a", "b")
    for _ in range(4):
        each.claimed("a", 0)
    assert (each.room("a"), each.room("b"), each.free) == (0, 4, 5)
    for _ in range(4):
        each.claimed("b", 0)
    assert (each.room("a"), each.room("b"), each.free) == (0, 0, 1)


def test_a_pause_leaves_an_app_alone_here_doubles_each_time_and_ends_with_a_success() -> None:
    each = Alone()
    each.widened(4)
    pauses = []
    for _ in range(10):
        permit = each.called()
        pauses.append(each.pause(permit))
        assert each.pause(permit) == pytest.approx(pauses[-1]), "the second of two answers changes nothing"
        assert (each.room(), each.withdrawn(permit)) == (0, True)
        assert each.next_pause_end() == pytest.approx(pauses[-1])
        each.clock.now += pauses[-1]
        assert (each.room(), each.next_pause_end()) == (4, None)
    assert 0.5 <= pauses[0] <= 1.0
    assert all(LONGEST_PAUSE / 2 <= pause <= LONGEST_PAUSE for pause in pauses[6:])
    each.succeeded(each.called())
    assert each.pause(each.called()) <= 1.0
