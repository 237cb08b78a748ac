"""`attempt_at` and `ending`, cell by cell: the columns say what `statemachine.card.attempt_at` says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contracts.times import SECOND
from services.store.rows import Moved, Writes
from services.transactions.schedule import schedule
from statemachine.card import CALLING, CLOSED, DUE, EXPIRED, GIVEN_UP, IN_SYNC, UNCERTAIN, Phase
from statemachine.card import attempt_at as wanted
from statemachine.card import phase as phase_of
from tests.store.benches import START, rolled_back
from tests.store.support import Scene

LATER, LATEST = START + 5 * SECOND, START + 50 * SECOND
NEWS: dict[str, Any] = {"revision": 2, "behind_since": START}
DOUBT: dict[str, Any] = {"doubt_at": START}
END: dict[str, Any] = {**NEWS, "state": "ended"}
CELLS: tuple[tuple[Phase, int | None, dict[str, Any]], ...] = (
    (IN_SYNC, None, {}),
    (IN_SYNC, None, {"retry_at": LATER, "throttled_until": LATER}),
    (DUE, 0, NEWS),
    (DUE, LATER, {**NEWS, "retry_at": LATER}),
    (DUE, LATEST, {**NEWS, "retry_at": LATER, "throttled_until": LATEST}),
    (DUE, LATEST, {**NEWS, "retry_at": LATEST, "throttled_until": LATER}),
    (DUE, LATER, {**NEWS, **DOUBT, "retry_at": LATER}),
    (DUE, LATER, {**NEWS, "verdict": "rejected", "retry_at": LATER}),
    (DUE, LATER, {**END, "retry_at": LATER, "throttled_until": LATEST}),
    (DUE, LATEST, {**END, **DOUBT, "retry_at": LATEST, "end_by": LATER}),
    (CALLING, LATER, {"lease_until": LATER, "retry_at": LATEST}),
    (CALLING, LATER, {**NEWS, **DOUBT, "lease_until": LATER, "throttled_until": LATEST}),
    (CALLING, LATER, {**END, "lease_until": LATER, "retry_at": LATEST}),
    (UNCERTAIN, START + 30 * SECOND, DOUBT),
    (UNCERTAIN, START + 30 * SECOND, {**DOUBT, "retry_at": LATER, "throttled_until": LATEST}),
    (UNCERTAIN, LATEST, {**DOUBT, "retry_at": LATEST}),
    (UNCERTAIN, START + 30 * SECOND, {**DOUBT, "state": "ended", "shown": 3}),
    (GIVEN_UP, None, {"verdict": "rejected", "retry_at": LATER}),
    (GIVEN_UP, None, {"verdict": "unknown_code", **DOUBT}),
    (CLOSED, None, {"state": "ended", "shown": 3, "retry_at": LATER}),
    (CLOSED, None, {"verdict": EXPIRED, **DOUBT}),
)
cells = pytest.mark.parametrize(
    ("where", "at", "values"), CELLS, ids=[f"{each[0]}-{n}" for n, each in enumerate(CELLS)]
)


def test_every_phase_has_a_cell() -> None:
    """Else these tests prove less than they say."""
    assert {where for where, _, _ in CELLS} == set(Phase)


async def _put(scene: Scene, how: str, values: dict[str, Any]) -> None:
    """The card `a` as it would be left by whoever writes it so."""
    scene.contrived = True
    await scene.open("a")
    values = {"settled": 1, **values}
    async with scene.store.transaction() as tx:
        activity, card = (await tx.lock(["a"]))["a"]
        before = msgspec.structs.replace(card)
        for name, value in values.items():
            setattr(card, name, value)
        activity.state, activity.revision = card.state, card.revision
        plain = card if how == "activities" else msgspec.structs.replace(before, state=card.state)
        await tx.write(
            Writes(activities=[Moved(activity, plain, None)])
        )  # its state is not a card's to write
        if how == "cards":
            await tx.write(Writes(cards=[card]))


@cells
@pytest.mark.parametrize("how", ["cards", "activities"])
async def test_whatever_writes_a_card_writes_when_it_wants_a_dispatcher(
    scene: Scene, how: str, where: Phase, at: int | None, values: dict[str, Any]
) -> None:
    """And a claim finds it at that moment, not one microsecond before."""
    await _put(scene, how, values)
    card = await scene.card("a")
    assert (phase_of(card), wanted(card, scene.cards)) == (where, at)
    stored = await scene.bench.columns("a")
    assert (stored.attempt_at, stored.ending) == (at, card.ending)
    if at is None:
        await scene.bench.advance(3_600)
        assert await scene.due() == []
        return
    if at > START:
        await scene.bench.advance((at - START - 1) / SECOND)
        assert await scene.due() == []
        await scene.bench.advance(0.000001)
    assert await scene.due() == ["a"]


@pytest.mark.parametrize("phase", [IN_SYNC, DUE, CALLING, UNCERTAIN])
async def test_a_completion_writes_it_too(scene: Scene, phase: Phase) -> None:
    """By its own, narrower statement; `Scene.balance` compares the columns."""
    await scene.open("a")
    if phase in (DUE, CALLING):
        await scene.complete("a", "m1")
    if phase is CALLING:
        await scene.claim("a")
    if phase is UNCERTAIN:
        await scene.set("a", doubt_at=START)
    await scene.bench.advance(1)
    assert phase_of(await scene.card("a")) is phase
    before = (await scene.bench.columns("a")).attempt_at
    await scene.complete("a", "m2")
    after = (await scene.bench.columns("a")).attempt_at
    if phase in (IN_SYNC, UNCERTAIN):
        assert after == scene.bench.now
    else:
        assert after == before


OLD: dict[str, dict[str, Any]] = {
    "raised": {"revision": 2, "behind_since": START},
    "doubted": {"suspect_at": START},
    "ended": {"state": "ended", "revision": 2, "behind_since": START, "due_at": None},
    "ended, its card due already": {
        "state": "ended", "revision": 2, "behind_since": START, "due_at": None, "attempt_at": START,
    },
}  # fmt: skip


@pytest.mark.parametrize("what", OLD)
async def test_what_the_release_before_wrote_learns_when_it_is_due(scene: Scene, what: str) -> None:
    """It writes neither column, and empties `due_at` when it fires an end. One round is enough."""
    scene.contrived = True
    await scene.open("a", "b")
    await scene.bench.overwrite("a", **OLD[what])
    async with rolled_back(scene.store) as tx:
        assert [row.activity.activity_id for row in await tx.lock_unscheduled(9)] == ["a"]
        assert await tx.lock_unscheduled(0) == []
    assert await schedule(scene.store, 9, scene.rules) == 1
    assert await schedule(scene.store, 9, scene.rules) == 0
    async with scene.store.transaction() as tx:
        assert await tx.lock_unscheduled(9) == []


@pytest.mark.parametrize(
    "values",
    [{"verdict": "rejected", "suspect_at": START}, {"state": "ended", "shown": 3, "due_at": None}, {}],
    ids=["given up", "closed", "in sync"],
)
async def test_what_wants_no_dispatcher_is_not_scheduled(scene: Scene, values: dict[str, Any]) -> None:
    """Nor is an activity that nobody has opened."""
    scene.contrived = True
    await scene.open("a")
    await scene.complete("early", "m")
    if values:
        await scene.bench.overwrite("a", **values)
    async with rolled_back(scene.store) as tx:
        assert await tx.lock_unscheduled(9) == []
