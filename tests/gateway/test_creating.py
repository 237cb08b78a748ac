"""`POST /v1/activities`: an id of WeChat's, whose activity it is, and its `opened` on the way, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.decode import decode_structured
from contracts.events import Event, Opened, Room
from contracts.times import DAY, HOUR, SECOND, format_rfc3339
from contracts.wechat import CREATE_ACTIVITY_ID_PATH, TEMPLATE_IDS, Verdict
from services.gateway.times import moment
from services.store.ports import StoreUnavailable
from services.store.rows import EVENTS, OutboxRow
from services.wechat.transport import Exchange
from statemachine.gate import Gate
from tests.gateway.platform import Stage
from tests.gateway.world import ALL_KEY, OTHER_KEY, SCOPE_KEYS
from tests.store.benches import START

URL = "/v1/activities"
BODY: dict[str, Any] = {
    "appid": "wx1",
    "template": "complete",
    "title": "团建",
    "publisher": "gp-cindy",
    "room": {"opengid": "g-1"},
    "participants": ["gp-alex", "gp-bob", "gp-alex"],
    "notice": 60,
}
OWN = {**BODY, "activity_id": "966_own", "expires_at": "2026-11-22T08:00:00Z"}


async def published(stage: Stage) -> list[OutboxRow]:
    return [row for row in await stage.scene.outbox() if row.topic == EVENTS]


async def opening(stage: Stage) -> Event:
    """The one event that was made, as the topic's decoder reads it."""
    (row,) = await published(stage)
    event = decode_structured(row.body.encode())
    assert isinstance(event, Event), event
    assert (row.activity_id, row.id) == (event.activity_id, event.id)
    return event


async def test_wechat_is_asked_and_the_opening_goes_out(stage: Stage) -> None:
    answer = await stage.api.post(URL, json=BODY)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    given = stage.platform.model.given[body["activity_id"]]
    assert body == {
        "activity_id": body["activity_id"],
        "expires_at": moment(given.expires_at // SECOND * SECOND),
        "share_menu": {
            "withShareTicket": True,
            "isUpdatableMessage": True,
            "useForChatTool": True,
            "activityId": body["activity_id"],
            "chooseType": 1,
            "participant": ["gp-alex", "gp-bob"],
            "templateInfo": {"templateId": TEMPLATE_IDS["complete"]},
        },
    }
    event = await opening(stage)
    assert (event.source, event.type) == ("/livecard/api/all", "livecard.activity.opened")
    assert (event.activity_id, event.time) == (body["activity_id"], START)
    data = event.data
    assert isinstance(data, Opened)
    assert (data.title, data.participants, data.notice) == ("团建", ("gp-alex", "gp-bob"), 60)
    assert data.expires_at == given.expires_at // SECOND * SECOND
    assert stage.relay.kicked == 1


async def test_a_card_for_everyone_lists_nobody(stage: Stage) -> None:
    answer = await stage.api.post(URL, json={**BODY, "choose": "everyone", "template": "participate"})
    menu = answer.json()["share_menu"]
    assert (menu["chooseType"], menu["participant"]) == (2, [])
    assert menu["templateInfo"] == {"templateId": TEMPLATE_IDS["participate"]}


async def test_an_id_that_the_caller_has_asks_nobody(stage: Stage) -> None:
    answer = await stage.api.post(URL, json=OWN)
    assert answer.status_code == 201, answer.text
    assert answer.json()["activity_id"] == answer.json()["share_menu"]["activityId"] == "966_own"
    assert answer.json()["expires_at"] == "2026-11-22T08:00:00.000Z"
    assert (await opening(stage)).activity_id == "966_own"
    assert stage.platform.asked == []


async def test_null_is_as_good_as_absent(stage: Stage) -> None:
    answer = await stage.api.post(URL, json={**BODY, "activity_id": None, "expires_at": None, "room": None})
    assert answer.status_code == 201
    assert stage.platform.asked == [CREATE_ACTIVITY_ID_PATH]


async def test_a_room_is_taken_as_binding_answered_it(stage: Stage) -> None:
    """With the kind of the chat, which no event names: nobody is warned of it."""
    answer = await stage.api.post(URL, json={**BODY, "room": {"opengid": "g-1", "chat_type": 3}})
    assert (answer.status_code, answer.json().get("ignored")) == (201, None)
    data = (await opening(stage)).data
    assert isinstance(data, Opened)
    assert (data.room, data.ignored) == (Room(opengid="g-1"), ())


EXPIRES_AT = {"expires_at": "2026-11-22T08:00:00Z"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"activity_id": "966_own"}, "expires_at"),
    (EXPIRES_AT, "activity_id"),
    ({"activity_id": 7, **EXPIRES_AT}, "activity_id"),
    ({"activity_id": "", **EXPIRES_AT}, "activity_id"),
    ({"activity_id": "a\n", **EXPIRES_AT}, "activity_id"),
    ({"activity_id": "a" * 129, **EXPIRES_AT}, "activity_id"),
    ({"activity_id": "a", "expires_at": "tomorrow"}, "expires_at"),
    ({"deadline": "soon"}, "deadline"),
    ({"participants": ["gp-alex", ""]}, "participants[1]"),
    ({"room": {}}, "room"),
    ({"appid": None}, "appid"),
    ({"template": "vote"}, "template"),
]


