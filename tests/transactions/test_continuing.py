"""A card that continues an earlier one, on every engine (design.md §8, "Longer than a day")."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.changes import decode_change
from contracts.records import decode_record
from contracts.times import SECOND, format_rfc3339
from contracts.wechat import Verdict
from services.store.rows import CHANGES, InboxKey
from services.transactions.bury_parked import bury_parked
from services.transactions.ledger import read_ledger
from services.transactions.redeliver import redeliver
from services.transactions.views import view_activity
from statemachine.card import CLOSED, phase
from statemachine.model import Rules
from tests.store.support import Scene
from tests.transactions.test_bind import become, completed, republished

LISTED: dict[str, Any] = {"choose": "listed"}


async def told(scene: Scene, activity: str, kind: str) -> list[dict[str, Any]]:
    """The data of the activity's changes of a kind."""
    rows = [row for row in await scene.outbox() if row.topic == CHANGES and row.activity_id == activity]
    changes = [decode_change(row.body.encode()).data for row in rows]
    return [
        {name: getattr(each, name) for name in each.__struct_fields__}
        for each in changes
        if type(each).__name__ == kind
    ]


async def call(scene: Scene, activity: str) -> list[tuple[int, tuple[str, ...]]]:
    """Everything that WeChat is called for this card, until it is true."""
    calls = []
    for _ in range(9):
        await scene.bench.advance(61)
        for claimed in await scene.claim(activity):
            calls.append((claimed.call.target_state, claimed.call.members))
            await scene.settle(scene.result(claimed))
    return calls


async def test_a_card_continued_three_times_keeps_its_done_members_and_tells_them_once_per_card(
    scene: Scene,
) -> None:
    """Whoever is done in a card is done, and told, in every later one; and the ledger balances."""
    await scene.open("c0", **LISTED, participants=["ann", "bob", "cat", "dan"])
    done: list[str] = []
    for number, who in enumerate(("ann", "bob", "cat")):
        here, then = f"c{number}", f"c{number + 1}"
        await scene.complete(here, who)
        done.append(who)
        assert [sorted(members) for _, members in await call(scene, here)] == [sorted(done)]
        await scene.feed(scene.opened(then, **LISTED, continues=here))
        assert phase(await scene.card(here)) is CLOSED
        assert [each["members"] for each in await told(scene, then, "ParticipantDone")] == [(*sorted(done),)]
    assert await call(scene, "c3") == [(1, ("ann", "bob", "cat"))]
    ends = [(each["state"], each["reason"]) for each in await told(scene, "c1", "ActivityChanged")]
    assert ends == [("open", "opened"), ("ended", "continued")]
    await scene.close("c3")
    assert await call(scene, "c3") == [(3, ())]
    assert [await scene.claim() for _ in range(2)] == [[], []]
    ledger = await read_ledger(scene.store)
    assert ledger.settled
    # The ends of three cards, and in two of them whoever was done before, who was told with another one.
    assert ledger.revisions["superseded"] == 3 + 2


async def test_done_at_goes_along_and_late_is_done(scene: Scene) -> None:
    """The oldest is told first, whoever came too late for the earlier card is told on this one."""
    await scene.open("a", deadline=100, notice=0)
    begun = scene.bench.now
    await scene.bench.advance(50)
    await scene.complete("a", "zoe")
    await scene.bench.advance(70)
    await scene.feed(scene.completed("a", "ann", time=begun + 90 * SECOND))
    assert [row.late for row in await members(scene, "a")] == [True, False]
    await scene.feed(scene.opened("b", continues="a"))
    assert [(row.group_openid, row.late, row.done_at) for row in await members(scene, "b")] == [
        ("ann", False, begun + 90 * SECOND),
        ("zoe", False, begun + 50 * SECOND),
    ]
    assert await scene.owed("b") == ["zoe", "ann"]
    seen = await scene.store.show("b")
    assert seen is not None
    assert (seen.activity.deadline, seen.activity.done, seen.activity.revision) == (None, 2, 2)


async def members(scene: Scene, activity: str) -> list[Any]:
    async with scene.store.transaction() as tx:
        return sorted(await tx.all_members([activity]), key=lambda row: row.group_openid)


async def test_deadline_and_notice_go_along_as_they_are_now(scene: Scene) -> None:
    await scene.open("a", deadline=1_000, notice=10)
    later = format_rfc3339(scene.bench.now + 9_000 * SECOND)
    await scene.feed(scene.event("activity.rescheduled", "a", deadline=later, notice=20))
    await scene.feed(scene.opened("b", continues="a"), scene.opened("c", continues="b", notice=3600))
    for name, notice in (("b", 20), ("c", 3600)):
        seen = await scene.store.show(name)
        assert seen is not None
        assert seen.activity.notice == notice * SECOND
        assert seen.activity.deadline == scene.bench.now + 9_000 * SECOND


