"""`livecard simulator` as a process of its own: what it keeps, and what it knows of the cards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH, STABLE_TOKEN_PATH, TEMPLATE_IDS
from scripts.patience import PATIENCE
from services.store.open import migrate, open_store
from services.transactions.apply import apply
from services.transactions.arrivals import read_arrival
from statemachine.model import Rules
from tests.cli.running import LIVECARD, livecard
from tests.lifecycle.support import opened, record


@contextmanager
def simulator(**settings: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its address and what it logs until it serves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    environment = {**kept, "LIVECARD_HTTP": "127.0.0.1:0", "LIVECARD_APPS": '{"wx1": "s1"}', **settings}
    with subprocess.Popen([LIVECARD, "simulator"], env=environment, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            told = [json.loads(process.stderr.readline())]
            while told[-1]["event"] != "serving":
                told.append(json.loads(process.stderr.readline()))
            yield told[-1]["address"], told
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def ask(url: str, body: Any = None) -> Any:
    """Its answer; a body is posted."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=PATIENCE) as answer:
        return json.load(answer)


def complete(address: str, member: str) -> None:
    """As a dispatcher does it."""
    fetched = ask(
        address + STABLE_TOKEN_PATH, {"grant_type": "client_credential", "appid": "wx1", "secret": "s1"}
    )
    call = {
        "activity_id": "966_NGiq",
        "target_state": 1,
        "template_id": TEMPLATE_IDS["complete"],
        "version_type": 0,
        "participator_info_list": [{"group_openid": member, "state": 1}],
    }
    answer = ask(f"{address}{SET_CHAT_TOOL_MSG_PATH}?access_token={fetched['access_token']}", call)
    assert answer["errcode"] == 0


async def database(folder: Path) -> str:
    """One with an activity that an event opened."""
    url = f"sqlite+aiosqlite:///{folder / 'livecard.sqlite3'}"
    await migrate(url, finish=True)
    store = await open_store(url)
    try:
        value = opened(
            "966_NGiq", title="团建报名统计", publisher="gp-cindy", choose="listed", participants=["gp-alex"]
        )
        await apply(store, [read_arrival(record(0, value))], Rules())
    finally:
        await store.close()
    return url


async def test_it_keeps_its_cards_and_knows_what_the_database_says_of_them(tmp_path: Path) -> None:
    settings = {
        "LIVECARD_DATABASE": await database(tmp_path),
        "LIVECARD_SIMULATOR_CARDS": str(tmp_path / "state" / "cards.sqlite3"),
    }
    with simulator(**settings) as (address, told):
        assert [each["event"] for each in told] == ["serving"]
        assert told[0]["store"] == settings["LIVECARD_DATABASE"]
        (shown,) = ask(f"{address}/control/activities")["activities"]
        assert (shown["title"], shown["publisher"]) == ("团建报名统计", "gp-cindy")
        assert shown["viewers"]["participants"] == {"gp-alex": "未完成"}
        complete(address, "gp-alex")
    with simulator(**settings) as (address, _):
        (shown,) = ask(f"{address}/control/activities")["activities"]
        assert shown["viewers"]["participants"] == {"gp-alex": "已完成"}


async def test_without_a_file_it_says_that_it_forgets(tmp_path: Path) -> None:
    """With a database its page would show people as not done whom livecard has delivered."""
    with simulator(LIVECARD_DATABASE=await database(tmp_path)) as (_, told):
        assert "LIVECARD_SIMULATOR_CARDS" in told[0]["event"]
    with simulator() as (address, told):
        assert [each["event"] for each in told] == ["serving"]
        assert told[0]["store"] is None
        assert ask(f"{address}/control/activities")["total"] == 0


@pytest.mark.parametrize(
    "wrong", [{"LIVECARD_SIMULATOR_CARDS": "/proc/none/cards"}, {"LIVECARD_DATABASE": "mysql://db/livecard"}]
)
def test_what_it_cannot_use_is_one_line(wrong: dict[str, str]) -> None:
    code, printed = livecard("simulator", LIVECARD_HTTP="127.0.0.1:0", **wrong)
    assert code == 1
    assert printed.startswith("livecard: ")
    assert printed.count("\n") == 1
    assert next(iter(wrong.values())) in printed or "LIVECARD_DATABASE" in printed
