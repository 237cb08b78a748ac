"""Reading activities, their members, and who is missing (design.md §8)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from contracts.wechat import Verdict
from services.store.rooms import Binding
from services.store.rows import CONFIRMED, Announced, Writes
from services.transactions.views import view_activity
from statemachine.card import Phase
from tests.gateway.reading import Api
from tests.store.benches import START

READS = ("", "/members", "/missing")


async def test_an_activity_in_full(api: Api) -> None:
    """Every field of the contract, times with milliseconds, what people read by what WeChat confirmed."""
    scene = api.scene
    people = {"choose": "listed", "participants": ["m1", "m2", "m3"]}
    await scene.bench.advance(0.25)
    await scene.open("a", title="团建", deadline=7200, **people)
    await scene.complete("a", "m1")
    await scene.deliver("a", rid="r-1", duration=20_500)
    await scene.complete("a", "m2")
    assert await api.get("/v1/activities/a", "read") == {
        "activity_id": "a",
        "appid": "wx1",
        "title": "团建",
        "state": "open",
        "reason": None,
        "deadline": "2026-11-21T10:00:00.250Z",
        "expires_at": "2026-11-22T08:00:00.250Z",
        "participants": 3,
        "done": 2,
        "revision": 3,
        "delivery": {
            "phase": "due",
            "why": "throttled",
            "until": "2026-11-21T08:00:01.250Z",
            "shown": 1,
            "revision": 2,
        },
        "attempts": [
            {
                "at": "2026-11-21T08:00:00.229Z",
                "duration": 0.0205,
                "revision": 2,
                "target_state": 1,
                "members": 1,
                "outcome": "ok",
                "errcode": None,
                "errmsg": "",
                "rid": "r-1",
            }
        ],
        "reads": {"publisher": "1人已完成", "done": "已完成", "pending": "未完成", "bystander": "你无需完成"},
    }


async def test_an_activity_without_everything_optional(api: Api) -> None:
    """Null where there is nothing: no deadline, nobody listed, no reason yet, no calls."""
    await api.scene.open("a")
    body = await api.get("/v1/activities/a")
    nothing = {"reason", "deadline", "participants"}
    assert {name for name, value in body.items() if value is None} == nothing
    assert (body["title"], body["attempts"]) == ("", [])
    assert body["delivery"] == {"phase": "in_sync", "why": None, "until": None, "shown": 1, "revision": 1}


@pytest.mark.parametrize("how", ["closed", "gate", "unknown_app", "given_up"])
async def test_the_delivery_is_told_as_the_machine_tells_it(api: Api, how: str) -> None:
    """Phase, why and until when are `status`'s own, also where nothing but a person ends it."""
    scene = api.scene
    await scene.open("a")
    await scene.complete("a", "m")
    if how == "closed":
        await scene.close("a")
        await scene.deliver("a")
        await scene.deliver("a")
    elif how == "given_up":
        (claimed,) = await scene.claim("a")
        for _ in range(5):
            await scene.settle(scene.result(claimed, Verdict.unknown_code, errcode=1))
            await scene.bench.advance(61)
            (claimed,) = await scene.claim("a") or [claimed]
    else:
        never = 4_133_980_800_000_000 - 1
        reason, end = ("unknown_app", never) if how == "unknown_app" else ("blocked", START + 30_000_000)
        await scene.shut("wx1", reason, end)
    body = (await api.get("/v1/activities/a"))["delivery"]
    view = await view_activity(scene.store, "a", api.gateway.rules)
    assert view is not None
    assert view.delivery is not None
    told = (body["phase"], body["why"] or "", body["until"])
    until = "2026-11-21T08:00:30.000Z" if how == "gate" else None
    assert told == (view.delivery.phase, view.delivery.why, until)
    assert (
        told[:2]
        == {
            "closed": ("closed", "ended"),
            "gate": ("due", "gate:blocked"),
            "unknown_app": ("due", "gate:unknown_app"),
            "given_up": ("given_up", "unknown_code"),
        }[how]
    )


async def test_an_activity_that_ended_says_why(api: Api) -> None:
    """The end's reason."""
    await api.scene.open("a")
    await api.scene.close("a")
    body = await api.get("/v1/activities/a")
    assert (body["state"], body["reason"]) == ("ended", "closed")


async def test_the_last_twenty_calls_newest_first(api: Api) -> None:
    """No more, however many there were."""
    await api.scene.open("a")
    for place in range(22):
        await api.scene.complete("a", f"m{place}")
        await api.scene.deliver("a")
        await api.scene.bench.advance(1)
    attempts = (await api.get("/v1/activities/a"))["attempts"]
    assert [each["revision"] for each in attempts] == list(range(23, 3, -1))


