"""What a settle writes beside the happy end: backoff with its cap, a holder that comes too late."""

from __future__ import annotations

import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from services.store.gates import close_gate
from statemachine.plan import Call
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
        await behind.set("a", attempts=9, retry_at=0)
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


async def test_what_counts_against_members_is_the_first_failure_since_the_end_was_known(
    behind: Scene,
) -> None:
    """Not what failed before it, no success, and nothing that says only that the app may not call."""
    failed = []
    for verdict in (Verdict.busy, Verdict.ok, Verdict.token, Verdict.rejected, Verdict.unknown):
        await behind.bench.advance(61)
        if verdict is Verdict.ok:
            await behind.close("a")
            await behind.bench.advance(61)
        failed.append(behind.bench.now)
        (claimed,) = await behind.claim("a")
        assert claimed.end_failed_at == (failed[3] if len(failed) == 5 else None)
        await behind.settle(behind.look(claimed, verdict, call=Call(1, ("x", "y")), more=True))
    shown = await behind.store.show("a")
    assert shown is not None
    assert shown["end_failed_at"] == failed[3]


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
