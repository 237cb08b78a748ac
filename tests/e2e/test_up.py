"""`livecard up` as the README's tutorial uses it: what the simulator's page shows, and after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.line import until
from tests.e2e.up import up

pytestmark = pytest.mark.slow
OPENED = {
    "type": "livecard.activity.opened",
    "subject": "966_NGiq",
    "data": {
        "appid": "wx1",
        "template": "complete",
        "title": "团建报名统计",
        "publisher": "gp-cindy",
        "participants": ["gp-alex", "gp-bob"],
        "expires_at": "2099-01-01T00:00:00Z",
    },
}
COMPLETED = {
    "type": "livecard.participant.completed",
    "subject": "966_NGiq",
    "data": {"members": ["gp-alex"]},
}


async def test_the_page_names_a_card_from_its_opening_and_remembers_it(tmp_path: Path) -> None:
    """Title and people as the event named them, before any call; all of it after Ctrl-C and a new start."""
    async with up(tmp_path) as first:
        assert await first.cards() == []
        await first.send(OPENED)
        await until(first.cards, "the card is on the page")
        (card,) = await first.cards()
        assert (card["title"], card["publisher"], card["history"]) == ("团建报名统计", "gp-cindy", [])
        assert card["viewers"]["participants"] == {"gp-alex": "未完成", "gp-bob": "未完成"}
        await first.send(COMPLETED)

        async def told() -> Any:
            (card,) = await first.cards()
            return card["chat"] and card

        card = await until(told, "the chat says it")
        assert [said["text"] for said in card["chat"]] == ["gp-alex 已完成 gp-cindy 发布的 团建报名统计"]
        assert card["viewers"]["publisher"] == "1人已完成"
    assert (tmp_path / "livecard" / "livecard.simulator.sqlite3").exists()
    async with up(tmp_path) as second:
        assert await second.cards() == [card]
        await second.send({**COMPLETED, "data": {"members": ["gp-bob"]}})

        async def both() -> Any:
            return (await second.cards())[0]["done"] == ["gp-alex", "gp-bob"]

        await until(both, "the next one is told to the same card")
