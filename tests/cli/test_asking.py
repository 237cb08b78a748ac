"""What commands ask WeChat: today's quota, and a refused call by its rid; the simulator answers."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH, STABLE_TOKEN_PATH, TEMPLATE_IDS, rid_of
from services.store.open import migrate
from tests.cli.running import livecard
from tests.cli.test_simulator import ask, simulator

ATTEMPT = """
    INSERT INTO attempts (activity_id, revision, fence, at, duration, target_state, members, outcome, errcode,
      errmsg, rid)
    VALUES ('a', 1, 1, 0, 5, 1, 0, 'unknown_activity', 47501, 'no such card', ?)"""
WX1 = '{"wx1": "s1"}'


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    path = tmp_path / "livecard" / "livecard.sqlite3"
    await migrate(f"sqlite+aiosqlite:///{path}")
    return tmp_path


def surroundings(state: Path, address: str) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(state), "LIVECARD_WECHAT": address, "LIVECARD_APPS": WX1}


def test_todays_quota_and_how_long_it_lasts(state: Path) -> None:
    with simulator() as (address, _):
        ask(f"{address}/control/quota", {"path": SET_CHAT_TOOL_MSG_PATH, "daily": 5_000})
        code, printed = livecard("quota", **surroundings(state, address))
        assert code == 0, printed
        said = ["wx1", "5000", "0", "5000", "0", "not", "today,", "at", "this", "rate"]
        assert printed.splitlines()[1].split() == said
        code, printed = livecard("quota", "--app", "wx9", **surroundings(state, address))
        assert (code, "the apps file does not name wx9" in printed) == (1, True), printed
    code, printed = livecard("quota", **surroundings(state, address))
    assert (code, "WeChat does not tell" in printed) == (1, True), printed


def refused(address: str) -> str:
    """The rid of a call that the simulator refuses."""
    fetched = ask(
        address + STABLE_TOKEN_PATH, {"grant_type": "client_credential", "appid": "wx1", "secret": "s1"}
    )
    call: dict[str, Any] = {
        "activity_id": "nobody-knows",
        "target_state": 9,
        "template_id": TEMPLATE_IDS["complete"],
        "version_type": 0,
        "participator_info_list": [],
    }
    answer = ask(f"{address}{SET_CHAT_TOOL_MSG_PATH}?access_token={fetched['access_token']}", call)
    return str(rid_of(answer["errmsg"]))


def test_a_refused_call_as_a_text_for_support(state: Path) -> None:
    """The last one that was refused; where WeChat does not answer, what we know ourselves."""
    with simulator() as (address, _):
        rid = refused(address)
        with sqlite3.connect(state / "livecard" / "livecard.sqlite3") as connection:
            connection.execute("INSERT INTO activities (activity_id, appid, seen_at) VALUES ('a', 'wx1', 0)")
            for each in ("0-0-0", rid):
                connection.execute(ATTEMPT, (each,))
        connection.close()
        code, printed = livecard("show", "a", "--rid", **surroundings(state, address))
        assert code == 0, printed
        assert f"rid：{rid}" in printed
        assert "errcode 47501" in printed
        assert '请求内容：{"activity_id": "nobody-knows", "target_state": 9' in printed
        assert "access_token=***" in printed
    code, printed = livecard("show", "a", "--rid", **surroundings(state, address))
    assert code == 0, printed
    assert f"rid：{rid}" in printed
    assert "WeChat told no more (rid/get:" in printed
    code, printed = livecard("show", "b", "--rid", **surroundings(state, address))
    assert (code, "was refused with a rid" in printed) == (1, True), printed
