"""What an operator reads and does: cards that are not in sync, redelivery, gates (design.md §8)."""

from __future__ import annotations

import pytest

from contracts.wechat import Verdict
from statemachine.card import CALLING, phase
from statemachine.gate import NEVER
from tests.gateway.reading import Api
from tests.store.benches import START


async def test_cards_that_are_not_in_sync(api: Api) -> None:
    """Oldest first, of the key's apps alone: phase, why, until when, since when."""
    scene = api.scene
    await scene.open("c1", "c2", "c3", "fine")
    await scene.open("theirs", appid="wx8")
    await scene.open("second", appid="wx2")
    await scene.complete("theirs", "m")
    for name in ("c3", "c1", "second", "c2"):
        await scene.bench.advance(1)
        await scene.complete(name, "m")
    await scene.claim("c1", holder="d-1")
    await scene.shut("wx2", "daily_limit", START + 3_600_000_000)
    body = await api.get("/v1/delivery", "all")
    assert body == {
        "cards": [
            {
                "activity_id": "c3",
                "appid": "wx1",
                "phase": "due",
                "why": None,
                "until": None,
                "since": "2026-11-21T08:00:01.000Z",
            },
            {
                "activity_id": "c1",
                "appid": "wx1",
                "phase": "calling",
                "why": "d-1",
                "until": "2026-11-21T08:00:34.000Z",
                "since": "2026-11-21T08:00:02.000Z",
            },
            {
                "activity_id": "second",
                "appid": "wx2",
                "phase": "due",
                "why": "gate:daily_limit",
                "until": "2026-11-21T09:00:00.000Z",
                "since": "2026-11-21T08:00:03.000Z",
            },
            {
                "activity_id": "c2",
                "appid": "wx1",
                "phase": "due",
                "why": None,
                "until": None,
                "since": "2026-11-21T08:00:04.000Z",
            },
        ],
        "next": None,
    }
    found = await api.pages("/v1/delivery", "cards", limit=1)
    assert found == body["cards"]
    mine = await api.get("/v1/delivery", "operate")
    assert [each["activity_id"] for each in mine["cards"]] == ["c3", "c1", "c2"]
    for key in ("other", "none"):
        assert await api.get("/v1/delivery", key) == {"cards": [], "next": None}


async def test_redelivering_makes_skipped_members_owed_again(api: Api) -> None:
    """And says who; asked again there is nothing to do."""
    await api.scene.open("a/1")
    await api.scene.complete("a/1", "m1", "m2")
    await api.scene.skip("a/1", "m2")
    answer = await api.ask("POST", "/v1/activities/a%2F1/redeliver", "operate")
    assert (answer.status_code, answer.json()) == (200, {"members": ["m2"], "revived": False})
    assert await api.scene.skipped("a/1") == []
    answer = await api.ask("POST", "/v1/activities/a%2F1/redeliver", json={})
    assert (answer.status_code, answer.json()) == (200, {"members": [], "revived": False})


async def test_redelivering_revives_a_card_that_was_given_up(api: Api) -> None:
    """It is due again at once."""
    scene = api.scene
    await scene.open("a")
    await scene.complete("a", "m")
    (claimed,) = await scene.claim("a")
    for _ in range(5):
        await scene.settle(scene.result(claimed, Verdict.unknown_code, errcode=1))
        await scene.bench.advance(61)
        (claimed,) = await scene.claim("a") or [claimed]
    (card,) = (await api.get("/v1/delivery"))["cards"]
    assert (card["phase"], card["why"], card["until"]) == ("given_up", "unknown_code", None)
    answer = await api.ask("POST", "/v1/activities/a/redeliver")
    assert answer.json() == {"members": [], "revived": True}
    assert phase(await scene.card("a")) is not CALLING
    (card,) = (await api.get("/v1/delivery"))["cards"]
    assert card["phase"] == "due"


async def test_a_closed_card_is_not_redelivered(api: Api) -> None:
    """409, with a sentence."""
    await api.scene.open("a")
    await api.scene.close("a")
    await api.scene.deliver("a")
    problem = await api.refused(409, "POST", "/v1/activities/a/redeliver")
    assert problem["detail"] == "the card shows its end: nothing can follow it"


