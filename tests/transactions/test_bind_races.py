"""Two lifecycles and a gateway on PostgreSQL: who is named while he becomes known is told exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from contracts.events import Event, Room
from services.store import postgres as postgres_module
from services.store.open import open_store
from services.store.ports import Store, StoreUnavailable
from services.store.rooms import BindingKey
from services.store.rows import EVENTS, SHARDS
from services.store.sql import SqlStore
from services.transactions.apply import apply
from services.transactions.arrivals import Arrival, read_arrival
from services.transactions.bind import bind
from statemachine.model import Rules
from tests.store.benches import STANDING, PostgresBench
from tests.store.support import Scene
from tests.transactions.interleaver import Conductor, GatedRun, Session

pytestmark = pytest.mark.postgres

ROOM = Room(opengid="g-1")
PEOPLE = [f"p{number:02}" for number in range(12)]
ROUNDS = 6
SEEDS = range(24)


@pytest.fixture
async def scene(postgres: PostgresBench) -> AsyncIterator[Scene]:
    """Two activities of a room, in which nobody is known."""
    made = Scene(postgres)
    await made.open("a", "b", room={"opengid": "g-1"})
    yield made
    await made.balance()


def done(scene: Scene, *people: str) -> list[Arrival]:
    """One completion in each activity, by openid."""
    openids = [f"o-{each}" for each in people]
    return [scene.event("participant.completed", name, openids=openids) for name in ("a", "b")]


async def patiently(store: Store, arrivals: list[Arrival]) -> None:
    """A batch in; a deadlock is no reason to give up."""
    while True:
        try:
            await apply(store, arrivals, Rules())
        except StoreUnavailable:
            continue
        return


async def told(scene: Scene) -> int:
    """What waited is taken in, as from the topic; how many events that were."""
    rows = [row for row in await scene.store.outbox(range(SHARDS), 10_000) if row.topic == EVENTS]
    arrivals = [read_arrival(scene.record(row.body.encode())) for row in rows]
    assert all(isinstance(each.content, Event) for each in arrivals)
    await scene.store.delete_outbox([row.seq for row in rows])
    applied = await scene.feed(*arrivals)
    assert (sum(applied.outcomes.values()), applied.repeats) == (len(rows), 0)
    return len(rows)


async def test_lifecycles_that_race_a_binding_lose_nobody_and_tell_nobody_twice(scene: Scene) -> None:
    """Round after round new people are named, by both lifecycles at once, while they become known."""
    one, other, gateway = [await scene.bench.another(slot=slot) for slot in (1, 2, 3)]
    waited = 0
    for round_ in range(ROUNDS):
        people = [f"{round_}-{each}" for each in PEOPLE]

        async def become(people: list[str] = people) -> None:
            for each in people:
                await bind(gateway, "wx1", ROOM, f"o-{each}", each)

        async def name(store: Store, people: list[str]) -> None:
            for place in range(0, len(people), 3):
                await patiently(store, done(scene, *people[place : place + 3]))

        await asyncio.gather(name(one, people), name(other, people[::-1]), become())
        waited += await told(scene)
        for activity in ("a", "b"):
            shown = await scene.store.show(activity)
            assert shown is not None
            assert shown.activity.done == shown.members.owed == (round_ + 1) * len(PEOPLE)
    *_, unbound = await scene.store.totals()
    assert unbound == 0
    assert waited > 0


@pytest.fixture
async def conductor(postgres: PostgresBench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Conductor]:
    """A lifecycle and a gateway, one statement at a time."""
    monkeypatch.setattr(postgres_module, "DriverRun", GatedRun)
    sessions = []
    for name in ("lifecycle", "gateway"):
        store = await open_store(postgres.url, slot=1, pool=1, now=STANDING)
        async with store.engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            sessions.append(Session(name, store, driver.get_server_pid()))
    yield Conductor((sessions[0], sessions[1]), postgres.admin)
    for session in sessions:
        await session.store.close()


async def test_every_order_of_their_statements_tells_once(scene: Scene, conductor: Conductor) -> None:
    """A person whom nobody has seen, one who was seen, one who is bound as another: event against binding."""
    waits, fates = 0, set()
    for seed in SEEDS:
        who = f"s{seed}"
        if seed % 3 == 1:  # named before, so his row is there
            await patiently(scene.store, [scene.event("participant.completed", "b", openids=[f"o-{who}"])])
        elif seed % 3 == 2:
            await bind(scene.store, "wx1", ROOM, f"o-{who}", f"{who}-before")

        async def name(store: SqlStore, who: str = who) -> None:
            await apply(store, [scene.event("participant.completed", "a", openids=[f"o-{who}"])], Rules())

        async def become(store: SqlStore, who: str = who) -> int:
            return await bind(store, "wx1", ROOM, f"o-{who}", who)

        _, over = await conductor.play(seed, name, become)
        waits += conductor.waits
        assert await told(scene) == over, conductor.story
        owed = [
            each
            for each in await scene.owed("a")
            if each.startswith(who) and each[len(who) :][:1] in ("", "-")
        ]
        assert owed in ([who], [f"{who}-before"] if seed % 3 == 2 else []), conductor.story
        fates.add((seed % 3, over, *owed))
    assert (await scene.store.totals())[3] == 0
    assert waits
    assert len(fates) >= 5


async def test_people_new_and_known_are_locked_in_one_order(scene: Scene, conductor: Conductor) -> None:
    """Two events that name the same two, while the first of them is seen for the first time: no deadlock."""
    waits = 0
    for seed in SEEDS:
        new, known = (BindingKey("wx1", "g-1", f"o-{seed}-{each}") for each in ("a", "b"))
        await bind(scene.store, "wx1", ROOM, known.openid, "known")

        async def name(store: SqlStore, keys: tuple[BindingKey, ...] = (new, known)) -> None:
            async with store.transaction() as tx:
                await tx.lock_bindings(keys)

        async def become_and_name(store: SqlStore, keys: tuple[BindingKey, ...] = (new, known)) -> None:
            await bind(store, "wx1", ROOM, keys[0].openid, "new")
            async with store.transaction() as tx:
                assert await tx.lock_bindings(keys) == dict(zip(keys, ("new", "known"), strict=True))

        assert await conductor.play(seed, name, become_and_name) == [None, None], conductor.story
        waits += conductor.waits
    assert waits
