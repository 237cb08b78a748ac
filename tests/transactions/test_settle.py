"""What a settle writes: one fate for each revision, once; waits; gates."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from contracts.changes import CardDelivered, CardFailed, decode_change
from contracts.times import SECOND
from contracts.wechat import Verdict
from services.transactions.ledger import read_ledger
from services.transactions.settle import settle
from statemachine.card import CLOSED, UNCERTAIN, phase
from statemachine.plan import Call
from tests.store.benches import START
from tests.store.support import Scene
from tests.transactions.walking import failures


@pytest.fixture
async def behind(scene: Scene) -> Scene:
    """A scene with the card `a`, behind by one revision."""
    await scene.open("a")
    await scene.complete("a", "m1")
    return scene


async def test_settling_counts_what_was_jumped_over_and_never_a_later_revision(behind: Scene) -> None:
    """The claimed revision is delivered; what came during the call is pending."""
    await behind.complete("a", "m2")
    (claimed,) = await behind.claim("a")
    await behind.complete("a", "m3")
    (settled,) = await behind.settle(behind.result(claimed))
    assert settled.delivered
    assert settled.next_in == behind.cards.coalesce
    card = await behind.card("a")
    assert (card.settled, card.revision, card.behind) == (3, 4, True)
    revisions = (await read_ledger(behind.store)).revisions
    assert (revisions["superseded"], revisions["pending"], revisions["delivered"]) == (1, 1, 2)
    assert await behind.owed("a") == ["m3"]


async def test_settling_twice_does_nothing(behind: Scene) -> None:
    """The answer to a commit was lost, and the settle is repeated."""
    (claimed,) = await behind.claim("a")
    result = behind.result(claimed)
    await behind.settle(result)
    before = await behind.card("a"), await behind.counters(), await behind.outbox()
    (again,) = await behind.settle(result)
    assert not again.stale
    assert (await behind.card("a"), await behind.counters(), await behind.outbox()) == before


async def test_the_same_result_settled_at_once_counts_once(behind: Scene) -> None:
    """Also when they race."""
    (claimed,) = await behind.claim("a")
    other = await behind.bench.another()
    result = behind.result(claimed)
    await asyncio.gather(*(settle(store, [result], behind.cards) for store in (behind.store, other) * 2))
    assert (await behind.counters())["calls.made"] == 1


@pytest.mark.parametrize("verdict", [None, *Verdict])
async def test_every_verdict_settles_into_a_balanced_ledger(behind: Scene, verdict: Verdict | None) -> None:
    """Whatever WeChat says: the lease is over, and each revision has one fate."""
    await behind.complete("a", "m2")
    await behind.deliver("a", verdict, errcode=7, errmsg="x", jitter=0.5)
    card = await behind.card("a")
    assert (card.lease_until, card.lease_by) == (0, "")
    await behind.balance()
    await behind.complete("a", "m3")
    await behind.balance()
    await behind.bench.advance(90)
    await behind.claim()
    await behind.balance()


async def test_a_card_is_given_back_unharmed_when_nothing_was_learnt(behind: Scene) -> None:
    """The process drains: nothing but the fence changes."""
    before = await behind.card("a")
    await behind.deliver("a", None)
    after = await behind.card("a")
    assert msgspec.structs.replace(after, fence=before.fence) == before


async def test_many_are_settled_in_one_transaction(scene: Scene) -> None:
    """Each by its own fence; one that was deleted meanwhile is left alone, and the answer is parallel."""
    names = [f"a{n}" for n in range(5)]
    await scene.open(*names)
    for name in names:
        await scene.complete(name, "m")
    claimed = await scene.claim()
    gone = msgspec.structs.replace(claimed[0], card=msgspec.structs.replace(claimed[0].card, activity_id="x"))
    verdicts = (Verdict.ok, Verdict.busy, Verdict.unknown, Verdict.expired, Verdict.minute_limit)
    results = [scene.result(each, verdict) for each, verdict in zip(claimed, verdicts, strict=True)]
    settled = await scene.settle(*results, scene.result(gone))
    assert [each.activity_id for each in settled] == [*(each.card.activity_id for each in claimed), "x"]
    assert [each.stale for each in settled] == [False] * 5 + [True]
    assert [each.gate is not None for each in settled] == [False] * 4 + [True, False]


@pytest.mark.parametrize("verdict", [Verdict.busy, Verdict.unknown])
async def test_backoff_doubles_from_a_second_to_a_minute_and_stays(behind: Scene, verdict: Verdict) -> None:
    """With full jitter: half a chance gives half of each wait."""
    waits = []
    for _ in range(9):
        settled = await behind.deliver("a", verdict, jitter=0.5)
        assert settled.next_in is not None
        waits.append(settled.next_in / SECOND)
        await behind.bench.advance(60)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_backoff_leaves_time_for_another_try_before_the_id_dies(behind: Scene) -> None:
    """However often it failed: at most a quarter of what is left, and never less than the first wait."""
    expires_at = (await behind.card("a")).expires_at
    for left, longest in ((300, 60), (120, 30), (20, 5), (2, 1)):
        await behind.set("a", attempts=9, retry_at=0)
        await behind.bench.advance((expires_at - behind.bench.now) / SECOND - left)
        settled = await behind.deliver("a", Verdict.busy, jitter=1.0)
        assert settled.next_in == longest * SECOND


async def test_news_shorten_no_wait_and_the_end_ends_it(behind: Scene) -> None:
    """The end, once known, begins its own run of attempts."""
    await behind.set("a", attempts=5)
    await behind.deliver("a", Verdict.busy, jitter=1.0)
    waits = (await behind.card("a")).retry_at
    await behind.complete("a", "m2")
    assert (await behind.card("a")).retry_at == waits == START + 32 * SECOND
    await behind.bench.advance(1)
    await behind.close("a")
    card = await behind.card("a")
    assert (card.attempts, card.retry_at) == (0, behind.bench.now)
    settled = await behind.deliver("a", Verdict.busy, jitter=1.0)
    assert settled.next_in == SECOND


async def test_a_late_answer_to_an_end_that_is_shown_reopens_the_card(behind: Scene) -> None:
    """Frozen with a call for 1, its holder sends it after the end: the end is shown again, or the card is
    closed when its id dies, though the clock had nothing more noted for it."""
    (late,) = await behind.claim("a", holder="frozen")
    await behind.close("a")
    await behind.bench.advance(31)
    await behind.deliver("a")  # m1
    await behind.deliver("a")  # the end
    await behind.bench.advance(31)
    await behind.deliver("a")  # and once more, for the doubt that the lapse was
    assert phase(await behind.card("a")) is CLOSED
    await behind.complete("a", "too late")
    assert (await behind.bench.columns("a")).due_at is None
    (stale,) = await behind.settle(behind.result(late))
    assert stale.stale
    assert phase(await behind.card("a")) is UNCERTAIN
    assert stale.next_in == 30 * SECOND
    assert await behind.store.next_due() == START + 86_400 * SECOND - behind.bench.now
    await behind.shut("wx1", "unknown_app", START + 2 * 86_400 * SECOND)
    await behind.bench.advance(86_400)
    assert (await behind.tick()).closed == 1
    assert phase(await behind.card("a")) is CLOSED


async def test_two_limits_at_once_never_shorten_each_other(behind: Scene) -> None:
    """45009 for the day and 45011 for the minute answer two calls of one app: the day stays closed,
    whichever is settled later, by whichever process."""
    await behind.open("b")
    await behind.complete("b", "m")
    other = await behind.bench.another()
    for order in ((0, 1), (1, 0)):
        await behind.store.open_gates(["wx1"], None)
        one, two = sorted(await behind.claim(), key=lambda each: each.card.activity_id)
        day = behind.result(one, Verdict.daily_limit, errcode=45009)
        minute = behind.result(two, Verdict.minute_limit, errcode=45011)
        pairs = [(behind.store, day), (other, minute)]
        for place in order:
            store, result = pairs[place]
            await settle(store, [result], behind.cards)
        gate = await behind.gate()
        assert (gate.reason, gate.errcode) == ("daily_limit", 45009)
        assert gate.closed_until == START + 8 * 3_600 * SECOND  # midnight in Shanghai
        assert gate.generation == {(0, 1): 1, (1, 0): 2}[order]
    await behind.store.open_gates(["wx1"], None)
    one, two = await behind.claim()
    day, minute = behind.result(one, Verdict.daily_limit), behind.result(two, Verdict.minute_limit)
    await asyncio.gather(settle(behind.store, [day], behind.cards), settle(other, [minute], behind.cards))
    assert (await behind.gate()).reason == "daily_limit"


async def test_the_members_of_a_request_that_was_wrong_are_owed_again(scene: Scene) -> None:
    """Three rejected alone and then the state alone: not they were to blame."""
    await scene.open("a")
    await scene.complete("a", "m1", "m2", "m3", "m4")
    for expected in (("m1", "m2", "m3", "m4"), ("m1", "m2"), ("m1",), ("m2",), ("m3",), ()):
        (claimed,) = await scene.claim("a")
        assert claimed.call == Call(1, expected)
        await scene.settle(scene.result(claimed, Verdict.rejected, errcode=40003))
    assert await scene.skipped("a") == []
    assert await scene.owed("a") == ["m1", "m2", "m3", "m4"]
    assert (await scene.card("a")).verdict == "rejected"
    told = [decode_change(row.body.encode()).data for row in await scene.outbox()]
    failed = [each.members or None for each in told if isinstance(each, CardFailed)]
    assert failed == [("m1",), ("m2",), ("m3",), None]


async def test_whom_a_late_answer_confirmed_is_told_just_once(scene: Scene) -> None:
    """A frozen dispatcher wakes after its lease, and whoever took the card over dies without a call; or calls
    for the same members, and is answered before or after."""
    for name in ("dies", "before", "after"):
        await scene.open(name)
        await scene.complete(name, "m1", "m2")
    frozen = {each.card.activity_id: scene.result(each) for each in await scene.claim(holder="h1")}
    await scene.bench.advance(scene.cards.lease / SECOND)
    taken = {each.card.activity_id: scene.result(each) for each in await scene.claim(holder="h2")}
    assert frozen.keys() == taken.keys() == {"dies", "before", "after"}
    assert [late.stale for late in await scene.settle(frozen["dies"], frozen["before"])] == [True, True]
    await scene.settle(taken["before"], taken["after"])
    await scene.settle(frozen["after"])
    await scene.bench.advance(scene.cards.lease / SECOND)
    await scene.claim(holder="h3")
    assert {name: await _delivered(scene, name) for name in frozen} == {name: ["m1", "m2"] for name in frozen}


async def test_whom_a_late_answer_confirms_does_not_fail_with_the_card_that_closes_beside_it(
    scene: Scene,
) -> None:
    """Both answers are settled together: the late one first, then WeChat's word that the id is dead."""
    await scene.open("a")
    await scene.complete("a", "m1")
    (frozen,) = await scene.claim("a", holder="h1")
    await scene.bench.advance(scene.cards.lease / SECOND)
    await scene.complete("a", "m2")
    (taken,) = await scene.claim("a", holder="h2")
    dead = scene.result(taken, Verdict.expired, errcode=47504)
    await scene.settle(scene.result(frozen), dead)
    assert await _delivered(scene, "a") == ["m1"]
    assert [(each.verdict, each.members) for each in await failures(scene)] == [("expired", ("m2",))]


