"""`POST /v1/activities` when WeChat refuses, or the process dies: nothing is lost, and nothing done twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts.times import SECOND, format_rfc3339
from contracts.wechat import CREATE_ACTIVITY_ID_PATH, Verdict
from scripts.patience import PATIENCE
from services.gateway import once
from services.gateway.keys import SCOPES, ApiKeys, KeyEntry, hash_of
from services.gateway.routes import creations
from services.store.ports import StoreUnavailable
from services.wechat.transport import Exchange
from statemachine.gate import Gate
from tests.gateway.platform import Stage
from tests.gateway.test_creating import BODY, OWN, URL, published
from tests.gateway.world import ALL_KEY
from tests.store.benches import START

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
    """And a line of the log tells it, with all that WeChat's support asks for."""
    stage.platform.refuse(CREATE_ACTIVITY_ID_PATH, errcode)
    with capture_logs() as lines:
        answer = await stage.api.post(URL, json=BODY)
    (line,) = [each for each in lines if each.get("errcode") == errcode]
    assert line["event"].startswith("a gate closed" if closes else "WeChat gives no activity id")
    assert {"appid", "errmsg", "rid"} <= line.keys()
    assert line["log_level"] == "warning"
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


async def test_where_wechat_hangs_others_go_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for it takes none of their places; who would wait beyond the bound is told at once."""
    monkeypatch.setattr("services.gateway.places.MOST", 1)
    reached, go = asyncio.Event(), asyncio.Event()

    async def hangs(_path: str) -> None:
        reached.set()
        await go.wait()

    stage.platform.before_answer = hangs
    waits = asyncio.create_task(stage.api.post(URL, json=BODY))
    await reached.wait()
    logs_in = {"appid": "wx1", "js_code": "c"}
    for url, body in ((URL, BODY), ("/v1/sessions", logs_in)):
        async with asyncio.timeout(PATIENCE):
            shed = await stage.api.post(url, json=body)
        assert (shed.status_code, shed.headers["retry-after"]) == (503, "1")
        assert "wait for WeChat" in shed.json()["detail"]
    assert (await stage.api.post(URL, json=OWN)).status_code == 201
    go.set()
    assert (await waits).status_code == 201
    assert (await stage.api.post(URL, json=BODY)).status_code == 201


async def test_what_was_answered_for_an_app_is_told_only_while_the_key_is_for_it(stage: Stage) -> None:
    repeated = {"idempotency-key": "k-1"}
    assert (await stage.api.post(URL, json=BODY, headers=repeated)).status_code == 201
    keys: ApiKeys = stage.app.state.api_keys
    keys._callers = ApiKeys({hash_of(ALL_KEY): KeyEntry("all", SCOPES, ("wx9",))})._callers
    assert (await stage.api.post(URL, json=BODY, headers=repeated)).status_code == 403


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
    anywhere: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is in the store; the repeat makes a second id, and one activity."""

    async def die(path: str) -> None:
        if path == CREATE_ACTIVITY_ID_PATH:
            raise Killed

    anywhere.platform.before_answer = die
    with pytest.raises(BaseException):  # noqa: B017, PT011 (whatever the client makes of a dead process)
        await anywhere.api.post(URL, json=BODY, headers=KEYED)
    assert (await published(anywhere), len(anywhere.platform.model.given)) == ([], 1)
    anywhere.platform.before_answer = None
    assert (
        await anywhere.api.post(URL, json=BODY, headers=KEYED)
    ).status_code == 409  # it counts as under way
    await anywhere.bench.advance(61)
    answer = await anywhere.api.post(URL, json=BODY, headers=KEYED)
    assert answer.status_code == 201, answer.text
    assert [row.activity_id for row in await published(anywhere)] == [answer.json()["activity_id"]]
    assert len(anywhere.platform.model.given) == 2


