"""Reads in pages: what is there all the time comes once, whatever is inserted meanwhile (pages.py)."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from contracts.wechat import Verdict
from services.store.pages import ListedMember, MissingPage, Owner, Place
from services.store.rooms import Binding
from services.store.rows import CONFIRMED, OWED, SKIPPED, MemberRow, Writes
from statemachine.card import FINAL, not_in_sync_since
from statemachine.gate import Gate
from tests.store.benches import START
from tests.store.support import Scene

SECOND = 1_000_000


async def _listed(scene: Scene, activity: str, *people: str) -> None:
    await scene.open(activity, choose="listed", participants=list(people))


async def _all_members(scene: Scene, activity: str, limit: int, state: str = "") -> list[str]:
    """Page by page; somebody is added at either end between two pages."""
    after, found = "", []
    while True:
        page = await scene.store.members_page(activity, after, limit, state)
        assert page is not None
        found += [each.group_openid for each in page.members]
        if len(page.members) < limit:
            return found
        after = found[-1]
        newcomers = [f"a{len(found)}", f"z{len(found)}"] if len(found) < 6 else []
        for name in newcomers:
            await scene.feed(scene.event("participant.added", activity, members=[name]))


async def test_whose_an_activity_is(scene: Scene) -> None:
    """Nobody's while only an early event has come: nobody has said an app."""
    assert await scene.store.owner("a") is None
    await scene.complete("a", "m")
    assert await scene.store.owner("a") is None
    assert await scene.store.members_page("a", "", 10, "") is None
    assert await scene.store.missing_page("a", "", 10) is None
    await scene.open("a", appid="wx2")
    assert await scene.store.owner("a") == Owner("wx2", "open")
    await scene.close("a")
    assert await scene.store.owner("a") == Owner("wx2", "ended")


async def test_members_come_by_group_openid_with_what_the_card_shows_of_them(scene: Scene) -> None:
    """Of one activity, of one state if that is asked for; an activity without members has an empty page."""
    await _listed(scene, "a", "m4", "m1", "m3", "m2")
    await _listed(scene, "b", "m1", "x")
    await scene.open("c")
    await scene.complete("a", "m1", "m2", "m3")
    await scene.mark("a", "m2", CONFIRMED)
    await scene.skip("a", "m3")
    page = await scene.store.members_page("a", "", 10, "")
    assert page is not None
    assert page.appid == "wx1"
    assert page.members == (
        ListedMember("m1", "done", False, START, OWED),
        ListedMember("m2", "done", False, START, CONFIRMED),
        ListedMember("m3", "done", False, START, SKIPPED),
        ListedMember("m4", "pending", False, None, OWED),
    )
    for state, names in (("pending", ["m4"]), ("done", ["m1", "m2", "m3"])):
        some = await scene.store.members_page("a", "", 10, state)
        assert some is not None
        assert [each.group_openid for each in some.members] == names
    nobody = await scene.store.members_page("c", "", 10, "")
    assert nobody is not None
    assert nobody.members == ()
    behind = await scene.store.members_page("a", "m3", 10, "done")
    assert behind is not None
    assert behind.members == ()


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
async def test_whoever_is_a_member_all_the_time_comes_once(scene: Scene, limit: int) -> None:
    """Though others are added before and behind the place that a page has come to."""
    people = [f"m{n}" for n in range(5)]
    await _listed(scene, "a", *people)
    found = await _all_members(scene, "a", limit)
    assert sorted(found) == found
    assert len(set(found)) == len(found)
    assert [name for name in found if name in people] == people


async def test_who_is_missing_of_those_listed(scene: Scene) -> None:
    """The pending ones, in pages; nobody is missing where all are done."""
    await scene.open(
        "a", choose="listed", participants=["m3", "m1", "m2"], title="团建", template="participate"
    )
    await scene.complete("a", "m2")
    missing = await scene.store.missing_page("a", "", 10)
    assert missing == MissingPage("wx1", "团建", "participate", ("m1", "m3"))
    first = await scene.store.missing_page("a", "", 1)
    assert first is not None
    assert first.members == ("m1",)
    rest = await scene.store.missing_page("a", "m1", 1)
    assert rest is not None
    assert rest.members == ("m3",)
    await scene.complete("a", "m1", "m3")
    assert await scene.store.missing_page("a", "", 10) == MissingPage("wx1", "团建", "participate", ())


@pytest.mark.parametrize("room", ["opengid", "open_single_roomid"])
async def test_who_is_missing_of_everyone_are_those_bound_to_the_room(scene: Scene, room: str) -> None:
    """Bound in this room of this app, once each, and not done; without a room nobody is known."""
    await scene.open("a", room={room: "g1"})
    await scene.open("b")
    for place, (appid, where, who) in enumerate(
        (
            ("wx1", "g1", "m1"),
            ("wx1", "g1", "m2"),
            ("wx1", "g1", "m2"),
            ("wx1", "g1", "m3"),
            ("wx1", "g2", "m4"),
            ("wx2", "g1", "m5"),
        )
    ):
        async with scene.store.transaction() as tx:
            await tx.bind(Binding(appid, where, f"o{place}", single=room != "opengid", group_openid=who))
    await scene.complete("a", "m1", "stranger")
    async with scene.store.transaction() as tx:
        await tx.write(Writes(members=[MemberRow("a", "m3", "pending", False, None)]))
    await scene.open("c", room={room: "g1"}, choose="listed", participants=["m9"])
    listed = await scene.store.missing_page("c", "", 10)
    assert listed is not None
    assert listed.members == ("m9",)
    page = await scene.store.missing_page("a", "", 10)
    assert page is not None
    assert page.members == ("m2", "m3")
    rest = await scene.store.missing_page("a", "m2", 10)
    assert rest is not None
    assert rest.members == ("m3",)
    nobody = await scene.store.missing_page("b", "", 10)
    assert nobody is not None
    assert nobody.members == ()


