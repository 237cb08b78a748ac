"""The console's pages: what they show, and what they do."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from contracts.changes import ActivityChanged, ParticipantDone, encode_change
from contracts.times import SECOND
from contracts.wechat import Verdict
from services.gateway.console import translations
from services.gateway.console.overview_cache import Watch
from services.store.ports import StoreUnavailable
from services.store.pulse import CallCount
from services.store.rows import Writes
from services.transactions.arrivals import read_arrival
from services.transactions.story import MOST
from statemachine.gate import MINUTE, Gate
from tests.gateway.console import Reader, Shift
from tests.gateway.world import ALL_KEY, SCOPE_KEYS, World
from tests.store.benches import START

CONSOLE = Path(translations.__file__).parent


async def shut(world: World, reason: str = "minute_limit", seconds: int = 50) -> None:
    until = world.bench.now + seconds * SECOND
    async with world.bench.store.transaction() as tx:
        await tx.write(Writes(gates=[Gate("wx1", until, world.bench.now, reason, 45009, "too often")]))


async def test_the_overview_says_what_is_behind_and_why(world: World) -> None:
    """Phases and reasons are the delivery machine's, as `GET /v1/delivery` has them."""
    scene = world.scene
    await scene.open("a-1", "a-2", "a-3")
    await scene.complete("a-1", "m")
    await scene.deliver("a-1", Verdict.unknown)
    await scene.complete("a-2", "m")
    await shut(world)
    await world.bench.advance(45)
    reader = await Reader(world).signed_in()
    page = await reader.page("/console")
    told = (await world.api.get("/v1/delivery")).json()["cards"]
    assert {(each["phase"], each["why"]) for each in told} == {("due", "gate:minute_limit")}
    assert "2 cards are not in sync." in page
    assert "Closed gates: 1." in page
    assert re.search(r"<strong>2</strong></td>\s*<td><span class=\"phase due\">due", page)
    assert "<code>minute_limit</code>" in page
    assert '<code title="too often">45009</code>' in page
    assert 'aria-label="Calls a minute in the last hour: 1 in all, 0 confirmed' in page
    assert "at most 45 s" in page
    assert page.index("card-a-1") < page.index("card-a-2")
    assert "card-a-3" not in page


async def test_a_key_that_only_reads_finds_no_buttons(world: World) -> None:
    """And no numbers of the whole installation."""
    await world.scene.open("a-1")
    await world.scene.complete("a-1", "m")
    await world.scene.feed(*(read_arrival(world.scene.record(b"{")) for _ in range(3)))
    await shut(world)
    for key, operates in ((SCOPE_KEYS["read"], False), (ALL_KEY, True)):
        reader = await Reader(world).signed_in(key)
        page = await reader.page("/console")
        assert ("open-wx1" in page) == operates
        assert ('<code>malformed</code></th><td class="num">3<' in page) == operates
        assert ("Dead letters" in page) == operates
        assert ("read-only" in page) != operates
        assert ('id="redeliver"' in await reader.page("/console/activities/a-1")) == operates


async def test_a_gate_is_opened(world: World) -> None:
    """At once for whoever looks next, and told."""
    await world.scene.open("a-1")
    await shut(world)
    reader = await Reader(world).signed_in()
    assert "Closed gates: 1." in await reader.page("/console")
    answer = await reader.send("/console/gates/wx1/open")
    assert answer.status_code == 303
    page = await reader.page(answer.headers["location"])
    assert "The gate of wx1 is open." in page
    assert "Closed gates" not in page.split("<dl")[0]
    assert [gate.reason for gate in await world.bench.store.all_gates()] == [""]
    assert (await reader.send("/console/gates/wx9/open")).status_code == 404


