"""What a settle writes beside the happy end: backoff with its cap, a holder that comes too late."""

from __future__ import annotations

import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from services.store.gates import close_gate
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