async def _delivered(scene: Scene, activity: str) -> list[str]:
    """Members as they were told."""
    changes = [decode_change(row.body.encode()) for row in await scene.outbox()]
    told = [each.data for each in changes if each.activity_id == activity]
    return [member for each in told if isinstance(each, CardDelivered) for member in each.members]


async def test_whom_the_end_left_out_and_a_late_answer_confirmed_is_told_at_once(behind: Scene) -> None:
    """No revision follows that could tell it; the answer may be settled twice."""
    (late,) = await behind.claim("a")
    await behind.close("a")
    for _ in range(2):  # the first begins the end's wait for members; nobody settles either
        await behind.bench.advance(behind.cards.lease / SECOND + 1)
        await behind.claim("a", holder="h2")
    await behind.bench.advance((behind.cards.end_wait + behind.cards.lease) / SECOND)
    await behind.deliver("a")
    assert (await behind.card("a")).shown == 3
    assert await behind.skipped("a") == ["m1"]
    for _ in range(2):
        await behind.settle(behind.result(late))
    assert await _delivered(behind, "a") == ["m1"]
    assert await behind.skipped("a") == []


async def test_a_doubt_takes_back_nothing_that_a_late_answer_confirmed(behind: Scene) -> None:
    """Both called for the same member."""
    (late,) = await behind.claim("a")
    await behind.bench.advance(behind.cards.lease / SECOND)
    (taken,) = await behind.claim("a", holder="h2")
    await behind.settle(behind.result(late))
    await behind.settle(behind.result(taken, Verdict.unknown))
    assert await behind.owed("a") == []


async def test_what_a_plan_had_confirmed_when_the_id_died_is_told(scene: Scene) -> None:
    """The rest is told as expired."""
    await scene.open("a", life=100)
    await scene.complete("a", *(f"m{number:03}" for number in range(150)))
    await scene.deliver("a")
    await scene.bench.advance(101)
    await scene.tick()  # it ends
    await scene.tick()  # its card is closed
    told = [decode_change(row.body.encode()).data for row in await scene.outbox()]
    (delivered,) = [each for each in told if isinstance(each, CardDelivered)]
    (failed,) = [each for each in told if isinstance(each, CardFailed)]
    assert (len(delivered.members), delivered.calls, failed.verdict) == (100, 1, "expired")
    assert {*delivered.members, *(failed.members or ())} == {f"m{number:03}" for number in range(150)}
