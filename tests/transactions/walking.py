"""One step of a walk: whoever is due is claimed, WeChat is called, and its answer is settled."""

from __future__ import annotations

from typing import Any

from contracts.changes import CardDelivered, CardFailed, decode_change
from contracts.times import SECOND
from contracts.wechat import Verdict
from services.transactions.ledger import read_ledger
from statemachine.card import Phase, phase
from statemachine.plan import Call
from tests.store.support import Scene


async def step(scene: Scene, verdict: Verdict | None = Verdict.ok, **more: Any) -> Call | None:
    """The call that was made for the card `a`; None where it is not due."""
    claimed = await scene.claim("a")
    if not claimed:
        return None
    await scene.settle(scene.result(claimed[0], verdict, **more))
    return claimed[0].call


async def until_due(scene: Scene) -> float:
    """Time passes until the card `a` wants a dispatcher; how many seconds that were."""
    at = (await scene.bench.columns("a")).attempt_at
    assert at is not None
    wait = max(0, at - scene.bench.now)
    await scene.bench.advance(wait / SECOND)
    return wait / SECOND


async def where(scene: Scene) -> Phase:
    """The phase of the card `a`."""
    return phase(await scene.card("a"))


async def told(scene: Scene) -> list[CardDelivered | CardFailed]:
    """What was published about the card `a`, in order."""
    found = [decode_change(row.body.encode()).data for row in await scene.outbox() if row.activity_id == "a"]
    return [each for each in found if isinstance(each, CardDelivered | CardFailed)]


async def failures(scene: Scene) -> list[CardFailed]:
    """Those of them that tell a failure."""
    return [each for each in await told(scene) if isinstance(each, CardFailed)]


async def pending(scene: Scene) -> int:
    """Revisions without a fate; the ledger balances."""
    ledger = await read_ledger(scene.store)
    assert ledger.problems == ()
    return ledger.revisions["pending"]