async def test_redelivering_what_is_anothers_changes_nothing(api: Api) -> None:
    """404, as for what does not exist."""
    await api.scene.open("a", appid="wx8")
    await api.scene.complete("a", "m")
    await api.scene.skip("a", "m")
    await api.scene.complete("early", "m")
    for name in ("a", "early", "unknown", "x" * 200):
        await api.refused(404, "POST", f"/v1/activities/{name}/redeliver")
    assert await api.scene.skipped("a") == ["m"]


async def test_gates_of_the_keys_apps(api: Api) -> None:
    """Why, and until when if they are closed now; one that only the apps file opens has no time."""
    scene = api.scene
    await scene.open("a", appid="wx1")
    await scene.open("b", appid="wx2")
    await scene.open("c", appid="wx8")
    opened = {"appid": "wx1", "reason": None, "closed_until": None, "errcode": None, "why": None}
    second = {**opened, "appid": "wx2"}
    assert await api.get("/v1/gates") == {"gates": [opened, second]}
    assert await api.get("/v1/gates", "operate") == {"gates": [opened]}
    assert await api.get("/v1/gates", "none") == {"gates": []}
    await scene.shut("wx1", "daily_limit", START + 60_000_000)
    await scene.shut("wx2", "unknown_app", NEVER)
    limit = {**opened, "reason": "daily_limit", "closed_until": "2026-11-21T08:01:00.000Z"}
    assert await api.get("/v1/gates") == {"gates": [limit, {**second, "reason": "unknown_app"}]}
    await scene.bench.advance(61)
    over = {**limit, "closed_until": None}
    assert await api.get("/v1/gates", "operate") == {"gates": [over]}


async def test_the_code_that_closed_a_gate_is_told(api: Api) -> None:
    """As WeChat answered it."""
    await api.scene.open("a")
    await api.scene.complete("a", "m")
    await api.scene.deliver("a", Verdict.blocked, errcode=48001)
    (gate,) = (await api.get("/v1/gates"))["gates"]
    assert (gate["reason"], gate["errcode"]) == ("blocked", 48001)
    assert gate["closed_until"] == "2026-11-21T08:01:00.000Z"


async def test_opening_a_gate(api: Api) -> None:
    """204, whether it was closed or open; no body."""
    await api.scene.open("a")
    await api.scene.shut("wx1", "blocked", START + 60_000_000)
    for _ in range(2):
        answer = await api.ask("POST", "/v1/gates/wx1/open", "operate")
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await api.scene.gate("wx1")).reason == ""


async def test_closing_a_gate(api: Api) -> None:
    """Until when, why, and by which key; what is done is told to whoever operates the app."""
    await api.scene.open("a")
    await api.scene.open("b", appid="wx2")
    body = {"until": "2026-11-21T16:05:00+08:00", "why": "a wrong campaign"}
    answer = await api.ask("POST", "/v1/gates/wx1/close", "operate", json=body)
    assert (answer.status_code, answer.content) == (204, b"")
    (gate,) = (await api.get("/v1/gates", "operate"))["gates"]
    assert (gate["reason"], gate["why"]) == ("operator", "a wrong campaign")
    assert gate["closed_until"] == "2026-11-21T08:05:00.000Z"
    await api.ask("POST", "/v1/gates/wx1/open", "operate", json={"why": "over"})
    opened, closed = (await api.get("/v1/actions", "operate"))["actions"]
    assert (opened["what"], opened["why"], opened["said"]) == ("open gate", "over", "was operator")
    assert closed == {
        "at": "2026-11-21T08:00:00.000Z",
        "who": "key operate (API)",
        "what": "close gate",
        "appid": "wx1",
        "about": None,
        "why": "a wrong campaign",
        "said": "until 2026-11-21T08:05:00Z",
    }
    assert await api.get("/v1/actions", "none") == {"actions": []}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"why": "x"}, "until"),
        ({"until": "2026-11-21T09:00:00Z", "why": ""}, "why"),
        ({"until": "2026-11-21T09:00:00Z"}, "why"),
        ({"until": "2026-11-21T09:00:00Z", "why": "x", "whose": "y"}, "whose"),
        ({"until": "tomorrow", "why": "x"}, "until"),
    ],
)
async def test_a_closing_without_a_reason_or_a_time_that_can_be_is_refused(
    api: Api, body: dict[str, str], path: str
) -> None:
    await api.scene.open("a")
    problem = await api.refused(422, "POST", "/v1/gates/wx1/close", json=body)
    assert [each["path"] for each in problem["errors"]] == [path]
    assert (await api.scene.gate("wx1")).reason == ""


