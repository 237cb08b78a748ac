"""Every fault does to the call and to the caller what its row in `faults.Action` says."""

from __future__ import annotations

import asyncio
import json
import random

import aiohttp
import pytest

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH, STABLE_TOKEN_PATH, TEMPLATE_IDS
from services.simulator.faults import Faults, read_rules

CUT = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


async def posts(client):
    return (await client.card())["posts"]


def became_done(member):
    return lambda model: member in model.cards["act"].posts


@pytest.mark.parametrize("errcode", [-1, 40001, 45009, 45011, 47501, 48001, 99999])
async def test_a_code_is_answered_and_nothing_applied(card, errcode):
    await card.fault({"errcode": errcode, "errmsg": "so it is"}, count=1)
    answer = await card.send(1, ["alex"])
    assert answer["errcode"] == errcode
    assert answer["errmsg"].startswith("so it is rid: ")
    assert await posts(card) == {}
    assert (await card.send(1, ["alex"]))["errcode"] == 0


@pytest.mark.parametrize(("applied", "after"), [(False, {}), (True, {"alex": 1})])
async def test_an_http_status_is_answered_with_or_without_applying(card, applied, after):
    await card.fault({"http": 502, "body": "Bad Gateway", "applied": applied}, count=1)
    query = {"access_token": card.token}
    body = {
        "activity_id": "act",
        "target_state": 1,
        "template_id": TEMPLATE_IDS["complete"],
        "version_type": 0,
        "participator_info_list": [{"group_openid": "alex", "state": 1}],
    }
    async with card.http.post(SET_CHAT_TOOL_MSG_PATH, params=query, json=body) as response:
        assert response.status == 502
        assert await response.text() == "Bad Gateway"
    assert await posts(card) == after


async def test_cut_closes_the_connection_and_applies_nothing(card):
    await card.fault({"cut": True}, count=1)
    with pytest.raises(CUT):
        await card.send(1, ["alex"])
    assert await posts(card) == {}


async def test_apply_then_cut_has_applied(card):
    await card.fault({"apply_then_cut": True}, count=1)
    with pytest.raises(CUT):
        await card.send(1, ["alex"])
    assert await posts(card) == {"alex": 1}


async def test_cut_then_apply_applies_later(card, server):
    await card.fault({"cut_then_apply": 0.2}, count=1)
    with pytest.raises(CUT):
        await card.send(1, ["alex"])
    assert server.shell.pending_late == 1
    await server.shell.until(became_done("alex"), deadline=10)
    ledger = await card.ledger()
    assert (ledger["applied_late"], ledger["pending_late"]) == (1, 0)


async def test_a_late_application_can_overtake_what_came_after_it(card, server):
    await card.fault({"cut_then_apply": 0.2}, count=1)
    with pytest.raises(CUT):
        await card.send(1, ["alex"])
    await card.send(3)
    await server.shell.until(became_done("alex"), deadline=10)
    assert (await card.card())["violations"]["lowered"] == 1


async def test_hang_says_nothing_and_applies_nothing(card):
    await card.fault({"hang": 0.05}, count=1)
    with pytest.raises(CUT):
        await card.send(1, ["alex"])
    assert await posts(card) == {}


async def test_a_long_hang_ends_with_the_server(card, server):
    await card.fault({"hang": 3600}, count=1)
    hanging = asyncio.ensure_future(card.send(1, ["alex"]))
    while not server.model.counts.faults["hang"]:
        await card.ledger()
    for _ in range(5):
        await card.ledger()
    assert not hanging.done()
    await server.stop()
    with pytest.raises(CUT):
        await hanging


async def test_apply_then_hang_has_applied_before_the_caller_gives_up(card, server):
    await card.fault({"apply_then_hang": 3600}, count=1)
    hanging = asyncio.ensure_future(card.send(1, ["alex"]))
    await server.shell.until(became_done("alex"), deadline=10)
    for _ in range(5):
        await card.ledger()
    assert not hanging.done()
    hanging.cancel()


async def test_delay_applies_later_and_answers_nothing(card, server):
    await card.fault({"delay": 0.1}, count=1)
    with pytest.raises(CUT):
        await card.send(1, ["alex"])
    await server.shell.until(became_done("alex"), deadline=10)


async def test_a_delayed_call_is_applied_though_its_caller_has_gone(card, server):
    await card.fault({"delay": 0.2}, count=1)
    leaving = asyncio.ensure_future(card.send(1, ["alex"]))
    while not server.shell.pending_late:
        await card.ledger()
    leaving.cancel()
    await server.shell.until(became_done("alex"), deadline=10)


async def test_latency_delays_and_then_all_is_well(card):
    await card.fault({"latency": 0.05}, count=1)
    assert (await card.send(1, ["alex"]))["errcode"] == 0
    assert (await card.ledger())["faults"] == {"latency": 1}


async def test_latency_goes_on_to_the_next_rule(card):
    await card.fault({"latency": 0.01})
    await card.fault({"errcode": -1})
    assert (await card.send(1))["errcode"] == -1