async def test_a_gate_is_closed_with_a_reason(world: World) -> None:
    """On the page of the app's cards; whoever only reads has no form."""
    await world.scene.open("a-1")
    reader = await Reader(world).signed_in()
    page = "/console/cards?app=wx1"
    assert 'id="close"' in await reader.page(page)
    assert 'id="close"' not in await reader.page("/console/cards")
    wrong = await reader.send("/console/gates/wx1/close", page, span="9y", why="x")
    assert (wrong.status_code, "Say for how long, and why" in wrong.text) == (422, True)
    answer = await reader.send("/console/gates/wx1/close", page, span="2h", why="a wrong <campaign>")
    assert answer.status_code == 303
    shown = await reader.page(answer.headers["location"])
    assert "The gate of wx1 is closed." in shown
    assert "a wrong &lt;campaign&gt;" in shown
    gate = await world.scene.gate("wx1")
    assert (gate.reason, gate.closed_until - world.scene.bench.now) == ("operator", 7_200_000_000)
    (noted,) = await world.bench.store.actions(10)
    assert (noted.who, noted.why) == ("key all (console)", "a wrong <campaign>")


async def test_a_card_that_was_given_up_is_tried_again(world: World) -> None:
    scene = world.scene
    await scene.open("a/1")
    await scene.complete("a/1", "m")
    await _give_up(scene, "a/1")
    reader = await Reader(world).signed_in()
    page = await reader.page("/console/activities/a%2F1")
    assert "given up" in page
    assert "<code>unknown_code</code>" in page
    path = "/console/activities/a%2F1"
    answer = await reader.send(f"{path}/redeliver")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?did=revived")
    assert "The card is tried again." in await reader.page(answer.headers["location"])
    assert (await scene.card("a/1")).verdict == ""
    again = await reader.send(f"{path}/redeliver")
    assert "There was nothing to redeliver." in await reader.page(again.headers["location"])
    await scene.close("a/1")
    await scene.deliver("a/1")
    await scene.deliver("a/1")
    closed = await reader.send(f"{path}/redeliver")
    assert closed.status_code == 409
    assert "The card shows its end: nothing can follow it." in closed.text


async def _give_up(scene: Any, name: str) -> None:
    (claimed,) = await scene.claim(name)
    for _ in range(5):
        await scene.settle(scene.result(claimed, Verdict.unknown_code, errcode=1))
        await scene.bench.advance(61)
        (claimed,) = await scene.claim(name) or [claimed]


async def test_a_story_tells_calls_changes_and_members_in_one_order(world: World) -> None:
    """Text of producers is text, whatever it looks like; what a change tells is not told twice."""
    scene = world.scene
    await scene.open("a-1", title="<script>alert(1)</script>", choose="listed", participants=["<b>m1", "m2"])
    await world.bench.advance(1)
    await scene.complete("a-1", "<b>m1")
    await scene.deliver("a-1", Verdict.busy, errcode=-1, errmsg="system error")
    await world.bench.advance(5)
    await scene.deliver("a-1")
    change = ActivityChanged(
        state="open", previous=None, reason="opened", revision=1, done=0, participants=2, warnings=()
    )
    opened_at = START
    world.gateway.feed.take(0, b"a-1", encode_change("c1", "a-1", opened_at, change))
    done = ParticipantDone(members=("<b>m1",))
    world.gateway.feed.take(0, b"a-1", encode_change("c2", "a-1", opened_at + SECOND, done))
    await world.bench.advance(1)
    await scene.complete("a-1", "m2")
    page = await (await Reader(world).signed_in()).page("/console/activities/a-1")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    told = [
        re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", each)).strip()
        for each in re.findall(r"<li class.*?</li>", page, re.DOTALL)
        if "outbox" not in each
    ]
    assert told == [
        "2026-11-21 08:00:07 event Done: m2",
        "2026-11-21 08:00:06 call ok State 1, 1 members, revision 2 in 0 ms",
        "2026-11-21 08:00:01 call busy -1 State 1, 1 members, revision 2 in 0 ms system error",
        "2026-11-21 08:00:01 change Done: &lt;b&gt;m1",
        "2026-11-21 08:00:00 change – → open: opened; revision 1",
        "2026-11-21 08:00:00 event First seen",
    ]
    assert re.search(r"m2</th>\s*<td>done", page)