@pytest.mark.parametrize("until", ["2026-11-21T07:00:00Z", "2027-11-21T07:00:00Z"])
async def test_a_gate_is_closed_for_a_time_ahead_that_is_not_too_long(api: Api, until: str) -> None:
    await api.scene.open("a")
    await api.refused(409, "POST", "/v1/gates/wx1/close", json={"until": until, "why": "x"})
    assert (await api.scene.gate("wx1")).reason == ""


async def test_opening_a_gate_that_is_not_the_keys(api: Api) -> None:
    """404: another's app, one of the key's that never opened an activity, one that nobody knows."""
    await api.scene.open("a", appid="wx8")
    await api.scene.shut("wx8", "blocked", START + 60_000_000)
    for name in ("wx8", "wx1", "nobody", "%00"):
        await api.refused(404, "POST", f"/v1/gates/{name}/open")
    assert (await api.scene.gate("wx8")).reason == "blocked"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/delivery"),
        ("GET", "/v1/gates"),
        ("GET", "/v1/actions"),
        ("POST", "/v1/gates/wx1/open"),
        ("POST", "/v1/gates/wx1/close"),
        ("POST", "/v1/activities/a/redeliver"),
    ],
)
async def test_operating_needs_its_scope(api: Api, method: str, path: str) -> None:
    """401 without a key, 403 with one that may do everything else."""
    await api.scene.open("a")
    await api.refused(401, method, path, "nobody")
    for key in ("read", "write", "rooms"):
        await api.refused(403, method, path, key)


async def test_a_repeated_redelivery_is_answered_as_the_first_time(api: Api) -> None:
    """Under its Idempotency-Key: what was done is kept in the transaction that does it."""
    await api.scene.open("a")
    await api.scene.complete("a", "m")
    await api.scene.skip("a", "m")
    answers = [
        await api.ask("POST", "/v1/activities/a/redeliver", headers={"Idempotency-Key": "k-1"})
        for _ in range(2)
    ]
    assert [each.json() for each in answers] == [{"members": ["m"], "revived": False}] * 2
    opened = [
        await api.ask("POST", "/v1/gates/wx1/open", headers={"Idempotency-Key": "k-2"}) for _ in range(2)
    ]
    assert [each.status_code for each in opened] == [204, 204]


async def test_a_refused_closing_is_kept_under_its_idempotency_key(api: Api) -> None:
    """What is mended goes under another key."""
    await api.scene.open("a")
    mended = {"until": "2026-11-21T09:00:00Z", "why": "x"}
    for body in ({"until": mended["until"]}, mended):
        answer = await api.ask("POST", "/v1/gates/wx1/close", json=body, headers={"Idempotency-Key": "k-1"})
        assert answer.status_code == 422, answer.text
    assert (await api.scene.gate("wx1")).reason == ""


async def test_the_body_of_an_operators_post_is_json_or_nothing(api: Api) -> None:
    """Nothing is needed of it."""
    await api.scene.open("a")
    for path in ("/v1/activities/a/redeliver", "/v1/gates/wx1/open"):
        for body, status in ((b"", 2), (b"{}", 2), (b"{", 4), (b"[]", 4), (b'{"x": 1}', 4)):
            answer = await api.ask("POST", path, content=body)
            assert answer.status_code // 100 == status, (path, body, answer.text)
