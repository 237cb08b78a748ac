"""The verbs of the release before and of this one on one database, each carrying on the other's cards."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from contracts.times import SECOND
from contracts.wechat import Verdict
from services.store import migrating
from services.store.open import migrate
from services.transactions.arrivals import Arrival
from services.transactions.ledger import read_ledger
from services.transactions.schedule import schedule
from statemachine.card import CLOSED, DUE, IN_SYNC, phase
from tests.store.benches import START, Bench
from tests.store.support import Scene
from tests.verification.upgrade.conftest import HERE, Release
from tests.verification.upgrade.test_rows import Restored

Old = Callable[..., Awaitable[list[Any]]]
HALF, LATE = 43_200, 86_400
"""Seconds after START: before and at the death of an id."""


class Beside(Restored):
    """An empty store that the release before made and this one migrated, with both at work on it."""

    async def begin(self) -> None:
        clock = f"INSERT INTO standing_clock VALUES ({self.now})"
        await self._run("CREATE TABLE standing_clock (us bigint)", clock)
        await Bench.begin(self)


@pytest.fixture
async def scene(
    store_url: str, release_before: Release, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    """This release on the database that both use."""
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "NEWEST", release_before.schema)
        await migrate(store_url)
    await migrate(store_url)
    bench = Beside(store_url, {"now": START, "tables": {}})
    await bench.begin()
    yield Scene(bench)
    await bench.close()


@pytest.fixture
def old(store_url: str, release_before: Release) -> Old:
    """The release before, there."""

    async def run(*steps: list[Any]) -> list[Any]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, HERE / "before.py", store_url),
            env={**os.environ, "PYTHONPATH": str(release_before.tree)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate(json.dumps(steps).encode())
        assert process.returncode == 0
        told: list[Any] = json.loads(printed)
        return told

    return run


def feed(*arrivals: Arrival) -> list[Any]:
    """The step that feeds these to the release before."""
    return ["feed", *(json.loads(each.record.value or b"") for each in arrivals)]


async def polled(scene: Scene) -> None:
    """What this release's dispatcher does every second about the other's cards."""
    await schedule(scene.store, 100, scene.rules)
    assert await schedule(scene.store, 100, scene.rules) == 0


async def delivered(scene: Scene, verdict: Verdict = Verdict.ok) -> list[tuple[str, int, tuple[str, ...]]]:
    """Poll, claim, call, settle: what was called."""
    await polled(scene)
    taken = await scene.claim()
    await scene.settle(*(scene.result(each, verdict) for each in taken))
    return [(each.card.activity_id, each.call.target_state, each.call.members) for each in taken]


async def balanced(scene: Scene, pending: int = 0) -> None:
    """The books close; nobody wants a dispatcher who is in sync or closed."""
    ledger = await read_ledger(scene.store)
    assert ledger.problems == ()
    assert ledger.revisions["pending"] == pending


async def test_the_old_lifecycle_raises_and_the_new_dispatcher_delivers(scene: Scene, old: Old) -> None:
    """From the first revision to the end, also while this one's own revisions come in between."""
    await old(feed(scene.opened("a"), scene.completed("a", "m1", "m2")))
    assert await scene.claim() == []  # it has no time yet
    assert await delivered(scene) == [("a", 1, ("m1", "m2"))]
    assert phase(await scene.card("a")) == IN_SYNC
    assert (await scene.bench.columns("a")).attempt_at is None
    await scene.bench.advance(5)
    await old(feed(scene.completed("a", "m3")))
    await scene.complete("a", "m4")
    assert await delivered(scene) == [("a", 1, ("m3", "m4"))]
    await old(feed(scene.event("activity.closed", "a")))
    assert await delivered(scene) == [("a", 3, ())]
    assert phase(await scene.card("a")) == CLOSED
    await balanced(scene)


async def test_the_new_lifecycle_raises_and_the_old_dispatcher_delivers(scene: Scene, old: Old) -> None:
    """What it leaves behind is found in sync by the next claim, which makes no call."""
    await scene.open("a")
    await scene.complete("a", "m1")
    assert await old(["deliver", "ok"], ["deliver", "ok"]) == [[["a", 1, ["m1"]]], []]
    assert phase(await scene.card("a")) == IN_SYNC
    assert await delivered(scene) == []
    assert (await scene.bench.columns("a")).attempt_at is None
    await scene.bench.advance(5)
    await scene.complete("a", "m2")
    await scene.close("a")
    assert await old(["deliver", "ok"]) == [[["a", 1, ["m2"]]]]
    assert await old(["deliver", "ok"]) == [[["a", 3, []]]]
    assert phase(await scene.card("a")) == CLOSED
    assert await delivered(scene) == []
    await balanced(scene)


