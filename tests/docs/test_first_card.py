"""What the READMEs tell a newcomer to type makes a card and gets it told, in both languages."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scripts.patience import PATIENCE
from tests.e2e.line import LIVECARD, until
from tests.e2e.up import Up, up

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def typed(page: str) -> list[str]:
    """The console blocks of the page's first card: install, create, complete, Kafka."""
    text = (ROOT / page).read_text("utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)[2]
    return re.findall(r"^```console\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


async def sh(script: str, running: Up, folder: Path) -> str:
    """What a shell prints."""
    process = await asyncio.create_subprocess_exec(
        "sh", "-euc", script, cwd=folder, env=running.env, stdout=-1, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
async def test_a_first_card_over_http_and_over_kafka(page: str, tmp_path: Path) -> None:
    """Each block as it stands; of a newcomer are the address, the key and the id that were printed."""
    install, create, complete, kafka = typed(page)
    assert "livecard up" in install
    async with up(tmp_path) as running:
        create = create.replace("http://127.0.0.1:8080", running.gateway).replace(
            "KEY=…", f"KEY={running.key}"
        )
        made = msgspec.json.decode(await sh(create, running, tmp_path))
        assert {*made} == {"activity_id", "expires_at", "share_menu"}
        before = create.partition("\n\n")[0]
        complete = complete.replace("ID=…", f"ID='{made['activity_id']}'")
        said = await sh(f"{before}\n{complete}", running, tmp_path)
        assert said.startswith('{"event_id":')
        again = f'{before}\n{complete.splitlines()[0]}\napi "/v1/activities/$ID"'

        async def in_sync() -> Any:
            answer = await sh(again, running, tmp_path)
            return '"phase":"in_sync"' in answer and '"publisher":"1人已完成"' in answer

        await until(in_sync, "WeChat confirmed it")
        kafka = kafka.replace("127.0.0.1:PORT", running.kafka).replace(".venv/bin/livecard", str(LIVECARD))
        await sh(kafka, running, tmp_path)

        async def on_the_page() -> Any:
            return [
                card["title"]
                for card in await running.cards()
                if card["activity_id"] == "966_NGiq" and card["done"]
            ]

        await until(on_the_page, "the card of Kafka is on the page too")