async def test_openings_wait_for_the_card_that_they_continue(scene: Scene) -> None:
    """A whole line in disorder: each is applied, with what waited for it, once the first is opened."""
    await scene.complete("c", "cat")
    await scene.feed(scene.opened("c", "oc", continues="b"))
    await scene.feed(scene.opened("b", "ob", continues="a"), scene.completed("a", "ann"))
    keys = [InboxKey("/tests", each) for each in ("oc", "ob")]
    assert await scene.store.outcomes(keys) == dict.fromkeys(keys, "parked")
    assert (await scene.store.backlog()).parked == 4
    applied = await scene.feed(scene.opened("a", "oa"))
    assert applied.outcomes["livecard.activity.opened", "applied"] == 3
    assert (await scene.store.backlog()).parked == 0
    assert [row.group_openid for row in await members(scene, "c")] == ["ann", "cat"]
    assert [(await scene.card(name)).verdict for name in "abc"] == ["continued", "continued", ""]
    assert await call(scene, "c") == [(1, ("ann", "cat"))]


async def test_in_one_batch_order_does_not_matter_either(scene: Scene) -> None:
    await scene.feed(
        scene.opened("c", continues="b"),
        scene.completed("b", "ann"),
        scene.opened("b", continues="a"),
        scene.opened("a"),
    )
    assert [(await scene.card(name)).state for name in "abc"] == ["ended", "ended", "open"]
    assert await scene.owed("c") == ["ann"]


async def test_an_opening_and_the_one_that_it_waits_for_cannot_miss_each_other(scene: Scene) -> None:
    """Two transactions at once, each with one of them."""
    other = await scene.bench.another()
    for number in range(5):
        one, two = f"{number}a", f"{number}b"
        for first, then in ((one, two), (f"{two}x", f"{one}x")):  # locked in either order
            await asyncio.gather(
                scene.feed(scene.opened(then, continues=first)),
                scene.feed(scene.opened(first), store=other),
            )
            assert [(await scene.card(each)).state for each in (first, then)] == ["ended", "open"]


async def test_two_that_continue_the_same_card_both_have_its_members(scene: Scene) -> None:
    """At once; the second finds it ended."""
    other = await scene.bench.another()
    await scene.open("a")
    await scene.complete("a", "ann")
    await asyncio.gather(
        scene.feed(scene.opened("b", continues="a")),
        scene.feed(scene.opened("c", continues="a"), store=other),
    )
    assert [await scene.owed(each) for each in "abc"] == [[], ["ann"], ["ann"]]


@pytest.mark.parametrize(
    "data",
    [{"appid": "wx2"}, {"room": {"opengid": "g-2"}}, {"room": None}, {"continues": "b"}],
    ids=["another app", "another room", "no room", "itself"],
)
async def test_what_may_not_be_continued_is_refused(scene: Scene, data: dict[str, Any]) -> None:
    """And nothing changes; another opening of it is still right."""
    room: dict[str, Any] = {"room": {"opengid": "g-1"}}
    await scene.open("a", **room)
    await scene.complete("b", "early")
    await scene.feed(scene.opened("b", **{**room, "continues": "a", **data}))
    assert [each["reason"] for each in await told(scene, "b", "EventRefused")] == ["unknown_predecessor"]
    assert (await scene.card("a")).state == "open"
    await scene.feed(scene.opened("b", **room, continues="a"))
    assert await scene.owed("b") == ["early"]


async def test_an_heir_of_what_is_never_opened_is_refused(scene: Scene) -> None:
    """The `opened` that it waits for comes too late: its id is dead."""
    await scene.feed(scene.opened("b", continues="a"), scene.opened("c", life=50, continues="a"))
    await scene.bench.advance(100)
    await scene.feed(scene.opened("a", life=-1))
    refused = [(await told(scene, each, "EventRefused"))[0]["reason"] for each in "abc"]
    assert refused == ["expired", "unknown_predecessor", "expired"]
    assert (await scene.store.backlog()).parked == 0


async def test_an_opening_that_waits_too_long_is_a_dead_letter(scene: Scene) -> None:
    """It may be replayed, as any other."""
    opening = scene.opened("b", "ob", continues="a")
    await scene.feed(opening)
    await scene.bench.advance(3_700)
    assert await bury_parked(scene.store, 3_600 * SECOND, 10) == 1
    (letter,) = await scene.outbox()
    why = dict(decode_record(letter.body).headers)["livecard-error"]
    assert why == b"no livecard.activity.opened for 'a' came within 3600 s"
    await scene.feed(scene.opened("a"), opening)
    assert (await scene.card("b")).state == "open"