async def test_a_call_of_the_old_dispatcher_in_doubt_is_carried_on(scene: Scene, old: Old) -> None:
    """The members are sent again, and the state is repeated once it is late enough."""
    await scene.open("a")
    await scene.complete("a", "m1")
    assert await old(["deliver", "unknown"]) == [[["a", 1, ["m1"]]]]
    await scene.bench.advance(2)
    assert await delivered(scene) == [("a", 1, ("m1",))]
    assert (await scene.card("a")).doubt_at is not None
    await scene.bench.advance(31)
    assert await delivered(scene) == [("a", 1, ())]
    assert phase(await scene.card("a")) == IN_SYNC
    assert (await scene.counters())["repairs"] == 1
    await balanced(scene)


async def test_a_card_that_the_old_dispatcher_holds_is_left_to_it_until_its_lease_ends(
    scene: Scene, old: Old
) -> None:
    """Then its call is in doubt; also where nobody has polled meanwhile."""
    await scene.open("a", "b")
    await scene.complete("a", "m1")
    assert await old(feed(scene.completed("b", "m1")), ["hold"]) == [{"b": 2}, ["a", "b"]]
    assert await scene.claim() == []
    assert await delivered(scene) == []
    await scene.bench.advance(31)
    assert sorted(await delivered(scene)) == [("a", 1, ("m1",)), ("b", 1, ("m1",))]
    assert (await scene.card("a")).doubt_at == (await scene.card("b")).doubt_at == scene.bench.now
    await balanced(scene)


async def test_a_card_that_the_new_dispatcher_holds_is_left_to_it_until_its_lease_ends(
    scene: Scene, old: Old
) -> None:
    """Whoever settles after that has lost the fence, and leaves a doubt."""
    await scene.open("a")
    await scene.complete("a", "m1")
    (claimed,) = await scene.claim()
    assert await old(["hold"], ["deliver", "ok"]) == [[], []]
    await scene.bench.advance(31)
    assert await old(["deliver", "ok"]) == [[["a", 1, ["m1"]]]]
    (settled,) = await scene.settle(scene.result(claimed))
    assert settled.stale
    await scene.bench.advance(31)
    assert await delivered(scene) == [("a", 1, ())]
    await balanced(scene)


async def test_what_was_given_up_is_tried_again_after_a_revision_of_the_other(scene: Scene, old: Old) -> None:
    """An old revision of a card that this release gave up, and the other way round."""
    await scene.open("a", "b")
    await scene.bench.advance(1)
    scene.cards = type(scene.cards)(unknown_code_attempts=1)
    await scene.complete("a", "m1")
    await scene.deliver("a", Verdict.unknown_code, errcode=-9)
    assert await old(["deliver", "ok"], feed(scene.completed("a", "m2"))) == [[], {"a": 3}]
    assert phase(await scene.card("a")) == DUE
    assert await delivered(scene) == []
    await scene.bench.advance(1)  # at most one plan a second
    assert await delivered(scene) == [("a", 1, ("m1", "m2"))]
    await scene.complete("b", "m1")
    assert await old(["deliver", "unknown_activity"]) == [[["b", 1, ["m1"]]]]
    assert await delivered(scene) == []
    await scene.complete("b", "m2")
    assert await delivered(scene) == [("b", 1, ("m1", "m2"))]
    await balanced(scene)