async def test_members_with_what_the_card_shows_of_them(api: Api) -> None:
    """Owed, confirmed, skipped; null for whoever is pending or late."""
    scene = api.scene
    await scene.open("a", choose="listed", participants=[f"m{n}" for n in range(1, 6)])
    await scene.bench.advance(0.5)
    await scene.complete("a", "m1", "m2", "m3")
    await scene.mark("a", "m2", CONFIRMED)
    await scene.skip("a", "m3")
    await scene.bench.advance(1)
    await scene.close("a")
    await scene.feed(scene.completed("a", "m4", time=START + 250_000))
    at, late = "2026-11-21T08:00:00.500Z", "2026-11-21T08:00:00.250Z"

    def member(
        name: str, state: str, done_at: str | None, delivered: str | None, *, late: bool = False
    ) -> Any:
        return {
            "group_openid": name,
            "state": state,
            "late": late,
            "done_at": done_at,
            "delivered": delivered,
        }

    body = await api.get("/v1/activities/a/members", "read")
    assert body["members"][3].pop("done_at") is not None
    late_one = member("m4", "done", late, None, late=True)
    late_one.pop("done_at")
    assert body == {
        "members": [
            member("m1", "done", at, "owed"),
            member("m2", "done", at, "confirmed"),
            member("m3", "done", at, "skipped"),
            late_one,
            member("m5", "pending", None, None),
        ],
        "next": None,
    }
    pending = await api.get("/v1/activities/a/members", state="pending")
    assert [each["group_openid"] for each in pending["members"]] == ["m5"]
    done = await api.pages("/v1/activities/a/members", "members", state="done", limit=1)
    assert [each["group_openid"] for each in done] == ["m1", "m2", "m3", "m4"]


async def test_who_is_missing_and_the_reminder_for_them(api: Api) -> None:
    """`notify` is for the members of this page, and only with an entrance path."""
    people = [f"m{n}" for n in range(1, 5)]
    await api.scene.open("a", choose="listed", participants=people, title="团" * 16, template="participate")
    await api.scene.complete("a", "m2")
    body = await api.get("/v1/activities/a/missing", "read")
    assert body == {"members": ["m1", "m3", "m4"], "next": None}
    path = "/pages/sign?from=reminder&n=团"
    first = await api.get("/v1/activities/a/missing", entrance_path=path, limit=2)
    assert first.pop("next")
    assert first == {
        "members": ["m1", "m3"],
        "notify": {
            "title": "团" * 15,
            "members": ["m1", "m3"],
            "entrancePath": path,
            "type": "participate",
        },
    }
    assert await api.pages("/v1/activities/a/missing", "members", limit=1) == ["m1", "m3", "m4"]


async def test_who_is_missing_of_everyone_is_asked_of_the_room(api: Api) -> None:
    """Who is bound there and not done."""
    await api.scene.open("a", room={"opengid": "g/1"})
    for name in ("m1", "m2"):
        async with api.scene.store.transaction() as tx:
            await tx.bind(Binding("wx1", "g/1", f"o-{name}", single=False, group_openid=name))
    await api.scene.complete("a", "m1")
    assert await api.get("/v1/activities/a/missing") == {"members": ["m2"], "next": None}


@pytest.mark.parametrize("name", ["966_NGiq/x", "团 建?#%", "a+b=/c", "..", "%2F"])
async def test_an_id_is_percent_encoded_in_the_path(api: Api, name: str) -> None:
    """Whatever characters it has, a slash too."""
    await api.scene.open(name)
    segment = "%2E%2E" if name == ".." else quote(name, safe="")
    for rest in READS:
        body = await api.get(f"/v1/activities/{segment}{rest}")
        assert rest or body["activity_id"] == name


@pytest.mark.parametrize("rest", READS)
async def test_what_is_not_there_and_what_is_anothers_look_the_same(api: Api, rest: str) -> None:
    """404, with the same words: unknown, deleted, only heard of in an early event, another app's."""
    scene = api.scene
    await scene.open("mine", "deleted")
    await scene.open("theirs", appid="wx8")
    await scene.complete("early", "m")
    await scene.close("deleted")
    await api.get(f"/v1/activities/deleted{rest}")
    await scene.bench.advance(2 * 86_400)
    await scene.tick()
    await scene.store.prune(inbox=1 << 60, attempts=1 << 60, activities=3_600_000_000, limit=1)
    said = [
        await api.refused(404, "GET", f"/v1/activities/{name}{rest}", "all")
        for name in ("unknown", "theirs", "early", "x" * 129, "a%00b", "%ED%A0%80")
    ]
    said += [await api.refused(404, "GET", f"/v1/activities/mine{rest}", key) for key in ("other",)]
    assert len({msgspec.json.encode(each) for each in said if "UTF-8" not in each.get("detail", "")}) == 1
    names = [await _status(api, f"/v1/activities/{name}{rest}") for name in ("mine", "deleted")]
    assert sorted(names) == [200, 404]
    scene.contrived = True


