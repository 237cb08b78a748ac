"""A claim: who gets the card, with what in hand, and what is written before any call is made."""

from __future__ import annotations

import asyncio

import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from services.transactions.claim import Claims, claim
from services.transactions.gates import close_gates_of_unknown
from services.transactions.ledger import read_ledger
from statemachine.gate import PROBED, Passage
from statemachine.plan import Call
from tests.store.benches import START
from tests.store.support import Scene


@pytest.fixture
async def behind(scene: Scene) -> Scene:
    """A scene with the card `a`, behind by one revision; `b` is in sync."""
    await scene.open("a", "b")
    await scene.complete("a", "m1")
    return scene


async def take(scene: Scene, rooms: dict[str, int], *, limit: int = 9, holder: str = "h") -> Claims:
    """One claim, with everything that it tells."""
    return await claim(scene.store, rooms, holder=holder, limit=limit, rules=scene.cards)


async def test_what_is_claimed_is_in_one_hand_until_its_lease_ends(behind: Scene) -> None:
    """With its members, the call to make, a new fence; and nobody else finds it."""
    claims = await take(behind, {"wx1": 9})
    (claimed,) = claims.cards
    assert (claims.found, set(claims.gates)) == (1, {"wx1"})
    assert (claimed.card.activity_id, claimed.call, claimed.at) == ("a", Call(1, ("m1",)), START)
    assert not claimed.more
    assert not claimed.repair
    assert claimed.card == await behind.card("a")
    assert (claimed.card.fence, claimed.card.lease_by) == (1, "h")
    assert claimed.card.lease_until == START + behind.cards.lease
    assert await behind.claim() == []


async def test_a_card_is_claimed_by_one(behind: Scene) -> None:
    """Many claim at once: nobody gets what another has."""
    names = [f"c{n}" for n in range(9)]
    await behind.open(*names)
    for name in names:
        await behind.complete(name, "m")
    other = await behind.bench.another()

    async def some(holder: int) -> list[str]:
        store = other if holder % 2 else behind.store
        claims = await claim(store, {"wx1": 3}, holder=f"h{holder}", limit=3, rules=behind.cards)
        return [each.card.activity_id for each in claims.cards]

    taken = [name for names in await asyncio.gather(*map(some, range(6))) for name in names]
    assert len(taken) == len(set(taken)) > 3
    for name in taken:
        card = await behind.card(name)
        assert (card.fence, card.lease_until) == (1, START + behind.cards.lease)


async def test_what_a_call_may_show_is_written_before_it_is_made(behind: Scene) -> None:
    """Its holder may die with the call under way."""
    await behind.deliver("a")
    await behind.close("a")
    (claimed,) = await behind.claim("a")
    assert claimed.call == Call(3)
    card = await behind.card("a")
    assert (card.shown, card.may_show) == (1, 3)


async def test_a_card_where_nothing_differs_is_delivered_without_a_call(scene: Scene) -> None:
    """Near and open again before anybody looked: both revisions are accounted for."""
    await scene.open("a", deadline=3_600, notice=3_600)
    await scene.feed(scene.event("activity.rescheduled", "a", deadline="2026-11-21T10:00:00Z", notice=60))
    claims = await take(scene, {"wx1": 9})
    assert (claims.cards, claims.found) == ([], 1)
    assert (await scene.card("a")).settled == (await scene.card("a")).revision == 3
    assert (await read_ledger(scene.store)).settled


async def test_a_lapsed_lease_is_a_doubt_and_raises_the_fence(behind: Scene) -> None:
    """Its holder may still be calling: what it settles later is stale."""
    (first,) = await behind.claim("a", holder="h1")
    await behind.bench.advance(29.999999)
    assert await behind.claim(holder="h2") == []
    await behind.bench.advance(0.000001)
    (second,) = await behind.claim("a", holder="h2")
    assert second.card.fence > first.card.fence + 1  # also where the lapse left nothing to call
    assert second.card.doubt_at == behind.bench.now
    (stale,) = await behind.settle(behind.result(first))
    assert stale.stale
    assert (await behind.card("a")).settled == 1
    assert await behind.owed("a") == []  # WeChat has confirmed him, whoever says so
    (good,) = await behind.settle(behind.result(second))
    assert not good.stale
    assert (await behind.card("a")).settled == 2


async def test_a_lapsed_repair_goes_on_being_a_doubt(behind: Scene) -> None:
    """Found lapsed it is in doubt anew, and no call is made before its time."""
    await behind.set("b", doubt_at=START - 30 * SECOND)
    await behind.deliver("a")
    (claimed,) = await behind.claim("b")
    assert claimed.repair
    await behind.bench.advance(31)
    assert await behind.claim() == []
    card = await behind.card("b")
    assert (card.doubt_at, card.lease_until, card.fence) == (behind.bench.now, 0, claimed.card.fence + 1)
    await behind.bench.advance(30)
    (again,) = await behind.claim("b")
    assert again.repair


