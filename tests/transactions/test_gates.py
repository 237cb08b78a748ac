"""Gates closed and opened by hand: until when, why, who; and nothing else moves what a person closed."""

from __future__ import annotations

import msgspec
import pytest

from contracts.times import DAY, MINUTE, SECOND
from contracts.wechat import Verdict
from services.store.operators import Act, Action
from services.transactions.gates import (
    WrongTimeError,
    close_by_hand,
    close_gates_of_unknown,
    open_by_hand,
)
from statemachine.gate import LONGEST_BY_HAND, OPERATOR, UNKNOWN_APP, Gate
from tests.store.benches import START
from tests.store.support import Scene

ACT = Act("key night (API)", "the campaign was a mistake")
UNTIL = START + 10 * MINUTE


async def close(scene: Scene, until: int = UNTIL, appid: str = "wx1") -> list[str]:
    async with scene.store.transaction() as tx:
        return await close_by_hand(tx, [appid, "nobody"], until, ACT)


async def reopen(scene: Scene, *appids: str) -> list[str]:
    async with scene.store.transaction() as tx:
        return await open_by_hand(tx, appids or ["wx1"], Act("bob@desk"))


async def test_no_card_is_claimed_before_its_time_and_all_are_afterwards(scene: Scene) -> None:
    """With its reason; of another app everything goes on."""
    await scene.open("a")
    await scene.open("b", appid="wx2")
    await scene.complete("a", "m")
    await scene.complete("b", "m")
    assert await close(scene) == ["wx1"]
    assert await scene.gate() == Gate("wx1", UNTIL, START, OPERATOR, 0, ACT.why, 1, 10 * MINUTE)
    assert await scene.due() == ["b"]
    await scene.bench.advance(599)
    assert await scene.due() == ["b"]
    await scene.bench.advance(1)
    assert sorted(await scene.due()) == ["a", "b"]
    await scene.deliver("a")
    assert (await scene.gate()).reason == ""


async def test_a_closing_of_days_is_believed(scene: Scene) -> None:
    """Longer than any of WeChat's; one that lies further ahead is what a clock that was set back left."""
    await scene.open("a")
    await scene.complete("a", "m")
    await close(scene, START + LONGEST_BY_HAND)
    assert await scene.due() == []
    await scene.shut("wx1", OPERATOR, START + LONGEST_BY_HAND + DAY)
    assert await scene.due() == ["a"]


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_no_answer_moves_what_a_person_closed(scene: Scene, verdict: Verdict) -> None:
    """Not of a call that was under way; not even to a later time, for another reason."""
    await scene.open("a", life=3 * 86_400)
    await scene.complete("a", "m")
    (claimed,) = await scene.claim("a")
    await close(scene)
    before = await scene.gate()
    await scene.settle(scene.result(claimed, verdict, errcode=1))
    assert await scene.gate() == before


async def test_an_app_that_nobody_names_stays_closed_by_the_person(scene: Scene) -> None:
    """Else its naming would open it; once the time is over the gate is closed as any unknown app's."""
    await scene.open("a")
    await close(scene)
    assert await close_gates_of_unknown(scene.store, ["wx1"], []) == []
    assert await scene.store.open_gates(["wx1"], UNKNOWN_APP) == []
    await scene.bench.advance(600)
    assert await close_gates_of_unknown(scene.store, ["wx1"], []) == ["wx1"]


async def test_a_person_opens_whatever_is_closed(scene: Scene) -> None:
    """Answers to calls from before the closing are known as such afterwards, too."""
    await scene.open("a")
    await scene.complete("a", "m")
    (claimed,) = await scene.claim("a")
    await close(scene)
    assert await reopen(scene) == ["wx1"]
    assert await reopen(scene) == []
    await scene.settle(scene.result(claimed, Verdict.blocked, errcode=48001))
    assert (await scene.gate()).reason == ""


async def test_what_was_done_is_told(scene: Scene) -> None:
    """Newest first, and by app; an opening of an open gate is nothing."""
    await scene.open("a")
    await scene.open("b", appid="wx2")
    await scene.shut("wx2", "blocked", START + MINUTE)
    await close(scene)
    await scene.bench.advance(1)
    await reopen(scene, "wx1", "wx2", "wx3")
    await reopen(scene)
    closed = Action(ACT.who, "close gate", "wx1", "", ACT.why, "until 2026-11-21T08:10:00Z", START)
    opened = Action("bob@desk", "open gate", "wx1", "", "", "was operator", START + SECOND)
    second = msgspec.structs.replace(opened, appid="wx2", said="was blocked")
    found = await scene.store.actions(10)
    assert found[-1] == closed
    assert sorted(found[:2], key=lambda each: each.appid) == [opened, second]
    assert await scene.store.actions(10, ["wx2"]) == [second]
    assert await scene.store.actions(1) == found[:1]
    assert await scene.store.actions(10, []) == []


@pytest.mark.parametrize(("until", "why"), [(START, "past"), (START + LONGEST_BY_HAND + 1, "31 days")])
async def test_a_time_that_cannot_be_is_refused(scene: Scene, until: int, why: str) -> None:
    await scene.open("a")
    with pytest.raises(WrongTimeError, match=why):
        await close(scene, until)
    assert (await scene.gate()).reason == ""
    assert await scene.store.actions(1) == []
