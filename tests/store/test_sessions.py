"""Logins and announced activities on every engine; a gate is read with the database's now."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.times import DAY, HOUR, SECOND
from contracts.wechat import Verdict
from services.store.ports import StoreRejected, Tx
from services.store.rows import EVENTS, Announced, OutboxRow, ParkedCount, Writes
from services.store.sessions import SessionRow
from services.transactions.announce import announce
from services.transactions.bury_parked import bury_parked
from services.transactions.passing import Shut, enter, leave
from services.transactions.sessions import keep_session
from statemachine.gate import Gate, Passage
from statemachine.states import OPEN, UNOPENED
from tests.store.benches import START, rolled_back
from tests.store.support import Scene
from tests.store.test_upkeep import prune

ROW = SessionRow("h-1", "wx1", "o-1", None, "k:sealed")


async def nothing(_tx: Tx) -> str:
    return "done"


async def test_a_login_is_kept_for_a_day(scene: Scene) -> None:
    other = SessionRow("h-2", "wx1", "o-1", "u-1", "k:sealed")
    for row in (ROW, other):
        assert await keep_session(scene.store, row, nothing) == "done"
    assert await scene.store.session("h-1") == ROW
    assert await scene.store.session("h-2") == other
    assert await scene.store.session("h-3") is None
    await scene.bench.advance(DAY / SECOND - 1)
    assert await scene.store.session("h-1") == ROW
    await scene.bench.advance(1)
    assert await scene.store.session("h-1") is None
    assert await prune(scene) == {}
    await scene.bench.advance(1)
    assert await prune(scene, limit=1) == {"sessions": 1}
    assert await prune(scene) == {"sessions": 1}


async def test_a_login_that_is_rolled_back_was_none(scene: Scene) -> None:
    async with rolled_back(scene.store) as tx:
        await tx.keep_session(ROW)
    assert await scene.store.session("h-1") is None
    assert "sealed" not in repr(ROW)


async def test_a_gate_is_read_with_the_time(scene: Scene) -> None:
    assert await scene.store.gate("wx1") == (Gate("wx1"), START)
    await scene.open("a")
    await scene.shut("wx1", "blocked", START + 5)
    await scene.bench.advance(1)
    gate, now = await scene.store.gate("wx1")
    assert (gate.reason, gate.closed_until, now) == ("blocked", START + 5, START + SECOND)
    assert gate == await scene.gate()


def opening(name: str) -> Any:
    def made(now: int) -> OutboxRow:
        return OutboxRow(name, EVENTS, f"e-{name}", "{}", 0, now)

    return made


async def say(scene: Scene, name: str, appid: str = "wx1") -> str | None:
    announced = Announced(name, appid, "团建", START + HOUR)
    return await announce(scene.store, announced, opening(name), nothing)


async def locked(scene: Scene, name: str) -> tuple[str, str, int]:
    """State, app and expiry of the row, and nothing of it is due."""
    async with scene.store.transaction() as tx:
        activity, card = (await tx.lock([name]))[name]
    return activity.state, card.appid, activity.expires_at


async def test_an_announced_activity_is_its_apps_and_not_open(scene: Scene) -> None:
    assert await say(scene, "a") == "done"
    assert await locked(scene, "a") == (UNOPENED, "wx1", START + HOUR)
    (row,) = await scene.outbox()
    assert (row.topic, row.id, row.created_at) == (EVENTS, "e-a", START)
    assert await scene.store.next_due() is None
    async with scene.store.transaction() as tx:
        assert await tx.lock_cards(["a"]) == []
        await tx.write(Writes(apps=["wx1"]))
    assert await scene.due() == []
    assert (await scene.store.backlog()).behind == 0


async def test_an_announced_activity_is_announced_once(scene: Scene) -> None:
    await scene.open("opened", appid="wx2")
    await scene.complete("early", "m")
    assert await say(scene, "opened") is None
    assert await say(scene, "early") is None
    assert await say(scene, "new") == "done"
    assert await say(scene, "new") is None
    assert await say(scene, "new", "wx2") is None
    assert (await locked(scene, "opened"))[:2] == (OPEN, "wx2")
    assert [row.id for row in await scene.outbox() if row.topic == EVENTS] == ["e-new"]


async def test_of_two_who_announce_one_id_at_once_one_does(scene: Scene) -> None:
    other = await scene.bench.another()
    one = announce(scene.store, Announced("a", "wx1", "", START + 1), opening("a"), nothing)
    two = announce(other, Announced("a", "wx2", "", START + 1), opening("a"), nothing)
    assert sorted(map(str, await asyncio.gather(one, two))) == ["None", "done"]


async def test_an_announced_activity_opens_as_any_other(scene: Scene) -> None:
    """Whatever its `opened` says; early events are applied, and its card is claimed and delivered."""
    await say(scene, "a")
    await scene.complete("a", "m1")
    await scene.open("a", title="other", life=7_200)
    assert await locked(scene, "a") == (OPEN, "wx1", START + 2 * HOUR)
    assert (await scene.deliver("a")).delivered
    seen = await scene.store.show("a")
    assert seen is not None
    assert (seen.title, seen.members.confirmed) == ("other", 1)


async def test_an_opening_that_is_refused_takes_the_announcement_back(scene: Scene) -> None:
    """Nobody waits for it any longer, and the id may be announced again."""
    await say(scene, "a")
    await say(scene, "b")
    await scene.open("b", continues="b")
    await say(scene, "heir")
    await scene.open("heir", continues="a")  # refused with the card that it waits for
    await scene.open("a", life=-1)
    for name in ("a", "b", "heir"):
        assert await locked(scene, name) == (UNOPENED, "", 0)
        assert await scene.store.owner(name) is None
        assert await say(scene, name) == "done"


async def test_an_announced_id_is_opened_by_its_app_alone(scene: Scene) -> None:
    """Else a key could send events to an activity that becomes another app's. Nothing is taken back then, and
    nothing of what waits is lost: not even by an opening that is past, dead or too long on its way."""
    await say(scene, "a")
    await scene.complete("a", "m1")
    for life in (3_600, -1):
        await scene.open("a", appid="wx2", life=life)
    await scene.feed(scene.opened("a", appid="wx2", continues="b"))
    assert await locked(scene, "a") == (UNOPENED, "wx1", START + HOUR)
    refused = [each for each in await scene.outbox() if '"already_open"' in each.body]
    assert len(refused) == 3
    await scene.open("a", life=7_200)
    assert await locked(scene, "a") == (OPEN, "wx1", START + 2 * HOUR)
    assert await scene.owed("a") == ["m1"]


async def test_an_id_is_announced_while_an_opening_of_another_app_waits(scene: Scene) -> None:
    """For the card that it continues: whichever way it comes to an end, the announced app has its id."""
    await scene.feed(scene.opened("a", continues="x", appid="wx2"))
    await scene.feed(scene.opened("b", continues="y", appid="wx2"))
    for name in ("a", "b"):
        assert await say(scene, name) == "done"
    await scene.open("x", appid="wx2")
    await scene.bench.advance(HOUR / SECOND)
    assert await bury_parked(scene.store, HOUR, 10) == 1
    for name in ("a", "b"):
        assert await locked(scene, name) == (UNOPENED, "wx1", START + HOUR)


async def test_in_one_batch_an_id_is_free_once_its_opening_is_refused(scene: Scene) -> None:
    await say(scene, "a")
    await scene.feed(scene.opened("a", life=-1), scene.opened("a", life=7_200, appid="wx2"))
    assert await locked(scene, "a") == (OPEN, "wx2", START + 2 * HOUR)


async def test_an_opening_that_waits_too_long_takes_the_announcement_back(scene: Scene) -> None:
    """Nobody waits for the dead; what was announced and still is on its way stays."""
    for name in ("b", "c", "other"):
        await say(scene, name)
    await scene.feed(scene.opened("b", "ob", continues="a"), scene.opened("c", continues="b"))
    await scene.bench.advance(HOUR / SECOND)
    assert await bury_parked(scene.store, HOUR, 10) == 2
    for name in ("b", "c"):
        assert await locked(scene, name) == (UNOPENED, "", 0)
    assert await locked(scene, "other") == (UNOPENED, "wx1", START + HOUR)
    await scene.feed(scene.opened("a"), scene.opened("b", "ob", continues="a"))  # it is replayed
    assert (await locked(scene, "b"))[0] == OPEN


async def test_an_opening_for_which_there_is_no_room_to_wait_takes_the_announcement_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.transactions.apply.MOST_PARKED", ParkedCount(1, 1 << 20))
    await say(scene, "b")
    await scene.feed(scene.completed("a", "m"), scene.opened("b", continues="a"))
    assert await locked(scene, "b") == (UNOPENED, "", 0)


async def test_an_announced_activity_has_its_room(scene: Scene) -> None:
    """So that one that continues it can be refused before it is created."""
    where = {"a": ("g-1", None), "b": (None, "s-1"), "c": (None, None)}
    for name, room in where.items():
        announced = Announced(name, "wx1", "", START + HOUR, *room)
        await announce(scene.store, announced, opening(name), nothing)
        seen = await scene.store.show(name)
        assert seen is not None
        assert (seen.opengid, seen.open_single_roomid) == room


async def test_announced_activities_are_forgotten_after_a_day_and_others_after_an_hour(scene: Scene) -> None:
    await say(scene, "announced")
    async with scene.store.transaction() as tx:
        await tx.lock(["other"])
    await scene.bench.advance(2 * HOUR / SECOND)
    assert (await prune(scene)).get("unopened") == 1
    assert await locked(scene, "announced") == (UNOPENED, "wx1", START + HOUR)
    await scene.bench.advance(DAY / SECOND)
    assert (await prune(scene)).get("unopened") == 1


async def test_an_announcement_with_more_to_do_is_one_transaction(scene: Scene) -> None:
    async def refuse(_tx: Tx) -> str:
        raise StoreRejected("no")

    with pytest.raises(StoreRejected):
        await announce(scene.store, Announced("a", "wx1", "", START), opening("a"), refuse)
    assert await scene.outbox() == []
    assert await locked(scene, "a") == (UNOPENED, "", 0)


async def ask(scene: Scene, passage: Passage, verdict: Verdict | None) -> Gate | None:
    return await leave(scene.store, "wx1", passage, verdict, scene.cards, jitter=0.0, errcode=1, errmsg="why")


async def test_an_app_never_seen_is_let_in_and_its_gate_closes(scene: Scene) -> None:
    passage = await enter(scene.store, "wx1", scene.cards)
    assert passage == Passage()
    assert await ask(scene, passage, Verdict.ok) is None
    gate = await ask(scene, passage, Verdict.blocked)
    assert gate == await scene.gate()
    assert (gate.reason, gate.errcode, gate.errmsg, gate.generation) == ("blocked", 1, "why", 1)
    shut = await enter(scene.store, "wx1", scene.cards)
    assert shut == Shut("blocked", scene.cards.probe)
    await scene.bench.advance(30)
    assert await enter(scene.store, "wx1", scene.cards) == Shut("blocked", scene.cards.probe - 30 * SECOND)


async def test_one_of_all_processes_finds_out(scene: Scene) -> None:
    await scene.open("a")
    await scene.shut("wx1", "token", START - 1)
    stores = [scene.store, await scene.bench.another()] * 2
    passed = await asyncio.gather(*(enter(store, "wx1", scene.cards) for store in stores))
    probes = [each for each in passed if isinstance(each, Passage)]
    assert [(each.reason, each.probe) for each in probes] == [("token", START - 1)]
    assert {each for each in passed if isinstance(each, Shut)} == {Shut("token", scene.cards.lease)}
    assert await scene.due() == []
    gate = await ask(scene, probes[0], Verdict.ok)
    assert gate is not None
    assert gate.reason == ""


@pytest.mark.parametrize("verdict", [Verdict.busy, Verdict.unknown, Verdict.no_token, None])
async def test_a_probe_that_learns_nothing_opens_nothing(scene: Scene, verdict: Verdict | None) -> None:
    await scene.open("a")
    await scene.shut("wx1", "token", START - 1)
    passage = await enter(scene.store, "wx1", scene.cards)
    assert isinstance(passage, Passage)
    await ask(scene, passage, verdict)
    assert (await scene.gate()).reason == "token"


async def test_the_end_of_a_limit_of_cards_is_no_affair_of_others(scene: Scene) -> None:
    """A call that is about no card says nothing of the cards' quota: they begin narrow all the same."""
    await scene.open("a")
    await scene.shut("wx1", "minute_limit", START - 1)
    passage = await enter(scene.store, "wx1", scene.cards)
    assert passage == Passage(0, "minute_limit")
    assert await ask(scene, passage, Verdict.ok) is None
    assert await ask(scene, passage, Verdict.daily_limit) is None
    assert (await scene.gate()).reason == "minute_limit"