async def test_what_is_wrong_is_said_as_on_the_topic_and_asks_nobody(stage: Stage) -> None:
    for change, path in WRONG:
        answer = await stage.api.post(URL, json={**BODY, **change})
        assert answer.status_code == 422, answer.text
        assert [each["path"] for each in answer.json()["errors"]] == [path]
    assert (stage.platform.asked, await published(stage)) == ([], [])


async def test_a_body_that_is_no_object_is_refused(stage: Stage) -> None:
    for body in (b"[]", b"7", b"null", b"{", b"\xff", b'{"appid":' + b"[" * 5000):
        answer = await stage.api.post(URL, content=body)
        assert answer.status_code in (400, 422), answer.text


async def test_fields_that_do_not_exist_are_told_and_warned_of(stage: Stage) -> None:
    """The event keeps their names, so that the change warns as for any producer's."""
    room = {"opengid": "g-1", "colour": "red"}
    answer = await stage.api.post(URL, json={**BODY, "closes_at": "x" * 5000, "room": room})
    assert answer.status_code == 201, answer.text
    assert answer.json()["ignored"] == ["closes_at", "room.colour"]
    data = (await opening(stage)).data
    assert isinstance(data, Opened)
    assert data.ignored == ("closes_at", "room.colour")
    (row,) = await published(stage)
    assert len(row.body) < 2000


async def test_more_than_an_event_holds_is_refused_before_wechat_is_asked(stage: Stage) -> None:
    people = [f"gp-{n:0120}" for n in range(8000)]
    answer = await stage.api.post(URL, json={**BODY, "participants": people})
    assert answer.status_code == 413
    assert "fewer participants" in answer.json()["detail"]
    assert stage.platform.asked == []


async def test_a_key_creates_for_its_own_apps_alone(stage: Stage) -> None:
    answer = await stage.client(OTHER_KEY).post(URL, json=BODY)
    assert answer.status_code == 403
    assert (stage.platform.asked, await published(stage)) == ([], [])
    for scope, key in SCOPE_KEYS.items():
        assert (await stage.client(key).post(URL, json=BODY)).status_code == (
            201 if scope == "write" else 403
        )


