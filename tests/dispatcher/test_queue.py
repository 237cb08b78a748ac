"""The work queue: never two at once, never forgotten, never without bound."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.queue import UNSORTED, WorkQueue

ALWAYS: Callable[[str], int] = lambda _: 1_000  # noqa: E731  # a room without walls


class HandClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> int:
        return int(self.now * 1_000_000)


def queue(cap: int = 100) -> tuple[WorkQueue, HandClock]:
    clock = HandClock()
    return WorkQueue(clock, cap), clock


def take(work: WorkQueue, most: int = 100) -> list[str]:
    return work.take(most, ALWAYS, most)


def park(work: WorkQueue, key: str, app: str) -> None:
    """As a claim does that finds no room for the key."""
    work.add(key)
    assert work.take(0, ALWAYS, 1) == [key]
    work.put_back(key, app, first=False)


def test_a_key_that_waits_is_not_added_twice() -> None:
    work, _ = queue()
    assert work.add("a")
    assert not work.add("a")
    assert take(work) == ["a"]


def test_a_key_in_hand_is_not_taken_again_but_looked_at_again_once_done() -> None:
    work, _ = queue()
    work.add("a")
    take(work)
    work.add("a")
    assert take(work) == []
    assert work.done("a")
    assert take(work) == ["a"]
    assert not work.done("a")
    assert take(work) == []


def test_a_timer_brings_its_key_when_it_is_due_and_not_before() -> None:
    work, clock = queue()
    work.add_after("a", 5.0)
    clock.now = 4.9
    assert take(work) == []
    assert work.next_due() == 5.0 - 4.9
    clock.now = 5.0
    assert take(work) == ["a"]
    assert work.next_due() is None


def test_the_earlier_timer_counts() -> None:
    work, clock = queue()
    work.add_after("a", 5.0)
    work.add_after("a", 2.0)
    work.add_after("a", 9.0)
    clock.now = 2.0
    assert take(work) == ["a"]
    work.done("a")
    clock.now = 20.0
    assert take(work) == []


def test_a_nudge_overtakes_the_timer_and_replaces_it() -> None:
    work, clock = queue()
    work.add_after("a", 5.0)
    work.add("a")
    assert take(work) == ["a"]
    work.done("a")
    clock.now = 6.0
    assert take(work) == []


def test_a_full_queue_drops_and_counts_what_it_does_not_know_yet() -> None:
    work, _ = queue(cap=2)
    assert work.add("a")
    work.add_after("b", 1.0)
    assert not work.add("c")
    work.add_after("d", 1.0)
    assert work.dropped == 2
    assert work.add("b"), "a key with a timer is known"
    assert take(work) == ["a", "b"]
    assert work.add("a"), "a key in hand is known"


def test_an_app_with_more_cards_than_are_remembered_leaves_room_for_the_others() -> None:
    work, _ = queue(cap=20)
    for place in range(100):
        park(work, f"a{place}", "a")
    for place in range(4):
        park(work, f"b{place}", "b")
    park(work, "a-new", "a")
    assert work.add("c")
    assert len(work) == 11
    taken = work.take(100, ALWAYS, 100)
    assert {"b0", "b3", "c", "a0"} <= set(taken)
    assert work.dropped > 0


def test_what_is_urgent_is_not_what_an_overgrown_lane_drops() -> None:
    work, _ = queue(cap=20)
    for place in range(10):
        park(work, f"a{place}", "a")
    work.add("end")
    assert work.take(0, ALWAYS, 1) == ["end"]
    work.put_back("end", "a", first=True)
    assert work.take(1, ALWAYS, 0) == ["end"]
    assert work.dropped == 1


def test_cards_that_back_off_leave_room_for_the_others() -> None:
    work, _ = queue(cap=20)
    for place in range(100):
        work.add_after(f"a{place}", 60.0)
    assert work.add("b")
    assert work.dropped == 90


def test_many_replaced_timers_do_not_pile_up() -> None:
    work, _ = queue()
    for round_ in range(10_000):
        work.add_after("a", 100.0 - round_ / 1_000)
    assert len(work._timers) < 200


def test_apps_are_taken_in_turn_as_far_as_they_have_room() -> None:
    work, _ = queue()
    for key, app in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", "c")):
        park(work, key, app)
    room = {"a": 2, "b": 5, "c": 0}
    assert sorted(work.take(10, lambda app: room[app], 10)) == ["a1", "a2", "b1"]
    assert len(work) == 2


def test_a_lane_without_room_holds_nothing_else_up() -> None:
    work, _ = queue()
    for index in range(50):
        park(work, f"hung{index}", "hung")
    work.add("fresh")
    assert work.take(1, lambda _: 0, 4) == ["fresh"]


def test_what_is_urgent_waits_at_the_head_of_its_lane() -> None:
    work, _ = queue()
    for key in ("x", "y", "z"):
        work.add(key)
    take(work)
    work.put_back("x", "app", first=False)
    work.put_back("y", "app", first=False)
    work.put_back("z", "app", first=True)
    assert work.take(2, ALWAYS, 0) == ["z", "x"]


def test_news_about_a_key_in_a_lane_has_it_looked_at_again() -> None:
    work, _ = queue()
    work.add("x")
    take(work)
    work.put_back("x", "app", first=False)
    work.add("x", resort=False)
    assert work.take(0, ALWAYS, 10) == []
    work.add("x")
    assert work.take(0, ALWAYS, 10) == ["x"]


def test_a_key_that_came_in_while_in_hand_goes_to_the_unsorted_when_put_back() -> None:
    work, _ = queue()
    work.add("x")
    take(work)
    work.add("x")
    work.put_back("x", "app", first=False)
    assert work._lane_of["x"] == UNSORTED


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("add", "after", "take", "done", "back", "tick")),
        st.sampled_from("abcdef"),
        st.integers(0, 4),
    ),
    max_size=80,
)


@given(STEPS)
def test_no_key_is_in_two_hands_and_none_is_forgotten(steps: list[tuple[str, str, int]]) -> None:
    """Against a model: whatever was asked for is handed out afterwards, one hand at a time."""
    work, clock = queue(cap=1_000)
    hand: list[str] = []
    wanted: set[str] = set()
    for what, key, number in steps:
        if what == "add":
            work.add(key)
            wanted.add(key)
        elif what == "after" and key not in hand:
            work.add_after(key, float(number))
            wanted.add(key)
        elif what == "take":
            taken = work.take(number, lambda _, n=number: n, number)  # type: ignore[misc]  # a bound default
            assert not set(taken) & set(hand)
            wanted -= set(taken)
            hand += taken
        elif what in ("done", "back") and hand:
            gone = hand.pop(number % len(hand))
            if what == "done":
                work.done(gone)
            else:
                work.put_back(gone, key, first=bool(number % 2))
                wanted.add(gone)
        elif what == "tick":
            clock.now += number
    for key in hand:
        work.done(key)
    clock.now += 100
    assert wanted <= set(take(work, 1_000))
    assert not work._lane_of
    assert not work._due
