"""A real Prometheus watches the whole line: each query of the dashboard has an answer, and an alert fires."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from itertools import count
from pathlib import Path

import httpx
import pytest

from scripts import dashboard
from scripts.engines import Prometheus
from scripts.engines.prometheus import missing
from tests.e2e.line import NO_TLS, Line, Service, a_line, until
from tests.engines.support import REQUIRED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None and not REQUIRED, reason=f"PROMETHEUS IS MISSING: {missing()}"),
]
RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "livecard.rules.yml"
KINDS = ("lifecycle", "clock", "dispatcher", "gateway")


def configure(server: Prometheus, services: list[Service]) -> None:
    """As `deploy/` has it, but asked twice a second, and rules wait for seconds instead of minutes."""
    rules = RULES.read_text("utf-8").replace("[5m]", "[5s]")
    (server.folder / "rules.yml").write_text(re.sub(r"for: \d+m", "for: 1s", rules), "utf-8")
    targets = "".join(
        f"      - {{targets: ['127.0.0.1:{each.port}'], labels: {{service: {each.kind}}}}}\n"
        for each in services
    )
    server.configuration.write_text(
        "global: {scrape_interval: 500ms, evaluation_interval: 500ms, scrape_timeout: 500ms}\n"
        "rule_files: [rules.yml]\n"
        f"scrape_configs:\n  - job_name: livecard\n    static_configs:\n{targets}",
        "utf-8",
    )


async def keep_playing(line: Line, gateway: Service) -> None:
    """Group tasks, one after the other, and somebody who asks the API: rates are of what goes on."""
    for number in count():
        async with httpx.AsyncClient(verify=NO_TLS) as client:
            await client.get(f"http://127.0.0.1:{gateway.port}/v1/gates")
        name = f"a{number}"
        line.declare(name, ["m1", "m2"])
        await line.send(
            line.opened(name, ["m1", "m2"]), line.completed(name, "m1"), line.completed(name, "m2")
        )
        await until(partial(told, line, name), "everybody is told")


def told(line: Line, name: str) -> bool:
    return len(line.card(name).posts) == 2


async def test_the_dashboard_has_answers_and_a_dead_wechat_is_told(
    kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Services on real engines, scraped: no query of the dashboard is empty after a group task; and when the
    simulator goes away the alert fires for which somebody is woken."""
    more = {"LIVECARD_QUOTA_PROBE": "1", "LIVECARD_CALL_DEADLINE": "2"}
    async with a_line(kafka, postgres_database, topic_prefix, tmp_path, **more) as line:
        starting = asyncio.create_task(line.start(*KINDS))
        await until(lambda: len(line.services) == len(KINDS), "every address is known")
        server = Prometheus()
        configure(server, line.services)
        with server:  # it takes seconds until it looks for its targets: services start meanwhile
            playing = asyncio.create_task(keep_playing(line, (await starting)[-1]))
            queries = [each.replace(dashboard.RANGE, "10s") for each in dashboard.queries()]

            async def unanswered() -> str | None:
                asked = (each for each in queries if not server.query(each))
                return await asyncio.to_thread(next, asked, None)

            async def answered() -> bool:
                return await unanswered() is None

            async def scraped() -> bool:
                found = await asyncio.to_thread(server.query, 'up{job="livecard"} == 1')
                return {each["metric"]["service"] for each in found} == {*KINDS}

            await until(scraped, "every service is scraped")
            try:
                await until(answered, "every query has an answer")
            except AssertionError:
                raise AssertionError(f"no answer to: {await unanswered()}") from None
            finally:
                playing.cancel()
            assert not await asyncio.to_thread(server.firing) & {
                "LivecardWeChatAway",
                "LivecardServiceMissing",
            }
            await line.send(line.opened("b", ["m1"]))
            await line.simulator.stop()
            await line.send(line.completed("b", "m1"))

            async def fires() -> bool:
                return "LivecardWeChatAway" in await asyncio.to_thread(server.firing)

            await until(fires, "somebody is woken")
