"""Tokens live and die as wechat-api.md §3 says."""

from __future__ import annotations

import pytest

from contracts.wechat import CREATE_ACTIVITY_ID_PATH, STABLE_TOKEN_PATH


async def created(client, token):
    return await client.get(CREATE_ACTIVITY_ID_PATH, access_token=token)


async def test_normal_mode_hands_every_caller_the_same_token_with_what_remains_of_it(client, clock):
    first = await client.log_in()
    clock.advance(6000)
    second = await client.log_in()
    assert "errcode" not in first
    assert first["expires_in"] == 7200
    assert second == {"access_token": first["access_token"], "expires_in": 1200}


async def test_in_the_last_five_minutes_a_new_token_comes_and_both_work(client, clock):
    old = (await client.log_in())["access_token"]
    clock.advance(7200 - 299)
    new = await client.log_in()
    assert new["access_token"] != old
    assert new["expires_in"] == 7200
    assert "activity_id" in await created(client, old)
    assert "activity_id" in await created(client, new["access_token"])
    clock.advance(300)
    assert (await created(client, old))["errcode"] == 42001
    assert "activity_id" in await created(client, new["access_token"])


async def test_a_forced_refresh_kills_the_previous_token_at_once(client):
    old = (await client.log_in())["access_token"]
    new = (await client.log_in(force_refresh=True))["access_token"]
    assert (await created(client, old))["errcode"] == 40001
    assert "activity_id" in await created(client, new)


async def test_forced_refreshes_are_30_seconds_apart_and_20_a_day(client, clock):
    assert "access_token" in await client.log_in(force_refresh=True)
    clock.advance(29)
    assert (await client.log_in(force_refresh=True))["errcode"] == 45011
    for _ in range(19):
        clock.advance(30)
        assert "access_token" in await client.log_in(force_refresh=True)
    clock.advance(30)
    assert (await client.log_in(force_refresh=True))["errcode"] == 45009
    clock.advance(24 * 3600)
    assert "access_token" in await client.log_in(force_refresh=True)


async def test_the_old_kind_kills_its_predecessor_and_leaves_the_stable_one_alone(client):
    query = {"grant_type": "client_credential", "appid": "wx1", "secret": "s1"}
    stable = (await client.log_in())["access_token"]
    first = (await client.get("/cgi-bin/token", **query))["access_token"]
    second = (await client.get("/cgi-bin/token", **query))["access_token"]
    assert (await created(client, first))["errcode"] == 40001
    assert "activity_id" in await created(client, second)
    assert "activity_id" in await created(client, stable)
    assert (await client.get("/cgi-bin/token", **{**query, "secret": "no"}))["errcode"] == 40001
    assert (await client.get("/cgi-bin/token", **{**query, "grant_type": "no"}))["errcode"] == 40002


async def test_revoked_tokens_answer_40001_and_the_next_fetch_brings_another(client):
    old = (await client.log_in())["access_token"]
    assert await client.post("/control/tokens/revoke", {"appid": "wx1"}) == {"revoked": 1}
    assert (await created(client, old))["errcode"] == 40001
    new = (await client.log_in())["access_token"]
    assert new != old
    assert "activity_id" in await created(client, new)


async def test_a_missing_a_malformed_and_an_unknown_token_are_told_apart(client):
    assert (await created(client, ""))["errcode"] == 41001
    assert (await created(client, "nonsense"))["errcode"] == 40014
    assert (await created(client, "86_0"))["errcode"] == 40001


async def test_a_token_of_an_app_belongs_to_that_app_only(client):
    one = (await client.log_in())["access_token"]
    two = (await client.log_in("wx2", "s2"))["access_token"]
    assert one != two
    await client.post("/control/tokens/revoke", {"appid": "wx1"})
    assert "activity_id" in await created(client, two)


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"grant_type": "password"}, 40002),
        ({"appid": ""}, 41002),
        ({"secret": ""}, 41004),
        ({"appid": "nobody"}, 40013),
        ({"secret": "wrong"}, 40125),
        ({"appid": 7}, 47001),
    ],
)
async def test_wrong_credentials_are_refused(client, change, errcode):
    body = {"grant_type": "client_credential", "appid": "wx1", "secret": "s1", **change}
    answer = await client.post(STABLE_TOKEN_PATH, body)
    assert answer["errcode"] == errcode
    assert "rid: " in answer["errmsg"]


async def test_every_answer_is_http_200_and_names_a_rid(client):
    async with client.http.post(STABLE_TOKEN_PATH, data=b"{") as response:
        assert response.status == 200
        answer = await response.json()
    assert answer["errcode"] == 47001
    assert answer["errmsg"].startswith("data format error rid: ")
    assert (await client.get(STABLE_TOKEN_PATH))["errcode"] == 43002
    async with client.http.post(STABLE_TOKEN_PATH) as response:
        assert (await response.json())["errcode"] == 44002


async def test_the_lifetime_of_tokens_can_be_set(client, clock):
    await client.post("/control/behaviour", {"token_lifetime": 4_000_000})
    first = await client.log_in()
    assert first["expires_in"] == 4
    clock.advance(1.9)
    assert (await client.log_in())["access_token"] == first["access_token"]
    clock.advance(0.2)
    assert (await client.log_in())["access_token"] != first["access_token"]
    clock.advance(2)
    assert (await created(client, first["access_token"]))["errcode"] == 42001


async def test_the_clock_can_be_moved_from_outside(client):
    await client.log_in()
    await client.post("/control/time", {"advance": 7200})
    assert (await created(client, client.token))["errcode"] == 42001


async def test_any_app_is_accepted_where_that_is_wished_with_its_first_secret(client):
    await client.post("/control/behaviour", {"accept_any_app": True})
    assert "access_token" in await client.log_in("wx9", "first")
    assert (await client.log_in("wx9", "second"))["errcode"] == 40125
    assert (await client.log_in("wx1", "wrong"))["errcode"] == 40125


async def test_apps_can_be_added_and_their_secrets_are_never_shown(client):
    assert await client.post("/control/apps", {"apps": {"wx3": "s3"}}) == {"apps": ["wx1", "wx2", "wx3"]}
    assert "access_token" in await client.log_in("wx3", "s3")
