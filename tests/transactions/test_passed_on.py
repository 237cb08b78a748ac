"""What a card that another one continues hears of too late is passed on to that one, on every engine."""

from __future__ import annotations

import asyncio
from typing import Any

from contracts.events import Added, Completed, Event
from contracts.times import SECOND
from services.transactions.ledger import read_ledger
from tests.store.support import Scene
from tests.transactions.test_bind import become, completed, republished
from tests.transactions.test_continuing import LISTED, call, members, told


async def test_who_comes_too_late_is_done_and_told_where_the_activity_goes_on(scene: Scene) -> None:
    """By an event with the time of the first, once; who was done there already is a duplicate."""
    await scene.open("a")
    then = scene.bench.now - 7 * SECOND
    await scene.feed(scene.opened("b", continues="a"))
    await scene.complete("b", "bob")
    late = scene.completed("a", "ann", "bob", time=then)
    applied = await scene.feed(late, late)
    assert applied.outcomes["livecard.participant.completed", "late"] == 1
    assert [(row.group_openid, row.late) for row in await members(scene, "a")] == [
        ("ann", True),
        ("bob", True),
    ]
    (passed,) = await republished(scene)
    assert isinstance(passed.content, Event)
    assert (passed.content.source, passed.content.time) == ("/livecard", then)
    assert (passed.content.activity_id, passed.content.data) == ("b", Completed(("ann", "bob")))
    applied = await scene.feed(passed, passed)
    assert (applied.outcomes["livecard.participant.completed", "applied"], applied.repeats) == (1, 1)
    ann = (await members(scene, "b"))[0]
    assert (ann.group_openid, ann.late, ann.done_at) == ("ann", False, then)
    assert [sorted(names) for _, names in await call(scene, "b")] == [["ann", "bob"]]
    assert await republished(scene) == []
    ledger = await read_ledger(scene.store)
    assert (ledger.settled, ledger.events["taken"]) == (True, 5)


async def test_it_is_passed_on_along_the_line(scene: Scene) -> None:
    """Each card knows the next one; where it ended before it was continued, too."""
    await scene.open("a", deadline=100, notice=0)
    then = scene.bench.now + 50 * SECOND
    await scene.bench.advance(200)
    await scene.tick()
    await scene.feed(scene.opened("b", continues="a"))
    await scene.feed(scene.opened("c", continues="b"))
    await scene.feed(scene.completed("a", "ann", time=then))
    for name in ("b", "c"):
        (passed,) = await republished(scene)
        assert isinstance(passed.content, Event)
        assert (passed.content.activity_id, passed.content.time) == (name, then)
        await scene.feed(passed)
    assert await republished(scene) == []
    assert await call(scene, "c") == [(1, ("ann",))]


async def test_a_completion_and_the_next_card_at_once_miss_each_other_never(scene: Scene) -> None:
    """It comes first and is carried over, or later and is passed on."""
    other = await scene.bench.another()
    then = scene.bench.now - 7 * SECOND
    for number in range(5):
        one, two = f"{number}a", f"{number}b"
        await scene.open(one)
        await asyncio.gather(
            scene.feed(scene.opened(two, continues=one)),
            scene.feed(scene.completed(one, "ann", time=then), store=other),
        )
        await scene.feed(*await republished(scene))
        assert await scene.owed(two) == ["ann"]


async def test_of_two_that_continue_a_card_the_last_one_gets_what_comes_too_late(scene: Scene) -> None:
    """Its id lives longest."""
    await scene.open("a")
    then = scene.bench.now - 7 * SECOND
    await scene.feed(scene.opened("b", continues="a"))
    await scene.feed(scene.opened("c", continues="a"))
    await scene.feed(scene.completed("a", "ann", time=then))
    await scene.feed(*await republished(scene))
    assert [await scene.owed(each) for each in "bc"] == [[], ["ann"]]


async def test_a_refused_opening_gets_nothing(scene: Scene) -> None:
    await scene.open("a")
    await scene.feed(scene.opened("b", continues="a", appid="wx2"))
    await scene.close("a")
    await scene.feed(scene.completed("a", "ann", time=scene.bench.now - 7 * SECOND))
    assert [row.late for row in await members(scene, "a")] == [True]
    assert await republished(scene) == []


