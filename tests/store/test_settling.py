"""What a settle writes beside the happy end: backoff with its cap, a holder that comes too late."""

from __future__ import annotations

import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from services.transactions.claim import redeliver
from services.transactions.gates import close_gate
from statemachine.plan import GONE, Call
from tests.store.support import Scene


@pytest.fixture
async def behind(scene: Scene) -> Scene:
    """A scene with the card `a`, behind by one revision."""
    await scene.open("a")
    await scene.complete("a", "m1")
    return scene


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
        await behind.set("a", attempts=9, failing_since=behind.bench.now, retry_at=0)
        await behind.bench.advance((expires_at - behind.bench.now) / SECOND - left)
        (claimed,) = await behind.claim("a")
        (settled,) = await behind.settle(behind.look(claimed, Verdict.busy, jitter=1.0))
        assert settled.next_in == longest * SECOND


async def test_a_revision_settled_without_a_call_forgets_the_failures_before(behind: Scene) -> None:
    """What it was tried for is no longer wanted: the next try begins anew."""
    await behind.deliver("a", Verdict.busy)
    assert (await behind.card("a")).attempts == 1
    await behind.bench.advance(60)
    (claimed,) = await behind.claim("a")
    await behind.settle(behind.look(claimed, None, call=None))
    card = await behind.card("a")
    assert (card.behind, card.attempts) == (False, 0)


async def test_a_run_of_failures_begins_with_the_first_and_ends_with_a_success(behind: Scene) -> None:
    """What says only that its app may not call neither begins it nor ends it."""
    begun = behind.bench.now
    for verdict, since in (
        (Verdict.token, None),
        (Verdict.busy, begun),
        (Verdict.unknown, begun),
        (Verdict.token, begun),
        (Verdict.rejected, begun),
        (Verdict.unknown_code, begun),
        (Verdict.ok, begun),  # one of those that were rejected together with somebody bad
        (Verdict.ok, None),
    ):
        await behind.set("a", list_limit=0 if since is None else 50, singles=1)
        (claimed,) = await behind.claim("a")
        await behind.settle(behind.look(claimed, verdict, call=Call(1, ("x", "y")), more=True))
        card = await behind.card("a")
        assert (verdict, card.failing_since) == (verdict, since)
        await behind.set("a", retry_at=behind.bench.now)


async def test_what_was_never_sent_says_nothing(behind: Scene) -> None:
    """No token, no connection: it backs off, and nobody was refused. The first that is counts from there."""
    await behind.deliver("a", Verdict.busy, sent=False)
    card = await behind.card("a")
    assert (card.attempts, card.failing_since) == (1, None)
    await behind.deliver("a", Verdict.rejected, call=Call(1, ("x", "y")))
    card = await behind.card("a")
    assert (card.attempts, card.failing_since) == (0, behind.bench.now)


@pytest.mark.parametrize(("verdict", "sent"), [(Verdict.token, True), (Verdict.busy, False)])
async def test_the_pause_after_it_is_no_part_of_a_run_since_the_end(
    behind: Scene, verdict: Verdict, sent: bool
) -> None:
    """But a run from before the end is not carried over it."""
    await behind.deliver("a", Verdict.busy)
    begun = behind.bench.now
    await behind.deliver("a", verdict, sent=sent, jitter=0.5)
    assert (await behind.card("a")).failing_since == begun
    await behind.bench.advance(2)
    await behind.close("a")
    begun = behind.bench.now
    await behind.deliver("a", Verdict.busy, call=Call(1, ("m1",)))
    assert (await behind.card("a")).failing_since == begun
    await behind.deliver("a", verdict, sent=sent, call=Call(1, ("m1",)), jitter=0.5)
    card = await behind.card("a")
    assert card.failing_since == begun + card.retry_at - behind.bench.now > begun


async def test_failures_of_before_the_end_are_forgotten_once_it_is_known(behind: Scene) -> None:
    """The run and its backoff: they say nothing about what comes now."""
    for _ in range(3):
        await behind.deliver("a", Verdict.busy)
    await behind.bench.advance(1)
    await behind.close("a")
    await behind.bench.advance(60)
    (claimed,) = await behind.claim("a")
    assert (claimed.card.failing_since, claimed.card.attempts) == (None, 0)


async def test_the_time_in_which_nobody_tried_is_no_part_of_it(behind: Scene) -> None:
    """From when it was due until it was taken; nor is what a holder that died had it for."""
    begun = behind.bench.now
    await behind.deliver("a", Verdict.busy, jitter=0.5)
    await behind.bench.advance(20.5)
    (claimed,) = await behind.claim("a")
    assert claimed.card.failing_since == begun + 20 * SECOND
    await behind.bench.advance(40)
    (claimed,) = await behind.claim("a")
    assert claimed.lease_expired
    assert claimed.card.failing_since == begun + 60 * SECOND


async def test_an_end_that_was_tried_waits_for_nobody_again(behind: Scene) -> None:
    """Whatever becomes of its holder, however long nobody tries; unless it surely was not applied."""
    await behind.deliver("a")
    await behind.close("a")
    (claimed,) = await behind.claim("a")
    assert claimed.card.failing_since == GONE, "its holder may die with the call under way"
    await behind.settle(behind.look(claimed, Verdict.unknown, call=Call(3)))
    await behind.bench.advance(3600)
    (claimed,) = await behind.claim("a")
    assert claimed.card.failing_since == GONE
    await behind.settle(behind.look(claimed, Verdict.rejected, errcode=47001, call=Call(3)))
    assert (await redeliver(behind.store, "a")).woken
    assert (await behind.card("a")).failing_since == GONE, "WeChat may have applied the first"
    await behind.set("a", suspect_at=None)
    (claimed,) = await behind.claim("a")
    await behind.settle(behind.look(claimed, Verdict.rejected, errcode=47001, call=Call(3)))
    assert (await redeliver(behind.store, "a")).woken
    assert (await behind.card("a")).failing_since is None


async def test_a_lease_that_lapsed_untaken_is_lost_too(behind: Scene) -> None:
    """Nobody could take the card over, its app being closed; the late holder is stale all the same."""
    (late,) = await behind.claim("a", holder="h1")
    await behind.bench.advance(31)
    await close_gate(behind.store, "wx1", "blocked", behind.bench.now + 3600 * SECOND)
    assert await behind.claim("a", holder="h2") == []
    assert (await behind.card("a")).suspect_at == behind.bench.now
    await behind.bench.advance(1)
    (settled,) = await behind.settle(behind.look(late))
    assert settled.stale
    card = await behind.card("a")
    assert (card.settled, card.suspect_at) == (1, behind.bench.now)