async def test_a_call_under_way_changes_nothing_any_more(scene: Scene) -> None:
    """Its answer marks whom WeChat confirmed; the card stays closed, and nobody doubts it."""
    await scene.open("a")
    await scene.complete("a", "ann")
    (claimed,) = await scene.claim("a")
    await scene.complete("a", "bob")
    await scene.feed(scene.opened("b", continues="a"))
    card = await scene.card("a")
    assert (phase(card), card.fence > claimed.card.fence, card.lease_until) == (CLOSED, True, 0)
    assert await scene.skipped("a") == ["ann", "bob"]
    for verdict in (Verdict.unknown, Verdict.ok):
        (settled,) = await scene.settle(scene.result(claimed, verdict))
        assert settled.stale
    after = await scene.card("a")
    assert (after.verdict, after.doubt_at, after.settled) == ("continued", None, card.revision)
    assert await scene.skipped("a") == ["bob"]
    assert "another card continues it" in (await redeliver(scene.store, "a")).refused
    view = await view_activity(scene.store, "a", scene.cards)
    assert view is not None
    assert view.delivery is not None
    assert (view.delivery.phase, view.delivery.why) == (CLOSED, "continued")


async def test_who_waits_for_a_binding_waits_in_the_card_that_continues(scene: Scene) -> None:
    """Bound at last he is done there; one who became known before is not waited for."""
    room: dict[str, Any] = {"room": {"opengid": "g-1"}}
    await scene.open("a", **room)
    await scene.feed(completed(scene, "o-ann", "o-bob"))
    await become(scene, "o-bob", "bob")
    await scene.feed(*await republished(scene))
    await scene.feed(completed(scene, "o-cat"), scene.opened("b", **room, continues="a"))
    await become(scene, "o-ann", "ann")
    await become(scene, "o-cat", "cat")
    await scene.feed(*await republished(scene))
    assert [(row.group_openid, row.late) for row in await members(scene, "b")] == [
        ("ann", False),
        ("bob", False),
        ("cat", False),
    ]


async def test_it_is_told_once_that_an_id_is_about_to_die(scene: Scene) -> None:
    """While the activity is open, a notice before; the clock knows when."""
    scene.rules = Rules(expiring=600 * SECOND)
    await scene.open("a", "b", life=1_000)
    await scene.close("b")
    seen = await scene.store.show("a")
    assert seen is not None
    assert seen.due_at == seen.activity.expires_at - 600 * SECOND
    await scene.bench.advance(399)
    assert (await scene.tick()).warned == 0
    await scene.bench.advance(1)
    assert (await scene.tick()).warned == 1
    await scene.complete("a", "ann")
    assert (await scene.tick()).warned == 0
    expiring = [{"expires_at": format_rfc3339(seen.activity.expires_at)}]
    assert await told(scene, "a", "CardExpiring") == expiring
    assert await told(scene, "b", "CardExpiring") == []


async def test_an_event_that_comes_first_tells_it_too(scene: Scene) -> None:
    """And it is written down, though a completion moves nothing else."""
    scene.rules = Rules(expiring=600 * SECOND)
    await scene.open("a", life=1_000)
    await scene.bench.advance(500)
    await scene.complete("a", "ann")
    await scene.tick()
    assert len(await told(scene, "a", "CardExpiring")) == 1


async def test_what_has_too_many_people_is_not_continued(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members and who waits together; the opening is a dead letter, and the earlier card goes on."""
    monkeypatch.setattr("services.transactions.people.MOST_CARRIED", 3)
    room: dict[str, Any] = {"room": {"opengid": "g-1"}}
    await scene.open("a", **room)
    await scene.complete("a", "ann", "bob")
    await scene.feed(completed(scene, "o-cat"))
    applied = await scene.feed(scene.opened("b", **room, continues="a"))
    assert (applied.dead, (await scene.card("b")).state) == ([], "open")
    await scene.open("c", **room)
    await scene.complete("c", "ann", "bob", "cat")
    await scene.feed(completed(scene, "o-dan", activity="c"))
    applied = await scene.feed(scene.opened("d", **room, continues="c"), scene.completed("c", "eve"))
    assert [each.reason for each in applied.dead] == ["unprocessable"]
    assert "without `continues`" in applied.dead[0].error
    assert (await scene.card("c")).state == "open"
    assert await scene.owed("c") == ["ann", "bob", "cat", "eve"]
    await scene.feed(scene.opened("e", continues="c", appid="wx2"))
    assert [each["reason"] for each in await told(scene, "e", "EventRefused")] == ["unknown_predecessor"]