async def test_who_comes_too_late_and_is_known_later_still_is_passed_on(scene: Scene) -> None:
    """He waits in the card that he named; bound, he is late there, and done where the activity goes on."""
    room: dict[str, Any] = {"room": {"opengid": "g-1"}}
    await scene.open("a", **room)
    then = scene.bench.now - 7 * SECOND
    await scene.feed(scene.opened("b", **room, continues="a"))
    await scene.feed(completed(scene, "o-ann", time=then))
    assert await republished(scene) == []
    assert await become(scene, "o-ann", "ann") == 1
    for name in ("a", "b"):
        (passed,) = await republished(scene)
        assert isinstance(passed.content, Event)
        assert (passed.content.activity_id, passed.content.time) == (name, then)
        await scene.feed(passed)
    assert await call(scene, "b") == [(1, ("ann",))]
    assert (await read_ledger(scene.store)).settled


async def test_what_was_on_its_way_from_a_binding_is_passed_on(scene: Scene) -> None:
    """His waiting was over, so he did not wait in the next card; his event came after that was opened."""
    room: dict[str, Any] = {"room": {"opengid": "g-1"}}
    await scene.open("a", **room)
    await scene.feed(completed(scene, "o-ann", time=scene.bench.now - 7 * SECOND))
    await become(scene, "o-ann", "ann")
    await scene.feed(scene.opened("b", **room, continues="a"))
    for _ in range(2):
        await scene.feed(*await republished(scene))
    assert await call(scene, "b") == [(1, ("ann",))]


async def test_who_is_listed_too_late_is_listed_where_the_activity_goes_on(scene: Scene) -> None:
    """And his completion, by an event as late, counts there; neither is refused here. What happened after
    the end is."""
    await scene.open("a", **LISTED, participants=["ann"])
    then = scene.bench.now - 7 * SECOND
    await scene.feed(scene.opened("b", **LISTED, continues="a"))
    added = scene.event("participant.added", "a", time=then, members=["ann", "bob"])
    applied = await scene.feed(added, scene.completed("a", "bob", time=then + 1))
    assert applied.outcomes["livecard.participant.added", "late"] == 1
    assert applied.outcomes["livecard.participant.completed", "late"] == 1
    assert [row.group_openid for row in await members(scene, "a")] == ["ann"]
    assert await told(scene, "a", "EventRefused") == []
    passed = await republished(scene)
    assert [each.content.data for each in passed if isinstance(each.content, Event)] == [
        Added(("bob",)),
        Completed(("bob",)),
    ]
    await scene.feed(*passed)
    assert [row.group_openid for row in await members(scene, "b")] == ["ann", "bob"]
    assert await call(scene, "b") == [(1, ("bob",))]
    await scene.bench.advance(1)
    await scene.feed(
        scene.event("participant.added", "a", time=scene.bench.now, members=["cat"]),
        scene.completed("a", "cat", time=scene.bench.now),
    )
    refused = [each["reason"] for each in await told(scene, "a", "EventRefused")]
    assert refused == ["ended", "not_listed"]
    assert await republished(scene) == []
    assert (await read_ledger(scene.store)).settled


async def test_who_is_listed_by_a_binding_on_its_way_is_listed_where_the_activity_goes_on(
    scene: Scene,
) -> None:
    """And so is one who became known later."""
    room: dict[str, Any] = {"room": {"opengid": "g-1"}, **LISTED, "participants": ["ann"]}
    then = scene.bench.now - 7 * SECOND
    await scene.open("a", **room)
    await scene.feed(scene.event("participant.added", "a", time=then, openids=["o-bob"]))
    await become(scene, "o-bob", "bob")
    await scene.feed(scene.opened("b", **{**room, "participants": []}, continues="a"))
    await scene.feed(scene.event("participant.added", "a", time=then, openids=["o-cat"]))
    await become(scene, "o-cat", "cat")
    for _ in range(2):
        await scene.feed(*await republished(scene))
    assert [row.group_openid for row in await members(scene, "b")] == ["ann", "bob", "cat"]
