"""`POST /v1/activities`: an id of WeChat's, whose activity it is, and its `opened` on the way, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.decode import decode_structured
from contracts.events import Event, Opened, Room
from contracts.times import DAY, HOUR, SECOND, format_rfc3339
from contracts.wechat import CREATE_ACTIVITY_ID_PATH, TEMPLATE_IDS
from services.gateway.routes import creations
from services.gateway.times import moment
from services.store.rows import EVENTS, OutboxRow
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


async def test_an_id_for_which_events_wait_is_not_given_away(stage: Stage) -> None:
    """They may be another app's: they would be applied to this one's activity."""
    await stage.scene.complete("966_own", "gp-alex")
    answer = await stage.api.post(URL, json=OWN)
    assert (answer.status_code, await published(stage)) == (409, [])
    assert "events on Kafka wait" in answer.json()["detail"]


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
    """The page needs them for wx.updateShareMenu. What is left out stays out of the event, so that it is
    taken over."""
    monkeypatch.setattr(creations, "PAGE", 2)
    room = {"opengid": "g-1"}
    people = ["gp-alex", "gp-bob", "gp-cindy"]
    await stage.scene.open("old", choose="listed", participants=people, room=room)
    body = {name: value for name, value in BODY.items() if name not in ("participants", "notice")}
    for earlier, change, listed in (
        ("old", {}, people),
        ("old", {"participants": ["gp-new"]}, ["gp-new"]),
        ("old", {"choose": "everyone"}, []),
    ):
        answer = await stage.api.post(URL, json={**body, "continues": earlier, **change})
        assert answer.status_code == 201, answer.text
        assert answer.json()["share_menu"]["participant"] == listed
    data = decode_structured((await published(stage))[0].body.encode())
    assert isinstance(data, Event)
    assert isinstance(data.data, Opened)
    assert (data.data.continues, data.data.participants, data.data.notice) == ("old", (), None)