async def _status(api: Api, path: str) -> int:
    return (await api.ask("GET", path)).status_code


@pytest.mark.parametrize("path", ["/v1/activities/a/members", "/v1/activities/a/missing", "/v1/delivery"])
async def test_limit_and_cursor_are_checked(api: Api, path: str) -> None:
    """422, and the parameter is named; the defaults and the bounds are allowed."""
    await api.scene.open("a", "b", choose="listed", participants=["m1", "m2"])
    for limit in ("0", "501", "-1", "x", "", "1.5", "1" * 30):
        problem = await api.refused(422, "GET", path, limit=limit)
        assert [each["path"] for each in problem["errors"]] == ["limit"]
    for limit in ("1", "500"):
        await api.get(path, limit=limit)
    first = await api.get("/v1/activities/a/members", limit=1)
    foreign = [first["next"] + "A", first["next"][:-1], "x", ""]
    for cursor in foreign if path.endswith("members") else [*foreign, first["next"]]:
        problem = await api.refused(422, "GET", path, cursor=cursor)
        assert [each["path"] for each in problem["errors"]] == ["cursor"]
    assert (await api.refused(422, "GET", "/v1/activities/b/members", cursor=first["next"]))["errors"]
    assert await api.refused(422, "GET", "/v1/activities/a/members", cursor=first["next"], state="done")


async def test_the_state_of_members_and_the_entrance_path_are_checked(api: Api) -> None:
    """422, and the parameter is named."""
    await api.scene.open("a")
    for path, name, value in (
        ("members", "state", "late"),
        ("members", "state", ""),
        ("missing", "entrance_path", ""),
        ("missing", "entrance_path", "pages"),
        ("missing", "entrance_path", "/" + "x" * 1024),
    ):
        problem = await api.refused(422, "GET", f"/v1/activities/a/{path}", **{name: value})
        assert [each["path"] for each in problem["errors"]] == [name]


@pytest.mark.parametrize("rest", READS)
async def test_reading_needs_its_scope(api: Api, rest: str) -> None:
    """401 without a key, 403 with one that may do everything else."""
    await api.scene.open("a")
    await api.refused(401, "GET", f"/v1/activities/a{rest}", "nobody")
    for key in ("write", "rooms", "operate"):
        await api.refused(403, "GET", f"/v1/activities/a{rest}", key)


def test_every_phase_is_one_of_the_contract() -> None:
    """The API's phases are the machine's."""
    assert set(Phase) == {"in_sync", "due", "calling", "uncertain", "given_up", "closed"}


async def _announce(api: Api, name: str) -> None:
    """As a creation leaves it: its opening event is on the way to Kafka and back."""
    async with api.scene.store.transaction() as tx:
        await tx.lock([name])
        await tx.write(Writes(announced=[Announced(name, "wx1", "团建", START + 3_600_000_000)]))


async def test_an_activity_is_opening_between_its_creation_and_its_event(api: Api) -> None:
    """Its own key sees it at once, with what is known; nobody is a member, nobody missing, nothing to try
    again."""
    await _announce(api, "new")
    body = await api.get("/v1/activities/new")
    known = {
        "activity_id": "new",
        "appid": "wx1",
        "title": "团建",
        "state": "opening",
        "expires_at": "2026-11-21T09:00:00.000Z",
        "done": 0,
        "revision": 0,
        "attempts": [],
    }
    assert {name: value for name, value in body.items() if value is not None} == known
    assert await api.get("/v1/activities/new/members") == {"members": [], "next": None}
    assert await api.get("/v1/activities/new/missing", entrance_path="/p") == {"members": [], "next": None}
    assert (await api.get("/v1/delivery"))["cards"] == []
    for rest in READS:
        await api.refused(404, "GET", f"/v1/activities/new{rest}", "other")
    problem = await api.refused(409, "POST", "/v1/activities/new/redeliver")
    assert problem["detail"] == "it is not open yet: try again in a moment"
    await api.scene.open("new", title="团建")
    assert (await api.get("/v1/activities/new"))["state"] == "open"