async def _names(scene: Scene, after: Place | None = None, limit: int = 100, *appids: str) -> list[str]:
    found = await scene.store.out_of_sync(appids or ["wx1"], after, limit)
    return [card.activity_id for card, _ in found.cards]


async def test_cards_that_are_not_in_sync_come_oldest_first(scene: Scene) -> None:
    """Due, calling, uncertain and given up ones of the apps asked for; none that is in sync or closed."""
    await scene.open("in_sync", "due", "calling", "uncertain", "given_up", "closed", "dead")
    await scene.open("other", appid="wx2")
    await scene.open("third", appid="wx3")
    for name in ("uncertain", "given_up", "calling", "due", "other", "third"):
        await scene.bench.advance(1)
        await scene.complete(name, "m")
    await scene.deliver("uncertain", Verdict.unknown)
    await scene.bench.advance(2)
    await scene.deliver("uncertain")
    await scene.close("closed")
    await scene.deliver("closed")
    (claimed,) = await scene.claim("given_up")
    for _ in range(5):
        await scene.settle(scene.result(claimed, Verdict.unknown_code, errcode=1))
        await scene.bench.advance(61)
        (claimed,) = await scene.claim("given_up") or [claimed]
    assert await scene.claim("calling")
    await scene.complete("dead", "m")
    await scene.deliver("dead", Verdict.expired, errcode=47504)
    assert await _names(scene) == ["calling", "due", "uncertain", "given_up"]
    assert await _names(scene, None, 100, "wx1", "wx2") == [
        "calling",
        "due",
        "other",
        "uncertain",
        "given_up",
    ]
    assert await _names(scene, None, 2) == ["calling", "due"]
    assert await _names(scene, None, 100, "wx9") == []
    assert (await scene.store.out_of_sync([], None, 10)).cards == ()
    found = await scene.store.out_of_sync(["wx1"], None, 1)
    assert found.now == scene.bench.now
    assert [gate for _, gate in found.cards] == [Gate("wx1")]


CAUSES: list[dict[str, Any]] = [
    {
        "revision": 5,
        "settled": 4 if behind else 5,
        "behind_since": behind,
        "doubt_at": doubt,
        "verdict": verdict,
        "lease_until": lease,
        "retry_at": START + 3 * SECOND,
        "shown": shown,
    }
    for behind, doubt, verdict, lease, shown in product(
        (None, START + 2 * SECOND),
        (None, START + SECOND, START + 4 * SECOND),
        ("", "rejected", *FINAL),
        (0, START + 9 * SECOND),
        (1, 3),
    )
    if not (lease and (verdict or not (behind or doubt)))
]
"""Every combination of the columns that a phase is read from; a lease goes with a cause and no verdict."""


async def test_the_list_and_the_machine_agree_on_every_combination_of_columns(scene: Scene) -> None:
    """The statement says in SQL what `not_in_sync_since` says; all engines give one order."""
    scene.contrived = True
    names = [f"c{place:02}" for place in range(len(CAUSES))]
    await scene.open(*names)
    for name, columns in zip(names, CAUSES, strict=True):
        await scene.set(name, **columns)
    places = []
    for name in names:
        since = not_in_sync_since(await scene.card(name))
        if since is not None:
            places.append(Place(since, name))
    assert 10 < len(places) < len(names)
    names = [place.activity_id for place in sorted(places)]
    assert await _names(scene) == names
    after = None
    for name in names:  # one by one, many of them of one age
        assert await _names(scene, after, 1) == [name]
        after = next(place for place in places if place.activity_id == name)
    assert await _names(scene, after, 1) == []


async def test_a_card_that_stays_out_of_sync_comes_once(scene: Scene) -> None:
    """Though others join, younger ones, and some leave while one pages."""
    old = [f"o{n}" for n in range(6)]
    await scene.open(*old, *(f"y{n}" for n in range(6)))
    for name in old:
        await scene.complete(name, "m")
        await scene.bench.advance(1)
    found: list[str] = []
    after = None
    while page := (await scene.store.out_of_sync(["wx1"], after, 2)).cards:
        card = page[-1][0]
        found += [each.activity_id for each, _ in page]
        after = Place(not_in_sync_since(card) or 0, card.activity_id)
        if len(found) < 6:
            await scene.bench.advance(1)
            await scene.complete(f"y{len(found)}", "m")
        if len(found) == 2:
            await scene.deliver("o0")
            await scene.deliver("o4")
    assert found == ["o0", "o1", "o2", "o3", "o5", "y2", "y4"]


async def test_gates_of_some_apps(scene: Scene) -> None:
    """By appid, with the database's now; those of apps that never opened anything are not there."""
    await scene.open("a", appid="wx2")
    await scene.open("b", appid="wx1")
    await scene.open("c", appid="wx3")
    await scene.shut("wx2", "blocked", START + SECOND)
    assert await scene.store.gates_of(["wx2", "wx1", "wx9"]) == (
        [Gate("wx1"), Gate("wx2", START + SECOND, 0, "blocked")],
        START,
    )
    assert (await scene.store.gates_of([]))[0] == []