async def test_killed_between_the_commit_and_the_answer_the_repeat_says_what_was_done(
    anywhere: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = once.Reply.response

    def die(_self: Any) -> Any:
        raise Killed

    monkeypatch.setattr(once.Reply, "response", die)
    with pytest.raises(BaseException):  # noqa: B017, PT011 (whatever the client makes of a dead process)
        await anywhere.api.post(URL, json=BODY, headers=KEYED)
    monkeypatch.setattr(once.Reply, "response", real)
    (row,) = await published(anywhere)
    answer = await anywhere.api.post(URL, json=BODY, headers=KEYED)
    assert (answer.status_code, answer.json()["activity_id"]) == (201, row.activity_id)
    assert (len(anywhere.platform.asked), len(await published(anywhere))) == (1, 1)


async def test_a_store_that_is_away_leaves_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The activity's app, its event and the kept answer are one transaction."""

    async def away(*_: Any) -> Any:
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(creations, "announce", away)
    answer = await stage.api.post(URL, json=BODY, headers=KEYED)
    assert answer.status_code == 503
    monkeypatch.undo()
    await stage.bench.advance(61)  # whether it was committed is unknown, so it counts as under way
    assert (await stage.api.post(URL, json=BODY, headers=KEYED)).status_code == 201
    assert len(await published(stage)) == 1


async def test_a_predecessor_for_which_the_opening_would_be_refused_is_422(stage: Stage) -> None:
    """Before WeChat is asked; of another app's card no more is told than of none."""
    await stage.scene.open("old", room={"opengid": "g-1"})
    await stage.scene.open("private", room={"open_single_roomid": "g-1"})
    await stage.scene.open("roomless")
    await stage.scene.open("foreign", room={"opengid": "g-1"}, appid="wx2")
    await stage.scene.complete("early", "gp-alex")
    told = {}
    for earlier, room in (
        ("nobody", {"opengid": "g-1"}),
        ("early", {"opengid": "g-1"}),
        ("foreign", {"opengid": "g-1"}),
        ("old", {"opengid": "g-2"}),
        ("old", None),
        ("private", {"opengid": "g-1"}),
        ("roomless", {"opengid": "g-1"}),
    ):
        answer = await stage.api.post(URL, json={**BODY, "continues": earlier, "room": room})
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert error["path"] == "continues"
        told[earlier] = error["message"]
    assert told["nobody"] == told["foreign"] == told["early"] != told["old"]
    assert "room" in told["old"]
    assert (stage.platform.asked, await published(stage)) == ([], [])


async def test_a_card_may_continue_one_that_is_on_its_way(stage: Stage) -> None:
    """Its app and room are known as soon as it is created."""
    assert (await stage.api.post(URL, json=OWN)).status_code == 201
    heir = {**BODY, "continues": "966_own"}
    assert (await stage.api.post(URL, json=heir)).status_code == 201
    assert (await stage.api.post(URL, json={**heir, "room": None})).status_code == 422
    assert (await stage.api.post(URL, json={**heir, "room": {"opengid": "g-2"}})).status_code == 422


async def test_a_card_with_too_many_members_is_not_continued(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opening would be a dead letter."""
    monkeypatch.setattr("services.gateway.routes.creations.MOST_CARRIED", 2)
    for name, people in (("two", ["ann", "bob"]), ("three", ["ann", "bob", "cat"])):
        await stage.scene.open(name, room={"opengid": "g-1"}, choose="listed", participants=people)
    heir = {**BODY, "room": {"opengid": "g-1"}}
    assert (await stage.api.post(URL, json={**heir, "continues": "two"})).status_code == 201
    answer = await stage.api.post(URL, json={**heir, "continues": "three"})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["path"], "without `continues`" in error["message"]) == ("continues", True)


async def test_an_id_that_is_dead_is_refused(stage: Stage) -> None:
    past = {**OWN, "expires_at": format_rfc3339(START)}
    answer = await stage.api.post(URL, json=past)
    assert answer.status_code == 422, answer.text
    assert [each["path"] for each in answer.json()["errors"]] == ["expires_at"]
    assert await published(stage) == []
    assert (await stage.api.get(f"{URL}/966_own")).status_code == 404
    assert (await stage.api.post(URL, json=OWN)).status_code == 201


async def test_an_activity_whose_opening_is_refused_is_not_opening_any_more(stage: Stage) -> None:
    """Its id may have died on the way; nobody waits for it for ever."""
    assert (await stage.api.post(URL, json=OWN)).status_code == 201
    await stage.scene.open("966_own", life=-1)
    assert (await stage.api.get(f"{URL}/966_own")).status_code == 404
