"""Events that name people by openid, and what their binding makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from contracts.events import Event, Room
from services.store.rows import EVENTS
from services.transactions.apply import Applied
from services.transactions.arrivals import Arrival, read_arrival
from services.transactions.bind import bind
from services.transactions.ledger import read_ledger
from tests.store.benches import START
from tests.store.support import Scene

ROOM = Room(opengid="g-1")
OPENED: dict[str, Any] = {"room": {"opengid": "g-1"}}
LISTED: dict[str, Any] = {**OPENED, "choose": "listed", "participants": ["ann", "bob"]}


def completed(scene: Scene, *openids: str, activity: str = "a", **more: Any) -> Arrival:
    """People who are done, by openid."""
    return scene.event("participant.completed", activity, openids=list(openids), **more)


async def become(scene: Scene, openid: str, member: str, room: Room = ROOM, appid: str = "wx1") -> int:
    return await bind(scene.store, appid, room, openid, member)


async def republished(scene: Scene, *, take: bool = True) -> list[Arrival]:
    """What waited and is on its way now, as a consumer reads it; by then the relay has forgotten it."""
    rows = [row for row in await scene.outbox() if row.topic == EVENTS]
    if take:
        await scene.store.delete_outbox([row.seq for row in rows])
    return [read_arrival(scene.record(row.body.encode())) for row in rows]


async def go_round(scene: Scene) -> Applied:
    """What is on its way is taken in."""
    return await scene.feed(*await republished(scene))


def outcomes(applied: Applied) -> list[str]:
    return sorted(outcome for _, outcome in applied.outcomes.elements())


async def test_who_is_bound_counts_as_a_member_named(scene: Scene) -> None:
    """Once, though he is named twice."""
    await scene.open("a", **OPENED)
    assert await become(scene, "o-ann", "ann") == 0
    applied = await scene.feed(completed(scene, "o-ann", members=["bob", "ann"]))
    assert outcomes(applied) == ["applied"]
    assert await scene.owed("a") == ["ann", "bob"]
    assert (await scene.card("a")).revision == 2


async def test_who_is_not_bound_waits_and_is_told_once_he_is(scene: Scene) -> None:
    """By an event of its own, with the time of the first."""
    await scene.open("a", **OPENED)
    applied = await scene.feed(completed(scene, "o-ann", "o-bob", time=START - 7_000_000))
    assert outcomes(applied) == ["applied"]
    assert applied.nudges == {}
    assert (await scene.card("a")).revision == 1
    assert await become(scene, "o-ann", "ann") == 1
    (known,) = await republished(scene, take=False)
    assert isinstance(known.content, Event)
    assert (known.content.source, known.content.time) == ("/livecard", START - 7_000_000)
    assert outcomes(await go_round(scene)) == ["applied"]
    assert await scene.owed("a") == ["ann"]
    assert (await read_ledger(scene.store)).openids == {"waited": 2, "bound": 1, "dropped": 0, "waiting": 1}
    assert await become(scene, "o-bob", "bob") == 1
    await go_round(scene)
    assert await scene.owed("a") == ["ann", "bob"]


async def test_a_binding_that_is_said_again_tells_nothing_again(scene: Scene) -> None:
    await scene.open("a", **OPENED)
    await scene.feed(completed(scene, "o-ann"))
    assert await become(scene, "o-ann", "ann") == 1
    assert await become(scene, "o-ann", "ann") == 0
    (known,) = await republished(scene)
    applied = await scene.feed(known, known)
    assert (outcomes(applied), applied.repeats) == (["applied"], 1)


async def test_the_latest_binding_wins(scene: Scene) -> None:
    """Who was bound as somebody else before is from then on who he is said to be."""
    await scene.open("a", **OPENED)
    await become(scene, "o-ann", "eve")
    await become(scene, "o-ann", "ann")
    await scene.feed(completed(scene, "o-ann"))
    assert await scene.owed("a") == ["ann"]


async def test_only_the_room_of_the_activity_counts(scene: Scene) -> None:
    """Of its app, and not one of another kind with another id."""
    await scene.open("a", **OPENED)
    await scene.open("b", room={"open_single_roomid": "s-1"})
    await become(scene, "o-ann", "eve", Room(opengid="g-2"))
    await become(scene, "o-ann", "eve", appid="wx2")
    await scene.feed(completed(scene, "o-ann"), completed(scene, "o-ann", activity="b"))
    assert await become(scene, "o-ann", "ann", Room(open_single_roomid="s-1")) == 1
    await go_round(scene)
    assert (await scene.owed("a"), await scene.owed("b")) == ([], ["ann"])


async def test_one_binding_tells_every_activity_of_the_room(scene: Scene) -> None:
    """Once, however many events named him."""
    await scene.open("a", "b", **OPENED)
    await scene.feed(
        completed(scene, "o-ann", id_="x1"),
        completed(scene, "o-ann", id_="x2"),
        completed(scene, "o-ann", activity="b", id_="x3"),
    )
    assert await become(scene, "o-ann", "ann") == 2
    assert outcomes(await go_round(scene)) == ["applied", "applied"]
    assert (await scene.owed("a"), await scene.owed("b")) == (["ann"], ["ann"])


async def test_of_several_events_the_earliest_time_counts(scene: Scene) -> None:
    """In whichever order they come: done before the end is late, done after it would be refused."""
    await scene.open("a", "b", **OPENED)
    await scene.bench.advance(60)
    times = [START + 30_000_000, START + 10_000_000]
    for name, order in (("a", times), ("b", times[::-1])):
        for time in order:
            await scene.feed(completed(scene, "o-ann", activity=name, time=time))
        await scene.feed(scene.event("activity.closed", name, time=START + 20_000_000))
    assert (await scene.store.backlog()).unbound == 2
    assert await become(scene, "o-ann", "ann") == 2
    assert outcomes(await go_round(scene)) == ["late", "late"]


async def test_repeats_by_the_same_person_let_nothing_grow(scene: Scene) -> None:
    """Not here, and not where the card is continued; people grow it, as members do."""
    await scene.open("a", **OPENED)
    for _ in range(5):
        await scene.feed(*(completed(scene, "o-ann", "o-bob") for _ in range(20)))
    assert (await scene.store.backlog()).unbound == 2
    await scene.open("b", **OPENED, continues="a")
    await scene.feed(*(completed(scene, "o-ann", activity="b") for _ in range(20)))
    assert (await scene.store.backlog()).unbound == 4
    await scene.balance()


async def test_somebody_added_by_openid_is_listed_once_he_is_known(scene: Scene) -> None:
    """And may complete, before and after."""
    await scene.open("a", **LISTED)
    await scene.feed(
        scene.event("participant.added", "a", openids=["o-eve"]),
        scene.event("participant.added", "a", openids=["o-ann"], members=["bob"]),
    )
    await scene.feed(completed(scene, "o-eve"))
    await become(scene, "o-eve", "eve")
    await become(scene, "o-ann", "ann")
    assert outcomes(await go_round(scene)) == ["applied", "applied", "duplicate"]
    assert await scene.owed("a") == ["eve"]


async def test_an_event_ahead_of_its_opening_finds_the_room_there(scene: Scene) -> None:
    """Who is bound by then is a member, who is not waits; a second opening elsewhere says nothing."""
    elsewhere = scene.opened("a", room={"opengid": "g-2"}, title="another")
    await scene.feed(completed(scene, "o-ann", "o-bob"))
    await become(scene, "o-ann", "ann")
    await become(scene, "o-ann", "eve", Room(opengid="g-2"))
    applied = await scene.feed(scene.opened("a", **OPENED), completed(scene, "o-cat"), elsewhere)
    assert outcomes(applied) == ["applied", "applied", "applied", "refused"]
    assert await scene.owed("a") == ["ann"]
    assert await become(scene, "o-bob", "bob") == 1
    assert await become(scene, "o-cat", "cat") == 1
    await go_round(scene)
    assert await scene.owed("a") == ["ann", "bob", "cat"]


async def test_a_completion_that_waited_beyond_the_end_is_late_or_refused_by_its_own_time(
    scene: Scene,
) -> None:
    await scene.open("a", **OPENED)
    await scene.bench.advance(10)
    await scene.close("a")
    applied = await scene.feed(
        completed(scene, "o-ann", time=START), completed(scene, "o-bob", time=scene.bench.now + 1)
    )
    assert outcomes(applied) == ["applied", "applied"]
    await scene.bench.advance(10)
    await become(scene, "o-ann", "ann")
    await become(scene, "o-bob", "bob")
    assert outcomes(await go_round(scene)) == ["late", "refused"]
    shown = await scene.store.show("a")
    assert shown is not None
    assert (shown.members.late, shown.activity.done) == (1, 1)


@pytest.mark.parametrize("kind", ["participant.completed", "participant.added"])
async def test_without_a_room_openids_are_refused_and_members_are_not(scene: Scene, kind: str) -> None:
    await scene.open("a", choose="listed", participants=["ann"])
    applied = await scene.feed(
        scene.event(kind, "a", "x1", openids=["o-ann"]),
        scene.event(kind, "a", "x2", openids=["o-ann"], members=["ann"]),
    )
    best = {"participant.completed": "applied", "participant.added": "duplicate"}[kind]
    assert outcomes(applied) == sorted(["refused", best])
    bodies = [row.body for row in await scene.outbox() if "no_room" in row.body]
    assert len(bodies) == 2
    assert not any('"members"' in body for body in bodies)
    assert (await scene.store.totals())[3] == 0


async def test_waiting_alone_does_not_end_an_activity_that_closes_when_complete(scene: Scene) -> None:
    """Not even one for nobody, in which as many are done as take part."""
    await scene.open("a", **{**LISTED, "participants": []}, close_when_complete=True)
    await scene.feed(completed(scene, "o-ann"))
    assert (await scene.card("a")).state == "open"


async def test_everyone_takes_part_whoever_it_is(scene: Scene) -> None:
    await scene.open("a", **OPENED)
    await become(scene, "o-ann", "ann")
    applied = await scene.feed(scene.event("participant.added", "a", openids=["o-ann", "o-bob"]))
    assert outcomes(applied) == ["duplicate"]
    assert (await scene.store.totals())[3] == 0


async def test_the_ids_are_the_same_whenever_they_are_made(scene: Scene) -> None:
    """An event that waits again, for its inbox row was forgotten, is told under the id of before."""
    await scene.open("a", **OPENED)
    ids: list[Sequence[str]] = []
    for _ in range(2):
        await scene.feed(completed(scene, "o-ann", "o-bob", id_="x1"))
        await scene.store.prune(inbox=-1, attempts=0, activities=1 << 60, bindings=-1, limit=99)
        for openid in ("o-ann", "o-bob"):
            await become(scene, openid, openid[2:])
        ids.append([row.id for row in await scene.outbox() if row.topic == EVENTS])
        await republished(scene)
        await scene.store.prune(inbox=1 << 60, attempts=0, activities=1 << 60, bindings=-1, limit=99)
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2
    assert all(len(each) <= 128 for each in ids[0])
