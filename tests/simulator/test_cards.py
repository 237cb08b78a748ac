"""setChatToolMsg and what people then read: wechat-api.md §1 and §2."""

from __future__ import annotations

import pytest

from contracts.wechat import CREATE_ACTIVITY_ID_PATH, SET_CHAT_TOOL_MSG_PATH, TEMPLATE_IDS

PARTICIPATE = TEMPLATE_IDS["participate"]


async def test_a_card_lives_its_life_and_everybody_reads_the_table(card):
    assert (await card.card())["viewers"] == {
        "publisher": "0人已完成",
        "participants": {"alex": "未完成", "bob": "未完成"},
        "others": "你无需完成",
    }
    assert await card.send(1, ["alex"]) == {"errcode": 0, "errmsg": "ok"}
    assert (await card.card())["viewers"] == {
        "publisher": "1人已完成",
        "participants": {"alex": "已完成", "bob": "未完成"},
        "others": "你无需完成",
    }
    assert (await card.send(2, None))["errcode"] == 0
    assert (await card.card())["viewers"] == {
        "publisher": "1人已完成",
        "participants": {"alex": "已完成", "bob": "即将截止"},
        "others": "你无需完成",
    }
    assert (await card.send(3, ["bob"]))["errcode"] == 0
    shown = await card.card()
    assert shown["viewers"] == {
        "publisher": "已结束",
        "participants": {"alex": "已结束", "bob": "已结束"},
        "others": "已结束",
    }
    assert [said["text"] for said in shown["chat"]] == [
        "小明 已完成 小红 发布的 团建",
        "bob 已完成 小红 发布的 团建",
        "小红 发布的 团建 已结束",
    ]
    assert [(entry["target_state"], entry["members"]) for entry in shown["history"]] == [
        (1, ["alex"]),
        (2, []),
        (3, ["bob"]),
    ]
    assert shown["posts"] == {"alex": 1, "bob": 1}
    assert shown["violations"] == {"repeated_posts": 0, "lowered": 0}


async def test_the_other_template_has_its_own_words(client):
    await client.log_in()
    await client.declare(template="participate", participants=["alex"], choose="everyone", version="trial")
    answer = await client.send(1, ["bob"], template_id=PARTICIPATE, version_type=2)
    assert answer["errcode"] == 0
    assert (await client.card())["viewers"] == {
        "publisher": "1人已参与",
        "participants": {"alex": "未参与", "bob": "已参与"},
        "others": "未参与",
    }


async def test_a_member_posted_twice_is_counted_and_seen_in_the_chat(card):
    await card.send(1, ["alex"])
    await card.send(1, ["alex", "bob"])
    shown = await card.card()
    assert shown["posts"] == {"alex": 2, "bob": 1}
    assert shown["violations"]["repeated_posts"] == 1
    assert len(shown["chat"]) == 3
    assert (await card.ledger())["repeated_posts"] == 1


async def test_a_card_turned_back_after_its_end_is_shown_and_counted(card):
    await card.send(3)
    assert (await card.send(1, ["alex"]))["errcode"] == 0
    shown = await card.card()
    assert shown["target_state"] == 1
    assert shown["viewers"]["others"] == "你无需完成"
    assert shown["violations"]["lowered"] == 1
    assert (await card.ledger())["lowered"] == 1


async def test_repeating_the_end_or_reopening_is_no_violation(card):
    for state in (2, 1, 2, 3, 3):
        assert (await card.send(state))["errcode"] == 0
    shown = await card.card()
    assert shown["violations"] == {"repeated_posts": 0, "lowered": 0}
    assert shown["reopened"] == 1
    assert [said["text"] for said in shown["chat"]] == ["小红 发布的 团建 已结束"]


async def test_lowering_can_be_refused_where_it_is_undocumented(card):
    await card.post("/control/behaviour", {"lower_to_open": False, "lower_after_end": False})
    await card.send(2)
    assert (await card.send(1, ["alex"]))["errcode"] == 47502
    assert (await card.send(2, ["alex"]))["errcode"] == 0
    await card.send(3)
    assert (await card.send(2))["errcode"] == 47502
    assert (await card.card())["target_state"] == 3


@pytest.mark.parametrize(
    ("state", "members", "more", "errcode"),
    [
        (0, (), {}, 47502),
        (4, (), {}, 47502),
        (None, (), {}, 47502),
        ("1", (), {}, 47001),
        (1, None, {}, 40097),
        (1, ["alex", "stranger"], {}, 40097),
        (3, ["stranger"], {}, 40097),
        (1, (), {"template_id": PARTICIPATE}, 40097),
        (1, (), {"template_id": ""}, 40097),
        (1, (), {"version_type": 1}, 47503),
        (1, (), {"version_type": None}, 47503),
        (1, (), {"participator_info_list": [{"group_openid": "alex", "state": 0}]}, 40097),
        (1, (), {"participator_info_list": [{"state": 1}]}, 40097),
        (1, (), {"participator_info_list": {"alex": 1}}, 47001),
        (1, ["alex"], {"activity_id": "unknown"}, 47501),
        (1, ["alex"], {"activity_id": ""}, 47501),
    ],
)
async def test_a_wrong_request_is_refused_whole(card, state, members, more, errcode):
    answer = await card.send(state, members, **more)
    assert answer["errcode"] == errcode
    assert "rid: " in answer["errmsg"]
    shown = await card.card()
    assert shown["history"] == []
    assert shown["posts"] == {}
    assert shown["target_state"] == 1


