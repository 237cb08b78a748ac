"""docs/simulator.md says what the simulator can do: every control call, each example sent as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from services.simulator.app import SimulatorServer
from services.simulator.behaviour import Behaviour
from services.simulator.control import Control
from services.simulator.faults import Action, Match, Rule, RuleSet, read_rules
from services.simulator.model import WeChatModel
from tests.simulator.gateway import StandInGateway

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text("utf-8")
EXAMPLES = re.findall(r"```http\n([A-Z]+) (\S+)\n(.*?)```", PAGE, re.DOTALL)


async def test_every_example_works_as_it_stands(
    client: Any, server: SimulatorServer, gateway: StandInGateway
) -> None:
    server.acting.through(gateway.url, gateway.key)
    for method, path, body in EXAMPLES:
        async with client.http.request(method, path, data=body.encode() or None) as response:
            endless = response.content_type == "text/event-stream"
            said = str(await response.content.readline()) if endless else await response.text()
            assert response.status < 300, (method, path, said)
            assert '"errcode"' not in said or "/control/" in path, (method, path, said)


def test_every_control_call_has_an_example(server: SimulatorServer) -> None:
    shown = {(method, path.partition("?")[0]) for method, path, _ in EXAMPLES}
    shown = {
        (method, re.sub(r"^/control/activities/.*", "/control/activities/{}", path)) for method, path in shown
    }
    routes = {
        (route.method, re.sub(r"\{.*\}", "{}", route.path))
        for route in Control(server.shell, server.acting, server.stream).routes()
        if route.method != "*"
    }
    assert routes <= shown
    assert {each for each in shown if each[1].startswith("/control/")} <= routes


def test_every_field_is_explained() -> None:
    told = set(re.findall(r"`([a-z_]+)`", PAGE)) | set(re.findall(r'"([a-z_]+)":', PAGE))
    for kind in (Behaviour, Action, Match, Rule, RuleSet):
        assert set(kind.__struct_fields__) <= told, kind.__name__


def test_every_call_of_wechats_is_named(server: SimulatorServer) -> None:
    model: WeChatModel = server.model
    said = PAGE.replace(
        "`/cgi-bin/clear_quota` and its `v2`", "`/cgi-bin/clear_quota` `/cgi-bin/clear_quota/v2`"
    )
    assert {path for path in model._endpoints if f"`{path}`" not in said} == set()


def test_the_file_of_faults_is_one() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    rules = read_rules(text.encode())
    assert (rules.seed, len(rules.rules)) == (7, 2)
    assert msgspec.to_builtins(rules.rules[1])["action"]["garbage"] == "half"