async def test_the_activity_is_known_as_opening_until_the_event_is_back(stage: Stage) -> None:
    made = (await stage.api.post(URL, json=BODY)).json()
    name = made["activity_id"]
    shown = (await stage.api.get(f"{URL}/{name}")).json()
    assert (shown["state"], shown["appid"]) == ("opening", "wx1")
    assert (await stage.client(OTHER_KEY).get(f"{URL}/{name}")).status_code == 404
    done = await stage.api.post(f"{URL}/{name}/complete", json={"members": ["gp-alex"]})
    assert done.status_code == 202
    (event, completion) = [decode_structured(row.body.encode()) for row in await published(stage)]
    assert isinstance(event, Event)
    assert isinstance(completion, Event)
    await stage.scene.feed(stage.scene.event("participant.completed", name, members=["gp-bob"]))
    opened = stage.scene.event(
        "activity.opened", name, **{**BODY, "expires_at": made["expires_at"]}, choose="listed"
    )
    await stage.scene.feed(opened)
    shown = (await stage.api.get(f"{URL}/{name}")).json()
    assert (shown["state"], shown["title"], shown["done"]) == ("open", "团建", 1)


@pytest.mark.parametrize("whose", ["wx1", "wx2"])
async def test_an_id_is_for_one_card(stage: Stage, whose: str) -> None:
    """Whosoever has it: the sentence is the same for one's own and for another's."""
    await stage.scene.open("966_own", appid=whose)
    answer = await stage.api.post(URL, json=OWN)
    assert answer.status_code == 409
    assert whose not in answer.text.replace("wx1", "")
    assert await published(stage) == []
    again = {**OWN, "activity_id": "966_other"}
    assert [(await stage.api.post(URL, json=again)).status_code for _ in "ab"] == [201, 409]


async def test_events_that_came_early_do_not_stand_in_the_way(stage: Stage) -> None:
    await stage.scene.complete("966_own", "gp-alex")
    assert (await stage.api.post(URL, json=OWN)).status_code == 201


REFUSALS = [
    (-1, "busy", None),
    (40001, "token", "token"),
    (40013, "misconfigured", "misconfigured"),
    (48001, "blocked", "blocked"),
    (40164, "address", None),
    (45009, "daily_limit", None),
    (45011, "minute_limit", None),
    (99999, "unknown_code", None),
]


@pytest.mark.parametrize(("errcode", "outcome", "closes"), REFUSALS)
async def test_what_wechat_refuses_is_503_and_closes_the_gate_as_a_card_would(
    stage: Stage, errcode: int, outcome: str, closes: str | None
) -> None:
    stage.platform.refuse(CREATE_ACTIVITY_ID_PATH, errcode)
    answer = await stage.api.post(URL, json=BODY)
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert (str(errcode) in answer.text) or closes
    assert await published(stage) == []
    gates = {gate.appid: gate.reason for gate in await stage.scene.store.all_gates() if gate.reason}
    assert gates == ({"wx1": closes} if closes else {})
    count = stage.gateway.metrics.registry.get_sample_value
    assert count("livecard_activity_ids_total", {"outcome": outcome}) == 1


async def test_an_answer_that_is_none_is_503(stage: Stage) -> None:
    for exchange in (Exchange(502, why="HTTP 502"), Exchange(unsent=True), Exchange(200, b"{}")):
        stage.platform.lies[CREATE_ACTIVITY_ID_PATH] = exchange
        answer = await stage.api.post(URL, json=BODY)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_a_closed_gate_is_not_asked_and_says_how_long(stage: Stage) -> None:
    await stage.scene.open("a")
    await stage.scene.shut("wx1", Verdict.blocked.value, START + 42 * SECOND)
    answer = await stage.api.post(URL, json=BODY)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "42")
    assert "blocked" in answer.json()["detail"]
    assert stage.platform.asked == []
    assert (await stage.api.post(URL, json=OWN)).status_code == 201  # asks nobody, so no gate is in the way