@pytest.mark.parametrize(
    ("body", "errcode"), [(b"", 44002), (b"<xml/>", 47001), (b"[1]", 47001), (b"\xff", 47001)]
)
async def test_a_body_that_is_no_json_object_is_refused(card, body, errcode):
    query = {"access_token": card.token}
    async with card.http.post(SET_CHAT_TOOL_MSG_PATH, params=query, data=body) as response:
        assert (await response.json())["errcode"] == errcode


async def test_a_get_is_refused_and_so_is_a_path_that_does_not_exist(card):
    assert (await card.get(SET_CHAT_TOOL_MSG_PATH, access_token=card.token))["errcode"] == 43002
    assert (await card.post(CREATE_ACTIVITY_ID_PATH, {}, access_token=card.token))["errcode"] == 43001
    assert (await card.get("/cgi-bin/nothing"))["errcode"] == 40066


async def test_a_token_is_judged_before_everything_else(card):
    assert (await card.send(9, token="86_0", activity_id="unknown"))["errcode"] == 40001


async def test_a_list_is_at_most_as_long_as_set(card):
    await card.declare(participants=[f"m{i}" for i in range(101)])
    members = [f"m{i}" for i in range(101)]
    assert (await card.send(1, members))["errcode"] == 40097
    assert (await card.send(1, members[:100]))["errcode"] == 0
    await card.post("/control/behaviour", {"longest_list": 2})
    assert (await card.send(2, members[:3]))["errcode"] == 40097


async def test_an_empty_list_at_state_1_is_accepted_unless_set_otherwise(card):
    assert (await card.send(1, ()))["errcode"] == 0
    await card.post("/control/behaviour", {"empty_list_at_open": False})
    assert (await card.send(1, ()))["errcode"] == 40097
    assert (await card.send(2, ()))["errcode"] == 0


async def test_an_id_dies_at_its_expiry(card, clock):
    clock.advance(24 * 3600 - 1)
    await card.log_in()
    assert (await card.send(1, ["alex"]))["errcode"] == 0
    clock.advance(1)
    assert (await card.send(3))["errcode"] == 47504
    assert (await card.card())["expired"] is True


async def test_a_created_id_lives_as_long_as_it_was_told_and_needs_to_be_shared(client, clock):
    await client.log_in()
    made = await client.get(CREATE_ACTIVITY_ID_PATH, access_token=client.token)
    assert set(made) == {"activity_id", "expiration_time"}
    assert made["expiration_time"] == clock.now // 1_000_000 + 24 * 3600
    activity_id = made["activity_id"]
    assert (await client.send(1, activity_id=activity_id))["errcode"] == 47501
    clock.advance(3600)
    await client.declare(activity_id)
    assert (await client.send(1, activity_id=activity_id))["errcode"] == 0
    assert (await client.card(activity_id))["expires_at"] == made["expiration_time"] * 1_000_000


async def test_the_unit_of_the_expiry_may_be_milliseconds(client, clock):
    await client.log_in()
    await client.post("/control/behaviour", {"expiration_unit": "ms"})
    made = await client.get(CREATE_ACTIVITY_ID_PATH, access_token=client.token)
    assert made["expiration_time"] == clock.now // 1_000 + 24 * 3600 * 1000


async def test_another_apps_card_is_unknown(card):
    await card.log_in("wx2", "s2")
    assert (await card.send(1, ["alex"]))["errcode"] == 47501


async def test_declared_again_a_card_keeps_what_it_shows(card):
    await card.send(2, ["alex"])
    await card.declare(title="新标题", participants=["alex", "eve"], expires_at="2026-11-21T09:00:00Z")
    shown = await card.card()
    assert shown["target_state"] == 2
    assert shown["viewers"]["participants"] == {"alex": "已完成", "eve": "即将截止"}
    assert shown["expires_at"] == 1_795_251_600_000_000


async def test_an_undeclared_id_gets_a_card_of_its_own_where_that_is_wished(client):
    await client.log_in()
    assert (await client.send(2, ["anybody"], activity_id="new"))["errcode"] == 47501
    await client.post("/control/behaviour", {"auto_declare": True})
    answer = await client.send(2, ["anybody"], activity_id="new", template_id=PARTICIPATE, version_type=1)
    assert answer["errcode"] == 0
    shown = await client.card("new")
    assert (shown["template"], shown["version"], shown["target_state"]) == ("participate", "develop", 2)
    assert shown["viewers"]["participants"] == {"anybody": "已参与"}
    assert (await client.send(1, activity_id="newer", template_id="?"))["errcode"] == 40097
