"""Redelivery, in every phase: skipped members are owed again, a card that was given up is tried again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.wechat import Verdict
from services.store.rows import CONFIRMED
from services.transactions.ledger import read_ledger
from services.transactions.redeliver import Redelivered, redeliver
from statemachine.card import CALLING, CLOSED, DUE, GIVEN_UP, IN_SYNC, UNCERTAIN, Phase, phase
from statemachine.plan import Call
from tests.store.support import Scene

AFTER = {IN_SYNC: DUE, DUE: DUE, CALLING: CALLING, UNCERTAIN: DUE, GIVEN_UP: DUE}


async def bring(scene: Scene, where: Phase) -> Any:
    """The card `a` into this phase; `m0` goes with its calls, `m1` is skipped. The last claim."""
    await scene.open("a")
    await scene.complete("a", "m0", "m1")
    await scene.skip("a", "m1")
    claimed: Any = None
    if where is not DUE:
        (claimed,) = await scene.claim("a")
    if where is GIVEN_UP:
        for _ in range(5):
            await scene.settle(scene.result(claimed, Verdict.unknown_code, errcode=1))
            await scene.bench.advance(61)
            (claimed,) = await scene.claim("a") or [claimed]
    elif claimed is not None and where is not CALLING:
        await scene.settle(scene.result(claimed))
    if where is UNCERTAIN:
        await scene.set("a", doubt_at=scene.bench.now)
    if where is CLOSED:
        await scene.close("a")
        await scene.deliver("a")
    assert phase(await scene.card("a")) is where
    return claimed


def test_every_phase_is_asked() -> None:
    """All but closed, which is refused."""
    assert {*AFTER, CLOSED} == set(Phase)


@pytest.mark.parametrize("where", AFTER)
async def test_skipped_members_are_owed_again(scene: Scene, where: Phase) -> None:
    """A new revision makes the card due at once, also where it would have waited; asked twice, once."""
    await bring(scene, where)
    before = await scene.card("a")
    done = await redeliver(scene.store, "a")
    assert done == Redelivered(("m1",), revived=where is GIVEN_UP)
    card = await scene.card("a")
    assert phase(card) is AFTER[where]
    assert card.revision == before.revision + 1
    assert await scene.skipped("a") == []
    assert await redeliver(scene.store, "a") == Redelivered()
    if where is CALLING:
        await scene.bench.advance(31)
    (claimed,) = await scene.claim("a")
    delivered = where in (IN_SYNC, UNCERTAIN)
    assert claimed.call == Call(1, ("m1",) if delivered else ("m0", "m1"))
    await scene.settle(scene.result(claimed))
    assert (await read_ledger(scene.store)).settled


@pytest.mark.parametrize("where", AFTER)
async def test_where_nobody_is_skipped_only_a_card_that_was_given_up_is_tried(
    scene: Scene, where: Phase
) -> None:
    """Elsewhere there is nothing to do, and nothing is done."""
    await bring(scene, where)
    await scene.mark("a", "m1", CONFIRMED)
    before = await scene.card("a")
    done = await redeliver(scene.store, "a")
    assert done == Redelivered(revived=where is GIVEN_UP)
    if where is not GIVEN_UP:
        assert await scene.card("a") == before


async def test_the_call_under_way_settles_its_own_revision(scene: Scene) -> None:
    """Whoever makes it knows nothing of the member; he goes with the next call."""
    claimed = await bring(scene, CALLING)
    await redeliver(scene.store, "a")
    await scene.settle(scene.result(claimed))
    card = await scene.card("a")
    assert (card.revision, card.settled, phase(card)) == (3, 2, DUE)
    assert await scene.owed("a") == ["m1"]


async def test_two_redeliveries_at_once_count_once(scene: Scene) -> None:
    """An impatient operator."""
    await bring(scene, GIVEN_UP)
    done = await asyncio.gather(*(redeliver(scene.store, "a") for _ in range(4)))
    assert sorted(each.revived for each in done) == [False, False, False, True]
    assert (await read_ledger(scene.store)).revisions["pending"] == 1


async def test_nobody_is_sent_after_an_end_that_was_called(scene: Scene) -> None:
    """It was called with an unknown outcome: a member now might follow it."""
    await bring(scene, IN_SYNC)
    await scene.close("a")
    await scene.deliver("a", Verdict.unknown)
    done = await redeliver(scene.store, "a")
    assert (done.members, done.revived) == ((), False)
    assert "end was called" in done.refused


async def test_before_the_end_is_called_members_go_whatever_became_of_others(scene: Scene) -> None:
    """A call for somebody else was never answered, the end waits for it."""
    await bring(scene, IN_SYNC)
    await scene.complete("a", "m2")
    await scene.close("a")
    await scene.deliver("a", Verdict.unknown)
    assert (await redeliver(scene.store, "a")).members == ("m1",)
    (claimed,) = await scene.claim("a")
    assert claimed.call == Call(1, ("m1", "m2"))


async def test_an_end_that_was_given_up_is_tried_again_alone(scene: Scene) -> None:
    """Whoever was skipped stays so: nothing follows an end that may be shown."""
    await bring(scene, IN_SYNC)
    await scene.close("a")
    await scene.deliver("a", Verdict.unknown)
    await scene.bench.advance(1)
    await scene.deliver("a", Verdict.rejected, errcode=47001)
    assert phase(await scene.card("a")) is GIVEN_UP
    assert await redeliver(scene.store, "a") == Redelivered(revived=True)
    (claimed,) = await scene.claim("a")
    assert claimed.call == Call(3)
    await scene.settle(scene.result(claimed))
    assert await scene.skipped("a") == ["m1"]


@pytest.mark.parametrize("why", ["unknown", "unopened", "47504", "dead", "ended"])
async def test_it_is_refused_where_no_call_is_possible(scene: Scene, why: str) -> None:
    """With a sentence that says why, and nothing changes."""
    if why == "ended":
        await bring(scene, CLOSED)
    else:
        await bring(scene, DUE)
    if why == "unopened":
        await scene.complete("new", "m")
    elif why == "47504":
        await scene.deliver("a", Verdict.expired, errcode=47504)
    elif why == "dead":
        await scene.bench.advance(86_400)
    before = await scene.card("a")
    done = await redeliver(scene.store, {"unknown": "x", "unopened": "new"}.get(why, "a"))
    assert done.refused
    assert (done.members, done.revived) == ((), False)
    assert await scene.card("a") == before