@pytest.mark.parametrize(
    ("garbage", "status", "holds"),
    [
        ("html", 200, b"<html>"),
        ("empty", 200, b""),
        ("wrong_type", 200, b'"zero"'),
        ("redirect", 302, b""),
        ("megabytes", 200, b"x" * 1_000_000),
    ],
)
async def test_garbage_is_answered_and_nothing_applied(card, garbage, status, holds):
    await card.fault({"garbage": garbage})
    query = {"access_token": card.token}
    url = SET_CHAT_TOOL_MSG_PATH
    async with card.http.post(
        url, params=query, json={"activity_id": "act"}, allow_redirects=False
    ) as answer:
        assert answer.status == status
        assert holds in await answer.read()
    assert await posts(card) == {}


async def test_half_an_answer_is_cut_off_in_the_middle(card):
    await card.fault({"garbage": "half", "applied": True}, count=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await card.send(1, ["alex"])
    assert await posts(card) == {"alex": 1}


async def test_rules_choose_by_path_app_and_activity(card):
    await card.declare("other")
    await card.fault({"errcode": 1}, match={"path": STABLE_TOKEN_PATH})
    await card.fault({"errcode": 2}, match={"appid": "wx2"})
    await card.fault({"errcode": 3}, match={"activity_id": "act", "appid": "wx1"})
    assert (await card.send(1, activity_id="other"))["errcode"] == 0
    assert (await card.send(1))["errcode"] == 3
    assert (await card.log_in("wx2", "s2"))["errcode"] == 1
    assert (await card.get("/cgi-bin/token", appid="wx2"))["errcode"] == 2


async def test_after_and_count_bound_a_rule(card):
    await card.fault({"errcode": -1}, after=1, count=2)
    assert [(await card.send(1))["errcode"] for _ in range(5)] == [0, -1, -1, 0, 0]


async def test_rules_are_shown_with_their_counts_and_lifted(card):
    ids = (await card.fault({"errcode": -1}, id="busy"))["ids"]
    await card.fault({"errcode": 45009})
    await card.send(1)
    shown = (await card.get("/control/faults"))["rules"]
    assert ids == ["busy"]
    assert shown[0] == {"id": "busy", "action": {"errcode": -1}, "seen": 1, "struck": 1}
    async with card.http.delete("/control/faults", params={"id": "busy"}) as response:
        assert await response.json() == {"lifted": 1}
    assert (await card.send(1))["errcode"] == 45009
    async with card.http.delete("/control/faults") as response:
        assert await response.json() == {"lifted": 1}
    assert (await card.send(1))["errcode"] == 0


async def test_the_file_s_rules_follow_the_file(card, tmp_path):
    file = tmp_path / "faults.json"
    assert (await card.send(1))["errcode"] == 0
    file.write_text(json.dumps({"seed": 7, "rules": [{"action": {"errcode": -1}}]}))
    assert (await card.send(1))["errcode"] == -1
    file.write_text(json.dumps([{"action": {"errcode": 45011}}]))
    assert (await card.send(1))["errcode"] == 45011
    file.write_text("[{")
    assert (await card.send(1))["errcode"] == 45011
    assert (await card.get("/control/faults"))["file_error"]
    file.unlink()
    assert (await card.send(1))["errcode"] == 0


async def test_calls_of_one_activity_that_overlap_are_counted(card, server):
    await card.fault({"latency": 3600}, count=1)
    hanging = asyncio.ensure_future(card.send(1, ["alex"]))
    while not server.model.counts.faults["latency"]:
        await card.ledger()
    await card.send(1, ["bob"])
    assert (await card.ledger())["overlaps"] == 1
    server.shell.release()
    assert (await hanging)["errcode"] == 0


def test_latencies_add_up_before_what_strikes():
    faults = Faults(random.Random(1))
    rules = [{"action": {"latency": 1}}, {"action": {"latency": 2}}, {"action": {"latency": 4, "cut": True}}]
    faults.add(read_rules(json.dumps(rules).encode()).rules)
    seconds, action = faults.choose("/", None, None)
    assert seconds == 7
    assert action is not None
    assert action.kind == "cut"


def test_the_same_seed_strikes_the_same_calls():
    def struck(seed):
        faults = Faults(random.Random(seed))
        faults.add(read_rules(b'{"action": {"cut": true}, "probability": 0.3}').rules)
        return [faults.choose("/", None, None)[1] is not None for _ in range(200)]

    assert struck(5) == struck(5)
    assert struck(5) != struck(6)
    assert 30 < sum(struck(5)) < 90


@pytest.mark.parametrize(
    "rule",
    [
        {"action": {}},
        {"action": {"cut": True, "errcode": -1}},
        {"action": {"garbage": "nonsense"}},
        {"action": {"hang": -1}},
        {"action": {"cut": True}, "probability": 2},
        {"action": {"cut": True}, "nonsense": 1},
        {"nonsense": 1},
        7,
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_with_a_reason(card, rule):
    async with card.http.post("/control/faults", json=rule) as response:
        assert response.status == 400
        assert (await response.json())["error"]
    assert (await card.get("/control/faults"))["rules"] == []
    assert (await card.send(1))["errcode"] == 0
