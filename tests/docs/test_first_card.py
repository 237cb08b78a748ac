"""What the READMEs tell a newcomer to type makes a card and gets it told."""

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
SECTIONS = (2, 5)
"""Your first card; use it from your backend."""


def typed(page: str, section: int) -> list[str]:
    """The console blocks of a section."""
    text = (ROOT / page).read_text("utf-8")
    found = re.split(r"^## ", text, flags=re.MULTILINE)[section]
    return re.findall(r"^```console\n(.*?)^```", found, flags=re.MULTILINE | re.DOTALL)


async def sh(script: str, running: Up, folder: Path) -> str:
    """What a shell prints."""
    process = await asyncio.create_subprocess_exec(
        "sh", "-euc", script, cwd=folder, env=running.env, stdout=-1, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, out.decode()
    return out.decode()


def test_both_readmes_give_the_same_to_type() -> None:
    """But for the comments."""
    english, chinese = (
        [re.sub(r"\s+#.*", "", block) for section in SECTIONS for block in typed(page, section)]
        for page in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese


@pytest.mark.slow
async def test_a_first_card_over_http_over_kafka_and_from_a_backend(tmp_path: Path) -> None:
    """Each block as it stands; the newcomer fills in addresses, the key and the id that were printed."""
    (install, create, complete, kafka), (backend,) = (typed("README.md", section) for section in SECTIONS)
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
        send, show, what = kafka.partition(f"{LIVECARD} show")
        await sh(send, running, tmp_path)

        async def taken_in() -> bool:  # a newcomer types slower than the events travel
            return "not yet" not in await sh(f"{show}{what.rstrip()} || echo not yet", running, tmp_path)

        await until(taken_in, "livecard show knows the card")

        async def on_the_page() -> Any:
            return [
                card["title"]
                for card in await running.cards()
                if card["activity_id"] == "966_NGiq" and card["done"]
            ]

        await until(on_the_page, "the card of Kafka is on the page too")
        backend = backend.replace("http://127.0.0.1:8084", running.page)
        backend = backend.replace("examples/", f"{ROOT}/examples/")
        lines = (await sh(f"{before}\n{backend}", running, tmp_path)).splitlines()
        share_menu, notify = (msgspec.json.decode(each) for each in lines[1:])
        assert (share_menu["useForChatTool"], notify["members"]) == (True, ["gp-bob"])