async def test_once_the_wait_is_over_one_creation_finds_out(stage: Stage) -> None:
    """An app whose cards are all at rest would have no other probe."""
    await stage.scene.open("a")
    await stage.scene.shut("wx1", Verdict.misconfigured.value, START - 1)
    seen: list[Gate] = []
    codes: list[int] = []

    async def meanwhile(path: str) -> None:
        if path == CREATE_ACTIVITY_ID_PATH and not seen:
            seen.append(await stage.scene.gate())
            codes.append((await stage.api.post(URL, json=BODY)).status_code)

    stage.platform.before_answer = meanwhile
    assert (await stage.api.post(URL, json=BODY)).status_code == 201
    assert (seen[0].closed_until, codes) == (START + stage.gateway.rules.lease, [503])
    assert (await stage.scene.gate()).reason == ""
    assert len(stage.platform.asked) == 1


@pytest.mark.parametrize("errcode", [40013, 45009])
async def test_a_probe_that_is_refused_closes_and_one_that_is_let_in_opens(
    stage: Stage, errcode: int
) -> None:
    """That no more ids are to be had says that the app is let in."""
    await stage.scene.open("a")
    await stage.scene.shut("wx1", Verdict.misconfigured.value, START - 1)
    stage.platform.refuse(CREATE_ACTIVITY_ID_PATH, errcode)
    assert (await stage.api.post(URL, json=BODY)).status_code == 503
    gate = await stage.scene.gate()
    assert gate.reason == ("misconfigured" if errcode == 40013 else "")


@pytest.mark.parametrize(("errcode", "wait"), [(45011, "60"), (45009, "300")])
async def test_a_limit_of_this_call_is_kept_here_and_leaves_the_cards_alone(
    stage: Stage, errcode: int, wait: str
) -> None:
    stage.platform.refuse(CREATE_ACTIVITY_ID_PATH, errcode)
    answers = [await stage.api.post(URL, json=BODY) for _ in "abc"]
    assert {(each.status_code, each.headers["retry-after"]) for each in answers} == {(503, wait)}
    assert len(stage.platform.asked) == 1
    assert all(not gate.reason for gate in await stage.scene.store.all_gates())


async def test_an_app_without_a_secret_here_is_409(stage: Stage) -> None:
    stage.gateway.apps.names = lambda appid: False  # type: ignore[method-assign]  # as a file without it
    answer = await stage.api.post(URL, json=BODY)
    assert answer.status_code == 409
    assert "LIVECARD_APPS_FILE" in answer.json()["detail"]
    assert (await stage.api.post(URL, json=OWN)).status_code == 201


KEYED = {"idempotency-key": "k-1"}


async def test_the_same_key_answers_the_same_and_makes_no_second_id(stage: Stage) -> None:
    first, again = [await stage.api.post(URL, json=BODY, headers=KEYED) for _ in "ab"]
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert (len(stage.platform.asked), len(await published(stage))) == (1, 1)


class Killed(BaseException):
    """The process is gone."""


async def test_killed_between_wechats_answer_and_the_commit_nothing_is_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is in the store; the repeat makes a second id, and one activity."""

    async def die(path: str) -> None:
        if path == CREATE_ACTIVITY_ID_PATH:
            raise Killed

    stage.platform.before_answer = die
    with pytest.raises(BaseException):  # noqa: B017, PT011 (whatever the client makes of a dead process)
        await stage.api.post(URL, json=BODY, headers=KEYED)
    assert (await published(stage), len(stage.platform.model.given)) == ([], 1)
    stage.platform.before_answer = None
    assert (await stage.api.post(URL, json=BODY, headers=KEYED)).status_code == 409  # it counts as under way
    await stage.bench.advance(61)
    answer = await stage.api.post(URL, json=BODY, headers=KEYED)
    assert answer.status_code == 201, answer.text
    assert [row.activity_id for row in await published(stage)] == [answer.json()["activity_id"]]
    assert len(stage.platform.model.given) == 2


async def test_killed_between_the_commit_and_the_answer_the_repeat_says_what_was_done(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.gateway import once

    real = once.Reply.response

    def die(_self: Any) -> Any:
        raise Killed

    monkeypatch.setattr(once.Reply, "response", die)
    with pytest.raises(BaseException):  # noqa: B017, PT011 (whatever the client makes of a dead process)
        await stage.api.post(URL, json=BODY, headers=KEYED)
    monkeypatch.setattr(once.Reply, "response", real)
    (row,) = await published(stage)
    answer = await stage.api.post(URL, json=BODY, headers=KEYED)
    assert (answer.status_code, answer.json()["activity_id"]) == (201, row.activity_id)
    assert (len(stage.platform.asked), len(await published(stage))) == (1, 1)


async def test_a_store_that_is_away_leaves_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The activity's app, its event and the kept answer are one transaction."""
    from services.gateway.routes import creations

    async def away(*_: Any) -> Any:
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(creations, "announce", away)
    answer = await stage.api.post(URL, json=BODY, headers=KEYED)
    assert answer.status_code == 503
    monkeypatch.undo()
    await stage.bench.advance(61)  # whether it was committed is unknown, so it counts as under way
    assert (await stage.api.post(URL, json=BODY, headers=KEYED)).status_code == 201
    assert len(await published(stage)) == 1


