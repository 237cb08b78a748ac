"""Permits: open narrow, widen by success, narrow by closing and doubt, leave room for others."""

from __future__ import annotations

from services.dispatcher.metrics import NoMetrics
from services.dispatcher.permits import Permits
from services.store.rows import Gate


def permits(limit: int = 64) -> Permits:
    return Permits(limit, 4, NoMetrics())


def widths(each: Permits, appid: str, successes: int) -> list[int]:
    found = []
    for _ in range(successes):
        permit = each.take(appid)
        each.give(permit)
        each.succeeded(permit)
        found.append(each.room(appid))
    return found


def test_a_gate_opens_narrow_and_each_success_doubles_it_up_to_the_limit() -> None:
    each = permits()
    assert each.room("wx1") == 4
    assert widths(each, "wx1", 6) == [8, 16, 32, 64, 64, 64]


def test_calls_in_flight_take_room() -> None:
    each = permits()
    held = [each.take("wx1") for _ in range(3)]
    assert each.room("wx1") == 1
    each.give(held[0])
    assert each.room("wx1") == 2


def test_a_closing_answer_leaves_no_room_until_the_store_knows_and_then_little() -> None:
    each = permits()
    widths(each, "wx1", 4)
    permit = each.take("wx1")
    each.close(permit)
    each.give(permit)
    assert each.withdrawn(permit)
    assert each.room("wx1") == 0
    each.closed("wx1")
    assert each.room("wx1") == 4


def test_an_app_without_a_secret_is_forgotten_with_its_last_permit() -> None:
    each = permits()
    for name in range(1000):
        appid = f"wx{name}"
        first, second = each.take(appid), each.take(appid)
        for permit in (first, second):
            each.close(permit)
            each.closed(appid)
            each.strange(permit)
        each.give(first)
        assert [*each.rooms()] == [appid]
        each.give(second)
        assert not each.rooms()
    assert each.in_flight == 0


def test_a_success_from_before_the_closing_widens_nothing() -> None:
    each = permits()
    early, closing = each.take("wx1"), each.take("wx1")
    each.close(closing)
    each.give(closing)
    each.closed("wx1")
    each.give(early)
    each.succeeded(early)
    assert each.room("wx1") == 4


def test_a_closing_by_another_process_narrows_once() -> None:
    each = permits()
    widths(each, "wx1", 4)
    each.gate_known(Gate("wx1", closed_until=9, closed_at=5, reason="minute_limit"))
    assert each.room("wx1") == 4
    widths(each, "wx1", 1)
    each.gate_known(Gate("wx1", closed_until=9, closed_at=5, reason="minute_limit"))
    assert each.room("wx1") == 8


def test_unknown_outcomes_halve_down_to_one() -> None:
    each = permits()
    held = [each.take("wx1") for _ in range(4)]
    for permit in held:
        each.give(permit)
        each.doubted(permit)
    assert each.room("wx1") == 1


def test_while_others_are_known_no_app_takes_the_last_slots() -> None:
    each = permits(limit=16)
    widths(each, "hangs", 4)
    each.give(each.take("other"))
    while each.room("hangs"):
        each.take("hangs")
    assert each.in_flight == 12
    assert each.room("other") == 4


def test_alone_an_app_may_use_every_slot() -> None:
    each = permits(limit=16)
    widths(each, "wx1", 4)
    assert each.room("wx1") == 16
