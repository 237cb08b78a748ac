"""The dispatcher's side: candidates, claims, what a fence protects, what can be tried again."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from services.store.rows import SET_ASIDE, MemberMark, Writes
from services.transactions.claim import claim, expire, redeliver
from services.transactions.gates import NEVER, UNKNOWN_APP, close_gate
from services.transactions.ledger import read_ledger
from statemachine.plan import Call
from tests.store.support import START, Scene


async def candidates(scene: Scene, limit: int = 100, per_app: int = 100) -> list[str]:
    """What the sweep finds."""
    return await scene.store.candidates(limit, per_app)


@pytest.fixture
async def behind(scene: Scene) -> Scene:
    """A scene with the card `a`, behind by one revision; `b` is true."""
    await scene.open("a", "b")
    await scene.complete("a", "m1")
    return scene


async def test_a_card_behind_is_a_candidate_and_a_true_one_is_not(behind: Scene) -> None:
    """Until it is delivered."""
    assert await candidates(behind) == ["a"]
    await behind.deliver("a")
    assert await candidates(behind) == []


FUTURE = START + 5 * SECOND
EXCLUSIONS: dict[str, dict[str, Any]] = {
    "throttled": {"look_at": FUTURE},
    "backed off": {"retry_at": FUTURE},
    "leased": {"lease_until": FUTURE},
}


@pytest.mark.parametrize("why", EXCLUSIONS)
async def test_a_card_waits_until_its_time_has_come(behind: Scene, why: str) -> None:
    """Throttled, backed off, leased: not one microsecond early, and not one late."""
    await behind.set("a", **EXCLUSIONS[why])
    await behind.bench.advance(4.999999)
    assert await candidates(behind) == []
    await behind.bench.advance(0.000001)
    assert await candidates(behind) == ["a"]


@pytest.mark.parametrize(("why", "end"), [("throttled", True), ("backed off", False), ("leased", False)])
async def test_the_end_ignores_throttling_and_nothing_else(behind: Scene, why: str, end: bool) -> None:
    """`look_at` does not hold an end back; `retry_at` and a lease do."""
    await behind.close("a")
    await behind.set("a", **EXCLUSIONS[why])
    assert await candidates(behind) == (["a"] if end else [])
    assert [claimed.card.activity_id for claimed in await behind.claim("a")] == (["a"] if end else [])


async def test_a_final_card_is_no_candidate(behind: Scene) -> None:
    """For good."""
    await behind.set("a", final=True)
    assert await candidates(behind) == []


async def test_a_card_whose_id_is_dead_is_no_candidate(behind: Scene) -> None:
    """`expires_at` = now is dead."""
    await behind.bench.advance(86_399.999999)
    assert await candidates(behind) == ["a"]
    await behind.bench.advance(0.000001)
    assert await candidates(behind) == []
    assert await behind.claim("a") == []


async def test_a_closed_gate_hides_its_apps_cards_only(behind: Scene) -> None:
    """Until it opens, by time or by hand."""
    await behind.open("c", appid="wx2")
    await behind.complete("c", "m")
    await close_gate(behind.store, "wx1", "daily_limit", FUTURE)
    assert await candidates(behind) == ["c"]
    assert await behind.claim("a") == []
    await behind.bench.advance(5)
    assert await candidates(behind) == ["a", "c"]
    await close_gate(behind.store, "wx1", UNKNOWN_APP, NEVER)
    assert await candidates(behind) == ["c"]
    assert await behind.store.open_gates(["wx1"], UNKNOWN_APP) == ["wx1"]
    assert await candidates(behind) == ["a", "c"]


async def test_a_dead_card_wakes_with_the_next_revision(behind: Scene) -> None:
    """Dead for this revision: no candidate, until something new is to be told."""
    settled = await behind.deliver("a", Verdict.rejected, call=Call(1))
    assert settled.next_in is None
    card = await behind.card("a")
    assert (card.verdict, card.settled, card.settled_as) == ("rejected", 2, "dead")
    assert await candidates(behind) == []
    await behind.complete("a", "m2")
    assert await candidates(behind) == ["a"]


async def test_a_doubt_is_repaired_after_its_delay_and_news_do_not_wait_for_it(scene: Scene) -> None:
    """A suspect card that is otherwise true comes 30 s after the doubt; a dead one does not."""
    await scene.open("a", "b", "dead")
    await scene.set("a", suspect_at=START)
    await scene.set("dead", suspect_at=START, verdict="rejected")
    await scene.set("b", suspect_at=START)
    await scene.complete("b", "m")
    assert await candidates(scene) == ["b"]
    await scene.bench.advance(29.999999)
    assert await candidates(scene) == ["b"]
    await scene.bench.advance(0.000001)
    assert sorted(await candidates(scene)) == ["a", "b"]
    (claimed,) = await scene.claim("a")
    assert claimed.repair


async def test_ends_go_first_then_apps_take_turns(scene: Scene) -> None:
    """One busy app does not hide the others; within a turn the ends lead."""
    await scene.open("a1", "a2", "a3", "a4", "a5")
    await scene.open("b1", "b2", appid="wx2")
    await scene.open("c1", appid="wx3")
    for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
        await scene.complete(name, "m")
        await scene.bench.advance(1)
    await scene.close("a4")
    await scene.bench.advance(1)
    await scene.close("a5")
    assert await candidates(scene) == ["a4", "a5", "b1", "c1", "b2", "a1", "a2", "a3"]
    assert await candidates(scene, limit=3) == ["a4", "a5", "b1"]
    assert await candidates(scene, per_app=1) == ["a4", "b1", "c1"]


async def test_those_behind_the_longest_go_first_within_an_app(scene: Scene) -> None:
    """Nobody starves behind newer work."""
    await scene.open("z", "y", "x")
    for name in "zyx":
        await scene.complete(name, "m")
        await scene.bench.advance(1)
    assert await candidates(scene) == ["z", "y", "x"]


async def test_a_card_is_claimed_by_one(behind: Scene) -> None:
    """Many claim at once: one gets it, with a new fence and a lease."""
    await behind.open(*(f"c{n}" for n in range(5)))
    names = [f"c{n}" for n in range(5)]
    for name in names:
        await behind.complete(name, "m")
    other = await behind.bench.another()

    async def take(holder: str) -> list[str]:
        store = other if int(holder) % 2 else behind.store
        claims = await claim(
            store, names, holder=holder, limit=3, room={}, default_room=9, rules=behind.cards
        )
        return [each.card.activity_id for each in claims.cards]

    taken = [name for names in await asyncio.gather(*(take(str(n)) for n in range(6))) for name in names]
    assert len(taken) == len(set(taken))
    for name in taken:
        card = await behind.card(name)
        assert (card.fence, card.lease_until) == (1, START + behind.cards.lease)


async def test_a_lapsed_lease_makes_the_card_suspect_and_raises_the_fence(behind: Scene) -> None:
    """Its holder may still be calling: what it settles later is stale, and a doubt."""
    (first,) = await behind.claim("a", holder="h1")
    await behind.bench.advance(29.999999)
    assert await behind.claim("a", holder="h2") == []
    await behind.bench.advance(0.000001)
    (second,) = await behind.claim("a", holder="h2")
    assert second.lease_expired
    assert second.card.fence > first.card.fence
    assert second.card.suspect_at == behind.bench.now
    (stale,) = await behind.settle(behind.look(first))
    assert stale.stale
    assert (await behind.card("a")).settled == 1
    (good,) = await behind.settle(behind.look(second))
    assert not good.stale
    assert (await behind.card("a")).settled == 2
    async with behind.store.transaction() as tx:
        assert await tx.owed(["a"]) == {}


async def test_settling_counts_what_was_jumped_over_and_never_a_later_revision(behind: Scene) -> None:
    """The claimed revision is delivered; what came during the call is pending."""
    await behind.complete("a", "m2")
    (claimed,) = await behind.claim("a")
    await behind.complete("a", "m3")
    (settled,) = await behind.settle(behind.look(claimed))
    assert settled.revision == 4
    card = await behind.card("a")
    assert (card.settled, card.behind) == (3, True)
    revisions = (await read_ledger(behind.store)).revisions
    assert (revisions["superseded"], revisions["pending"], revisions["delivered"]) == (1, 1, 3)
    async with behind.store.transaction() as tx:
        assert [each.group_openid for each in (await tx.owed(["a"]))["a"]] == ["m3"]


async def test_settling_twice_does_nothing(behind: Scene) -> None:
    """The answer to a commit was lost, and the settle is repeated."""
    (claimed,) = await behind.claim("a")
    look = behind.look(claimed)
    await behind.settle(look)
    before = await behind.card("a"), await behind.counters(), await behind.outbox()
    (again,) = await behind.settle(look)
    assert not again.stale
    assert (await behind.card("a"), await behind.counters(), await behind.outbox()) == before


async def test_two_that_settle_the_same_look_at_once_count_it_once(behind: Scene) -> None:
    """Also when they race."""
    (claimed,) = await behind.claim("a")
    await asyncio.gather(*(behind.settle(behind.look(claimed)) for _ in range(3)))
    assert (await behind.counters())["calls.made"] == 1


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_every_verdict_settles_into_a_balanced_ledger(behind: Scene, verdict: Verdict) -> None:
    """Whatever WeChat says: the lease is over, and each revision has one fate."""
    await behind.complete("a", "m2")
    await behind.deliver("a", verdict, errcode=7, errmsg="x", jitter=0.5)
    card = await behind.card("a")
    assert (card.lease_until, card.lease_by) == (0, "")
    await behind.balance()
    await behind.complete("a", "m3")
    await behind.balance()
    await behind.bench.advance(90)
    await behind.claim("a")
    await behind.balance()


async def test_a_card_is_given_back_unharmed_when_nothing_was_learnt(behind: Scene) -> None:
    """No permit, or the process drains: nothing but the fence changes."""
    before = await behind.card("a")
    (claimed,) = await behind.claim("a")
    await behind.settle(behind.look(claimed, None))
    after = await behind.card("a")
    assert msgspec.structs.replace(after, fence=before.fence) == before


async def test_the_books_of_a_dead_id_are_closed(behind: Scene) -> None:
    """What was pending is expired, whoever holds the card has lost it, and the failure is told."""
    (claimed,) = await behind.claim("a")
    await behind.bench.advance(86_400)
    assert await expire(behind.store, 10) == 0  # the clock ends an activity before its books are closed
    await behind.tick()
    assert await expire(behind.store, 10) == 2  # b never showed its end
    assert await expire(behind.store, 10) == 0
    card = await behind.card("a")
    assert (card.final, card.settled_as, card.lease_until) == (True, "expired", 0)
    assert "failed:3:expired" in await behind.changes("a")
    (stale,) = await behind.settle(behind.look(claimed))
    assert stale.stale
    revisions = (await read_ledger(behind.store)).revisions
    assert (revisions["expired"], revisions["superseded"], revisions["pending"]) == (2, 1, 0)


async def test_redelivering_gives_members_set_aside_and_dead_cards_another_chance(behind: Scene) -> None:
    """Twice is as good as once."""
    async with behind.store.transaction() as tx:
        await tx.write(Writes(marks=[MemberMark("a", "m1", SET_ASIDE, False)]))
    await behind.deliver("a")
    assert await candidates(behind) == []
    done = await redeliver(behind.store, "a")
    assert (done.members, done.woken, done.refused) == (("m1",), False, "")
    await behind.balance()
    assert await candidates(behind) == ["a"]
    again = await redeliver(behind.store, "a")
    assert (again.members, again.woken, again.refused) == ((), False, "")
    await behind.deliver("a")
    assert (await read_ledger(behind.store)).settled


async def test_two_redeliveries_at_once_count_once(behind: Scene) -> None:
    """An impatient operator."""
    await behind.deliver("a", Verdict.unknown_activity)
    await behind.set("a", final=False)
    done = await asyncio.gather(*(redeliver(behind.store, "a") for _ in range(4)))
    assert sorted(each.woken for each in done) == [False, False, False, True]
    assert (await read_ledger(behind.store)).revisions["pending"] == 1


async def test_redelivery_waits_for_the_call_under_way(behind: Scene) -> None:
    """Whoever makes it knows nothing of the members, and settles the revision without them."""
    async with behind.store.transaction() as tx:
        await tx.write(Writes(marks=[MemberMark("a", "m1", SET_ASIDE, False)]))
    (claimed,) = await behind.claim("a")
    assert (await redeliver(behind.store, "a")).refused
    await behind.settle(behind.look(claimed))
    assert (await redeliver(behind.store, "a")).members == ("m1",)
    assert await candidates(behind) == ["a"]


async def test_redelivery_sends_nobody_after_an_end_that_may_be_shown(behind: Scene) -> None:
    """The end was called with an unknown outcome: a member now might follow it."""
    async with behind.store.transaction() as tx:
        await tx.write(Writes(marks=[MemberMark("a", "m1", SET_ASIDE, False)]))
    await behind.close("a")
    await behind.deliver("a", Verdict.unknown)
    assert (await redeliver(behind.store, "a")).refused


async def test_redelivery_before_the_end_sends_members_whatever_became_of_others(behind: Scene) -> None:
    """A call for somebody else was never answered, the end waits for it and was not called."""
    await behind.complete("a", "m2")
    async with behind.store.transaction() as tx:
        await tx.write(Writes(marks=[MemberMark("a", "m1", SET_ASIDE, False)]))
    await behind.close("a")
    await behind.deliver("a", Verdict.unknown, call=Call(1, ("m2",)))
    assert (await behind.card("a")).failing_since is not None
    assert (await redeliver(behind.store, "a")).members == ("m1",)
    assert (await behind.card("a")).failing_since is None


async def test_redelivery_wakes_a_repair_that_was_given_up_after_the_end(behind: Scene) -> None:
    """A late call may have turned the card back: the end is shown once more."""
    await behind.deliver("a")
    await behind.close("a")
    await behind.deliver("a")
    now = behind.bench.now
    await behind.set("a", suspect_at=now - 60 * SECOND, verdict="unknown_code")
    assert await candidates(behind) == []
    assert (await redeliver(behind.store, "a")).woken
    assert await candidates(behind) == ["a"]
    (claimed,) = await behind.claim("a")
    assert claimed.repair
    await behind.balance()


async def test_redelivery_of_such_a_repair_names_nobody_who_was_set_aside(behind: Scene) -> None:
    """Nothing goes after the end that is shown: they would only be left out once more."""
    await behind.deliver("a")
    async with behind.store.transaction() as tx:
        await tx.write(Writes(marks=[MemberMark("a", "m1", SET_ASIDE, False)]))
    await behind.close("a")
    await behind.deliver("a")
    await behind.set("a", suspect_at=behind.bench.now - 60 * SECOND, verdict="unknown_code")
    done = await redeliver(behind.store, "a")
    assert (done.members, done.woken) == ((), True)


@pytest.mark.parametrize("why", ["unknown", "unopened", "final", "dead", "ended"])
async def test_redelivery_is_refused_where_no_call_is_possible(behind: Scene, why: str) -> None:
    """With a text that says why."""
    if why == "unopened":
        await behind.complete("new", "m")
    elif why == "final":
        await behind.deliver("a", Verdict.expired)
    elif why == "dead":
        await behind.bench.advance(86_400)
    elif why == "ended":
        await behind.deliver("a")
        await behind.close("a")
        await behind.deliver("a")
    done = await redeliver(behind.store, {"unknown": "x", "unopened": "new"}.get(why, "a"))
    assert done.refused
    assert (done.members, done.woken) == ((), False)