async def test_announced_activities_are_kept_for_a_day_and_then_forgotten(stage: Stage) -> None:
    """The outbox may wait for the broker longer than events wait for an opening."""
    made = (await stage.api.post(URL, json=BODY)).json()["activity_id"]
    ages = {"inbox": DAY, "attempts": DAY, "activities": DAY, "bindings": DAY, "limit": 100}
    await stage.bench.advance(2 * HOUR / SECOND)
    assert (await stage.scene.store.prune(**ages))["unopened"] == 0
    assert (await stage.api.get(f"{URL}/{made}")).json()["state"] == "opening"
    await stage.bench.advance(DAY / SECOND)
    assert (await stage.scene.store.prune(**ages))["unopened"] == 1
    assert (await stage.api.get(f"{URL}/{made}")).status_code == 404


async def test_the_time_of_expiry_is_written_as_everywhere(stage: Stage) -> None:
    own = {**OWN, "expires_at": "2026-11-22T16:00:00.1234567+08:00"}
    answer = await stage.api.post(URL, json=own)
    assert answer.json()["expires_at"] == "2026-11-22T08:00:00.123Z"
    data = (await opening(stage)).data
    assert isinstance(data, Opened)
    assert format_rfc3339(data.expires_at) == "2026-11-22T08:00:00.123456Z"
    assert ALL_KEY not in answer.text


async def test_a_card_that_continues_another_lists_its_members_anew(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page needs them for wx.updateShareMenu; of another app's card, or another room's, it gets nobody.
    What is left out stays out of the event, so that it is taken over."""
    from services.gateway.routes import creations

    monkeypatch.setattr(creations, "PAGE", 2)
    room = {"opengid": "g-1"}
    people = ["gp-alex", "gp-bob", "gp-cindy"]
    await stage.scene.open("old", choose="listed", participants=people, room=room)
    await stage.scene.open("foreign", choose="listed", participants=people, room=room, appid="wx2")
    body = {name: value for name, value in BODY.items() if name not in ("participants", "notice")}
    for earlier, change, listed in (
        ("old", {}, people),
        ("old", {"participants": ["gp-new"]}, ["gp-new"]),
        ("old", {"choose": "everyone"}, []),
        ("old", {"room": {"opengid": "g-2"}}, []),
        ("foreign", {}, []),
        ("nobody's", {}, []),
    ):
        answer = await stage.api.post(URL, json={**body, "continues": earlier, **change})
        assert answer.status_code == 201, answer.text
        assert answer.json()["share_menu"]["participant"] == listed
    data = decode_structured((await published(stage))[0].body.encode())
    assert isinstance(data, Event)
    assert isinstance(data.data, Opened)
    assert (data.data.continues, data.data.participants, data.data.notice) == ("old", (), None)
