"""Transactions: who waits for whom, what a rollback leaves, what is told as unavailable."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.store.ports import Store, StoreUnavailable, Tx
from services.store.rows import Admission, InboxKey, InboxOutcome, MemberRow, Moved, Writes
from tests.store.benches import START, Bench, rolled_back
from tests.store.support import Scene

KEYS = [InboxKey("/a", f"k{number}") for number in range(20)]


async def _admit(store: Store, keys: list[InboxKey], entered: asyncio.Event | None = None) -> list[Admission]:
    async with store.transaction() as tx:
        answer = await tx.admit(keys, [None] * len(keys))
        if entered:
            entered.set()
            await asyncio.sleep(0)
        return answer


async def test_the_same_keys_admitted_at_once_are_new_exactly_once(bench: Bench) -> None:
    """Two transactions race for the same events: each counts in one of them."""
    other = await bench.another()
    forth, back = await asyncio.gather(_admit(bench.store, KEYS), _admit(other, KEYS[::-1]))
    for one, two in zip(forth, back[::-1], strict=True):
        assert sorted([one, two]) == ["new", "repeat"]


async def test_a_key_whose_first_transaction_failed_is_new_again(bench: Bench) -> None:
    """Nothing of a transaction that was left by an exception stays."""
    async with rolled_back(bench.store) as tx:
        assert await tx.admit(KEYS, [None] * 20) == ["new"] * 20
    assert await _admit(bench.store, KEYS) == ["new"] * 20
    assert await _admit(bench.store, KEYS) == ["repeat"] * 20


@pytest.mark.parametrize("own", [TimeoutError("too slow"), ConnectionRefusedError("a peer")], ids=repr)
async def test_what_whoever_works_in_a_transaction_fails_of_is_not_told_as_the_databases(
    bench: Bench, own: OSError
) -> None:
    """It comes out as it is, nothing of the transaction stays, and the database is no worse for it."""
    with pytest.raises(type(own)) as caught:
        await _admit_and_fail(bench.store, own)
    assert caught.value is own
    assert await _admit(bench.store, KEYS) == ["new"] * 20


async def _admit_and_fail(store: Store, error: Exception) -> None:
    async with store.transaction() as tx:
        assert await tx.admit(KEYS, [None] * 20) == ["new"] * 20
        raise error


async def test_a_dead_key_answers_dead_until_it_has_another_outcome(bench: Bench) -> None:
    """A dead letter that is replayed gets its chance, every time."""
    key = KEYS[0]
    await _admit(bench.store, [key])
    async with bench.store.transaction() as tx:
        await tx.write(Writes(outcomes=[InboxOutcome(*key, "dead", "invalid")]))
    assert await _admit(bench.store, [key, KEYS[1]]) == ["dead", "new"]
    assert await _admit(bench.store, [KEYS[1], key]) == ["repeat", "dead"]  # parallel to the keys
    async with bench.store.transaction() as tx:
        await tx.write(Writes(outcomes=[InboxOutcome(*key, "applied", "")]))
    assert await _admit(bench.store, [key]) == ["repeat"]


async def test_a_dead_key_is_locked_by_whoever_admits_it(bench: Bench) -> None:
    """Of two replays at once one gives it its new outcome, the other finds a repeat."""
    key = KEYS[0]
    await _admit(bench.store, [key])
    async with bench.store.transaction() as tx:
        await tx.write(Writes(outcomes=[InboxOutcome(*key, "dead", "invalid")]))

    async def replay(store: Store) -> Admission:
        async with store.transaction() as tx:
            (answer,) = await tx.admit([key], [None])
            if answer == "dead":
                await tx.write(Writes(outcomes=[InboxOutcome(*key, "applied", "")], counters={"retried": 1}))
        return answer

    answers = await asyncio.gather(*(replay(each) for each in (bench.store, await bench.another())))
    assert sorted(answers) == ["dead", "repeat"]


async def test_a_lock_serialises_an_activity(bench: Bench) -> None:
    """Whoever locks an activity second sees what the first has written."""
    other = await bench.another()
    await Scene(bench).open("a")

    async def raise_done(store: Store) -> None:
        async with store.transaction() as tx:
            activity, card = (await tx.lock(["a"]))["a"]
            await asyncio.sleep(0)
            activity.done += 1
            await tx.write(Writes(activities=[Moved(activity, card, None)]))

    await asyncio.gather(*(raise_done(store) for store in (bench.store, other) * 5))
    async with bench.store.transaction() as tx:
        assert (await tx.lock(["a"]))["a"].activity.done == 10


async def test_a_lock_makes_unopened_rows_for_those_never_seen(bench: Bench) -> None:
    """First sight makes the row that everybody locks, so two first sights meet."""
    other = await bench.another()

    async def see(store: Store, names: list[str]) -> dict[str, str]:
        async with store.transaction() as tx:
            found = await tx.lock(names)
            return {name: row.activity.state for name, row in found.items()}

    names = ["b", "a", "c"]
    both = await asyncio.gather(see(bench.store, names), see(other, names[::-1]))
    assert list(both) == [{"a": "", "b": "", "c": ""}] * 2
    shown = await bench.store.show("a")
    assert shown is not None
    assert shown.seen_at == START


async def test_a_rollback_leaves_no_unopened_row(bench: Bench) -> None:
    """An activity seen by a transaction that failed was never seen."""
    async with rolled_back(bench.store) as tx:
        await tx.lock(["a"])
    assert await bench.store.show("a") is None


async def test_a_rollback_leaves_nothing_of_what_was_written(scene: Scene) -> None:
    """Members, outbox, gates, counters, parked: none outlives its transaction."""
    await scene.open("a")
    before = await scene.counters(), await scene.store.show("a"), await scene.outbox()
    async with rolled_back(scene.store) as tx:
        activity, card = (await tx.lock(["a"]))["a"]
        activity.revision = 7
        await tx.write(
            Writes(
                activities=[Moved(activity, card, 5)],
                members=[MemberRow("a", "m", "done", False, START)],
                outbox=before[2][:1],
                apps=["wx9"],
                counters={"events.taken": 9},
            )
        )
    assert (await scene.counters(), await scene.store.show("a"), await scene.outbox()) == before
    assert [gate.appid for gate in await scene.store.all_gates()] == ["wx1"]


async def test_a_cancelled_transaction_leaves_nothing_and_holds_nothing(bench: Bench) -> None:
    """A task cancelled inside its transaction is a rollback."""
    inside = asyncio.Event()

    async def hold() -> None:
        async with bench.store.transaction() as tx:
            await tx.lock(["a"])
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.store.show("a") is None
    async with asyncio.timeout(4):
        async with bench.store.transaction() as tx:
            assert (await tx.lock(["a"]))["a"].activity.state == ""


def _needs_two_at_once(bench: Bench) -> None:
    if bench.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time: the second transaction does not begin")


async def test_a_card_that_is_locked_is_waited_for(bench: Bench) -> None:
    """By whoever names it; a claim skips it (see test_due.py)."""
    _needs_two_at_once(bench)
    scene, other = Scene(bench), await bench.another()
    await scene.open("a", "b", "c")
    async with bench.store.transaction() as tx:
        await tx.lock(["b"])
        waiting = asyncio.create_task(_cards(other, ["a", "b"]))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == ["a", "b"]


async def _cards(store: Store, names: list[str]) -> list[str]:
    async with store.transaction() as tx:
        return [card.activity_id for card in await tx.lock_cards(names)]


async def test_cards_are_those_of_opened_activities(scene: Scene) -> None:
    """Neither unopened nor unknown activities have a card."""
    await scene.open("a")
    await scene.complete("early", "m")
    assert await _cards(scene.store, ["unknown", "early", "a"]) == ["a"]
    assert await _cards(scene.store, []) == []


async def test_two_rounds_of_due_timers_take_different_activities(bench: Bench) -> None:
    """Two clocks at once share the work; the earliest due go first."""
    _needs_two_at_once(bench)
    scene, other = Scene(bench), await bench.another()
    await scene.feed(*(scene.opened(f"a{n}", deadline=100 + n, notice=0) for n in range(6)))
    await bench.advance(200)
    async with bench.store.transaction() as tx:
        first = [row.activity.activity_id for row in await tx.lock_due(2)]
        async with other.transaction() as second:
            rest = [row.activity.activity_id for row in await second.lock_due(10)]
    assert first == ["a0", "a1"]
    assert rest == ["a2", "a3", "a4", "a5"]


async def test_no_app_waits_for_all_timers_of_another(bench: Bench) -> None:
    """Of every app the earliest, as many as its share of the limit; an app without timers takes no share."""
    scene = Scene(bench)
    await scene.feed(
        *(scene.opened(f"a{n}", appid="many", deadline=100 + n, notice=0) for n in range(6)),
        *(scene.opened(f"b{n}", appid="few", deadline=150 + n, notice=0) for n in range(2)),
        scene.opened("c", appid="none"),
    )
    await bench.advance(200)
    async with bench.store.transaction() as tx:
        shared = [row.activity.activity_id for row in await tx.lock_due(4)]
    async with bench.store.transaction() as tx:
        least = [row.activity.activity_id for row in await tx.lock_due(1)]
    assert sorted(shared) == ["a0", "a1", "b0", "b1"]
    assert least == ["a0"]


async def test_a_deadlock_ends_as_unavailable(bench: Bench) -> None:
    """Two that wait for each other: at least one is told to try again, and then both can."""
    _needs_two_at_once(bench)
    other = await bench.another()
    await Scene(bench).open("a", "b")
    met = asyncio.Barrier(2)

    async def cross(store: Store, first: str, then: str) -> str:
        try:
            async with store.transaction() as tx:
                await tx.lock([first])
                await met.wait()
                await tx.lock([then])
        except StoreUnavailable:
            return "unavailable"
        return "done"

    ends = await asyncio.gather(cross(bench.store, "a", "b"), cross(other, "b", "a"))
    assert "unavailable" in ends
    async with bench.store.transaction() as tx:
        assert len(await tx.lock(["a", "b"])) == 2


@pytest.mark.parametrize("kind", ["lock", "cards"])
async def test_a_row_that_stays_locked_ends_as_unavailable(bench: Bench, kind: str) -> None:
    """Nobody waits for a lock longer than its timeout."""
    _needs_two_at_once(bench)
    other = await bench.another()
    await Scene(bench).open("a", "busy")
    async with bench.store.transaction() as tx:
        await tx.lock(["a"])
        over = asyncio.Event()
        holding = asyncio.create_task(_keep_busy(tx, over))
        with pytest.raises(StoreUnavailable):
            await (_lock(other, "a") if kind == "lock" else _cards(other, ["a"]))
        over.set()  # not cancelled: that would end a statement under way, and the transaction with it
        await holding


async def _lock(store: Store, name: str) -> None:
    async with store.transaction() as tx:
        await tx.lock([name])


async def _keep_busy(tx: Tx, over: asyncio.Event) -> None:
    """The holder goes on asking, so that it is not idle in its transaction."""
    while not over.is_set():
        await tx.now()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), 0.5)


async def test_counters_add_up_over_processes(bench: Bench) -> None:
    """Many transactions in several slots: nothing is lost, whatever the slots."""
    stores = [bench.store, await bench.another(slot=1), await bench.another(slot=0)]

    async def add(store: Store) -> None:
        async with store.transaction() as tx:
            await tx.write(Writes(counters={"b": 1, "a": 2}))

    await asyncio.gather(*(add(store) for store in stores * 7))
    totals, pending, parked, _ = await bench.store.totals()
    assert totals == {"a": 42, "b": 21}
    assert (pending, parked) == (0, 0)


async def test_now_is_the_databases_clock_at_this_moment(bench: Bench) -> None:
    """Inside one transaction time goes on."""
    if bench.kind == "sqlite":
        pytest.skip("the standing clock cannot be moved while the one writer is at work")
    async with bench.store.transaction() as tx:
        assert await tx.now() == START
        await bench.advance(1.5)
        assert await tx.now() == START + 1_500_000