async def test_the_end_that_the_old_clock_fires_is_closed_at_expiry_by_the_new_one(
    scene: Scene, old: Old
) -> None:
    """Whether a call was owed before it or not: its app's gate is closed, so no dispatcher ever looks."""
    await scene.open("idle", "owing", "called", deadline=HALF)
    await scene.complete("called", "m1")
    await scene.deliver("called")
    await scene.complete("owing", "m1")
    await scene.shut("wx1", "unknown_app", START + 2 * LATE * SECOND)
    await scene.bench.advance(HALF)
    (nudged,) = await old(["tick"])
    assert nudged.keys() == {"idle", "owing", "called"}
    await polled(scene)
    for name in nudged:
        stored = await scene.bench.columns(name)
        assert (stored.due_at, stored.ending) == (START + LATE * SECOND, True), name
    await balanced(scene, pending=7)
    await scene.bench.advance(LATE - HALF)
    assert await old(["tick"]) == [{}]  # the old clock comes first, and empties `due_at` once more
    await polled(scene)
    fired = await scene.tick()
    assert fired.closed == 3
    assert {phase(await scene.card(name)) for name in nudged} == {CLOSED}
    assert await old(["expire"], ["deliver", "ok"]) == [0, []]
    await balanced(scene)


async def test_the_end_that_the_old_lifecycle_tells_is_not_held_back_by_a_throttle(
    scene: Scene, old: Old
) -> None:
    """A card that waits for its next plan waits no more: the poll sees that it is an end."""
    await scene.open("a")
    await scene.complete("a", "m1")
    await scene.deliver("a")
    await scene.complete("a", "m2")
    assert await delivered(scene) == []  # throttled
    await old(feed(scene.event("activity.closed", "a")))
    assert await delivered(scene) == [("a", 1, ("m2",))]
    assert await delivered(scene) == [("a", 3, ())]
    await balanced(scene)


async def test_the_end_that_the_new_clock_fires_is_closed_at_expiry_by_the_old_dispatcher(
    scene: Scene, old: Old
) -> None:
    """And this one has nothing to do then."""
    await scene.open("a", deadline=HALF)
    await scene.complete("a", "m1")
    await scene.bench.advance(HALF)
    assert (await scene.tick()).nudges == {"a": 4}
    await scene.bench.advance(LATE - HALF)
    assert await old(["deliver", "ok"], ["expire"]) == [[], 1]
    assert phase(await scene.card("a")) == CLOSED
    assert (await scene.tick()).closed == 0
    assert await delivered(scene) == []
    await balanced(scene)


async def test_a_doubt_of_the_new_dispatcher_is_repaired_by_the_old_one(scene: Scene, old: Old) -> None:
    """It reads the column under its old name."""
    await scene.open("a")
    await scene.complete("a", "m1")
    assert await delivered(scene, Verdict.unknown) == [("a", 1, ("m1",))]
    assert await delivered(scene) == [("a", 1, ("m1",))]
    assert await old(["deliver", "ok"]) == [[]]
    await scene.bench.advance(30)
    assert await old(["deliver", "ok"]) == [[["a", 1, []]]]
    assert phase(await scene.card("a")) == IN_SYNC
    assert await delivered(scene) == []


async def test_a_wait_of_either_is_a_wait_of_both(scene: Scene, old: Old) -> None:
    """Backing off, throttled, and a gate that is closed for their app."""
    await scene.open("a")
    await scene.complete("a", "m1")
    await scene.deliver("a", Verdict.busy, jitter=0.999999)
    assert await old(["deliver", "ok"]) == [[]]
    await scene.bench.advance(1)
    assert await old(["deliver", "ok"]) == [[["a", 1, ["m1"]]]]
    await scene.complete("a", "m2")
    assert await delivered(scene) == []
    await scene.bench.advance(1)
    assert await old(["deliver", "minute_limit"]) == [[["a", 1, ["m2"]]]]
    until = (await scene.gate()).closed_until
    assert (await scene.gate()).reason == "minute_limit"
    assert await delivered(scene) == []
    await scene.bench.advance((until - scene.bench.now) / SECOND)
    assert await delivered(scene, Verdict.minute_limit) == [("a", 1, ("m2",))]
    assert (await scene.gate()).closed_until > scene.bench.now
    assert await old(["deliver", "ok"]) == [[]]


async def test_a_card_that_wechat_calls_dead_is_closed_for_both(scene: Scene, old: Old) -> None:
    """47504 to a call of this release; what the other hears of it then is late, and raises nothing."""
    await scene.open("a")
    await scene.complete("a", "m1")
    assert await delivered(scene, Verdict.expired) == [("a", 1, ("m1",))]
    await scene.bench.advance(60)
    assert await old(feed(scene.completed("a", "m2")), ["deliver", "ok"], ["expire"]) == [{}, [], 0]
    assert phase(await scene.card("a")) == CLOSED
    assert await delivered(scene) == []
    await balanced(scene)