async def test_a_story_tells_the_last_changes_however_many_there_were(world: World) -> None:
    """A hundred thousand members may be done within the hour, and the page is made anew every few seconds."""
    await world.scene.open("a-1")
    for n in range(MOST + 50):
        done = ParticipantDone(members=(f"m{n}",))
        world.gateway.feed.take(0, b"a-1", encode_change(f"c{n}", "a-1", START + n * SECOND, done))
    page = await (await Reader(world).signed_in()).page("/console/activities/a-1")
    told = re.findall(r"Done: (m\d+)", page)
    assert told == [f"m{n}" for n in reversed(range(50, MOST + 50))]


async def test_cards_and_members_come_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By cursors, each once; a cursor of another list is refused in a page."""
    monkeypatch.setattr("services.gateway.console.reading.PAGE", 2)
    await world.scene.open("b", choose="listed", participants=[f"m{n}" for n in range(5)])
    await world.scene.open(*(f"a-{n}" for n in range(5)))
    for n in range(5):
        await world.bench.advance(1)
        await world.scene.complete(f"a-{n}", "m")
    reader = await Reader(world).signed_in()
    for path, row in (
        ("/console/cards?app=wx1", r'id="card-(a-\d)"'),
        ("/console/activities/b", r'<th scope="row">(m\d)'),
    ):
        found: list[str] = []
        at: str | None = path
        while at:
            page = await reader.page(at)
            found += re.findall(row, page)
            following = re.search(r'id="next" href="([^"]+)"', page)
            at = following[1].replace("&amp;", "&") if following else None
        assert found == sorted(set(found))
        assert len(found) == 5
    wrong = await reader.get("/console/cards", params={"cursor": "x"})
    assert wrong.status_code == 422
    assert "<code>cursor</code>" in wrong.text


async def test_an_activity_is_found_by_its_id(world: World) -> None:
    await world.scene.open("a/1 ü")
    reader = await Reader(world).signed_in()
    answer = await reader.get("/console/find", params={"id": " a/1 ü "})
    assert answer.headers["location"] == "/console/activities/a%2F1%20%C3%BC"
    assert "a/1 ü" in await reader.page(answer.headers["location"])
    assert (await reader.get("/console/find")).headers["location"] == "/console"
    missing = await reader.get("/console/activities/nothing")
    assert missing.status_code == 404
    assert "None of this key" in missing.text


async def test_the_console_is_found_with_a_slash_at_its_end(world: World) -> None:
    """As people type it; before and after they signed in."""
    reader = Reader(world)
    assert (await reader.get("/console/")).headers["location"] == "/console/sign-in"
    assert "Every card shows what it should." in await (await reader.signed_in()).page("/console/?lang=en")


async def test_the_language_is_the_readers(world: World) -> None:
    """What the browser asks for, until one is chosen; that is remembered, on errors too."""
    reader = await Reader(world, **{"accept-language": "zh-CN,en"}).signed_in()
    assert "所有卡片" in await reader.page("/console")
    assert "Every card" in await reader.page("/console?lang=en")
    page = await reader.page("/console/cards?app=wx1")
    assert '<html lang="en">' in page
    assert 'href="/console/cards?app=wx1&amp;lang=zh"' in page
    await reader.page("/console?lang=zh")
    missing = await reader.get("/console/nothing")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert '<html lang="zh-CN">' in missing.text


def test_both_languages_say_everything_with_the_same_places() -> None:
    texts = translations.Translations().texts
    for name, (english, chinese) in texts.items():
        assert english, name
        assert chinese, name
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", chinese)), name
    templates = "".join(each.read_text("utf-8") for each in (CONSOLE / "templates").iterdir())
    used = set(re.findall(r"""say\(["']([\w.]+)["'][,)]""", templates))
    assert used - set(texts) == set()


async def test_a_page_may_load_nothing_from_outside_and_evaluate_nothing(world: World) -> None:
    """By its policy; and it asks for nothing of the kind."""
    await world.scene.open("a-1")
    reader = await Reader(world).signed_in()
    for path in (
        "/console",
        "/console/cards",
        "/console/activities/a-1",
        "/console/nothing",
        "/console/sign-in",
    ):
        answer = await reader.get(f"/console{path}")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        page = answer.text
        assert not re.search(r'(?:src|href|action|hx-get)="(?!/console|#)', page), path
        assert not re.search(r"<style|style=|<script>|\son\w+=", page), path
        assert "&#34;allowEval&#34;:false" in page
        for file in re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page):
            found = await reader.get(file)
            assert found.status_code == 200
            assert "immutable" in found.headers["cache-control"]
            other = await reader.get(re.sub(r"v=\w+", "v=of-another-gateway", file))
            assert other.headers["cache-control"] == "no-store"
    assert (await reader.get("/console/static/translations.json")).status_code == 404


def test_htmx_is_the_file_that_npm_has() -> None:
    """Name, version, licence and hash stand beside it."""
    said = json.loads((CONSOLE / "static/htmx.json").read_text("utf-8"))
    file = (CONSOLE / "static/htmx.min.js").read_bytes()
    assert hashlib.sha256(file).hexdigest() == said["sha256"]
    assert f'version:"{said["version"]}"'.encode() in file
    assert (said["package"], said["licence"]) == ("htmx.org", "0BSD")


async def test_viewers_share_what_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many look, the store is asked once in some seconds; the hour's minutes once and for all."""
    await world.scene.open("a-1")
    asked: list[str] = []
    store = world.bench.store
    for name in ("standings", "calls_between", "out_of_sync", "counters"):
        real = getattr(store, name)

        async def counted(*args: Any, _name: str = name, _real: Any = real) -> Any:
            asked.append(_name)
            return await _real(*args)

        monkeypatch.setattr(store, name, counted)
    clock = Shift()
    fresh = World(world.bench, clock=clock)
    readers = [await Reader(fresh).signed_in() for _ in range(3)]
    for each in readers:
        await each.page("/console")
    assert asked.count("standings") == asked.count("out_of_sync") == 1
    assert asked.count("calls_between") == 60
    asked.clear()
    clock.at += 11 * SECOND
    await readers[0].page("/console")
    assert asked.count("standings") == 1
    assert asked.count("calls_between") == 2
    await fresh.close()


async def test_minutes_that_come_again_are_counted_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database's clock is set back, what was over is not: its calls are still to come."""
    await world.scene.open("a-1")
    clock = Shift()
    at, found = START, [CallCount("wx1", 1, 1, 0)]
    watch = Watch(world.bench.store, clock, world.gateway.rules)

    async def standings(_limit: int) -> tuple[list[Any], int]:
        return [], at

    async def calls_between(since: int, *_: int) -> list[CallCount]:
        return found if since == START - 5 * MINUTE else []

    monkeypatch.setattr(world.bench.store, "standings", standings)
    monkeypatch.setattr(world.bench.store, "calls_between", calls_between)
    assert sum(each.calls or 0 for each in await watch.minutes(["wx1"])) == 1
    at, found = START - 5 * MINUTE, [CallCount("wx1", 7, 7, 0)]
    clock.at += 11 * SECOND
    assert (await watch.minutes(["wx1"]))[-1].calls == 7


async def test_a_store_that_is_away_is_told_in_a_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("postgresql://canary@host")

    reader = await Reader(world).signed_in()
    monkeypatch.setattr(world.bench.store, "standings", away)
    answer = await reader.get("/console")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "The store does not answer." in answer.text
    assert "canary" not in answer.text