async def test_a_claim_tells_when_there_will_be_more(behind: Scene) -> None:
    """Not when its limit was used up: there may be more at once."""
    await behind.set("b", doubt_at=START)
    assert (await take(behind, {"wx1": 9}, limit=1)).next_in is None
    found = await take(behind, {"wx1": 9})
    assert (found.cards, found.next_in) == ([], 30 * SECOND)
    assert (await take(behind, {"wx1": 0})).next_in is None


@pytest.mark.parametrize("reason", sorted(PROBED))
async def test_one_claim_of_all_processes_probes_a_gate(behind: Scene, reason: str) -> None:
    """It keeps the gate closed for the others for as long as it may call."""
    names = [f"c{n}" for n in range(4)]
    await behind.open(*names)
    for name in names:
        await behind.complete(name, "m")
    await behind.shut("wx1", reason, START)
    other = await behind.bench.another()
    claims = await asyncio.gather(
        *(
            claim(store, {"wx1": 9}, holder="h", limit=9, rules=behind.cards)
            for store in (behind.store, other) * 3
        )
    )
    (claimed,) = [each for found in claims for each in found.cards]
    assert claimed.passage == Passage(0, reason, probe=START)
    gate = await behind.gate()
    assert (gate.reason, gate.closed_until) == (reason, START + behind.cards.lease)
    await behind.settle(behind.result(claimed))
    assert (await behind.gate()).reason == ""
    assert len(await behind.claim()) == 4


async def test_a_probe_given_back_twice_takes_nobody_elses(behind: Scene) -> None:
    """The commit of the first time was lost; meanwhile another process probes with the same card."""
    await behind.shut("wx1", "token", START)
    (first,) = await behind.claim("a", holder="h")
    given_back = behind.result(first, None)
    await behind.settle(given_back)
    assert (await behind.gate()).closed_until == START
    (second,) = await behind.claim("a", holder="other")
    until = (await behind.gate()).closed_until
    assert until == START + behind.cards.lease
    await behind.settle(given_back)
    assert (await behind.gate()).closed_until == until
    await behind.settle(behind.result(second))
    assert (await behind.gate()).reason == ""


async def test_a_probe_that_makes_no_call_leaves_the_gate_as_it_was(scene: Scene) -> None:
    """The card was delivered without one: the next claim finds out, not one a lease later."""
    await scene.open("a", deadline=3_600, notice=3_600)
    await scene.feed(scene.event("activity.rescheduled", "a", deadline="2026-11-21T10:00:00Z", notice=60))
    await scene.shut("wx1", "token", START)
    assert (await take(scene, {"wx1": 9})).cards == []
    assert (await scene.gate()).closed_until == START
    await scene.complete("a", "m")
    await scene.bench.advance(1)
    assert len(await scene.claim()) == 1


async def test_after_a_limit_a_claim_knows_that_its_answer_may_open_the_gate(behind: Scene) -> None:
    """Once WeChat takes a call of this app the closing is forgotten."""
    await behind.shut("wx1", "minute_limit", START)
    (claimed,) = await behind.claim("a")
    assert claimed.passage == Passage(0, "minute_limit")
    (settled,) = await behind.settle(behind.result(claimed))
    assert settled.gate is not None
    assert (await behind.gate()).reason == ""


async def test_an_app_that_nobody_knows_is_closed_until_it_is_named(behind: Scene) -> None:
    """Once; by whoever looks first."""
    assert await close_gates_of_unknown(behind.store, ["wx1", "wx9"], ["wx9"]) == ["wx1"]
    assert await close_gates_of_unknown(behind.store, ["wx1"], []) == []
    assert await close_gates_of_unknown(behind.store, ["wx1"], ["wx1"]) == []
    assert await behind.claim() == []
    assert await behind.store.open_gates(["wx1"], "unknown_app") == ["wx1"]
    assert (await behind.gate()).generation == 1
    assert len(await behind.claim()) == 1


async def test_a_claim_of_a_card_that_the_release_before_gave_up_begins_anew(behind: Scene) -> None:
    """That release raised it and left the verdict."""
    await behind.deliver("a", Verdict.unknown_code)
    await behind.bench.overwrite("a", verdict="unknown_code", code_attempts=5, attempts=3, retry_at=0)
    (claimed,) = await behind.claim("a")
    assert (claimed.card.verdict, claimed.card.attempts, claimed.card.code_attempts) == ("", 0, 0)
