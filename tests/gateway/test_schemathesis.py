"""schemathesis against the gateway as it runs: whatever it sends, the answer is one that the document has."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.config import GenerationConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from services.runtime.clock import RealClock
from services.runtime.health import Health
from services.runtime.http import HttpServer
from tests.gateway.platform import Stage
from tests.gateway.world import ALL_KEY

EXAMPLES = 12
"""Requests to each route, of either kind: as the document says, and otherwise."""
KNOWN = {"activity_id": "a/1", "appid": "wx1", "room_id": "g-1"}
"""What is there: half of the requests name it, so that they come further than to a 404."""
STREAMS = "/v1/activities/{activity_id}/events"
"""Its answer has no end; tests/gateway/test_streams.py reads it."""
OF_WECHAT = {"/v1/sessions"}
"""No document says which codes WeChat knows, so what is well written may be refused."""


@pytest.fixture
async def served(stage: Stage) -> Any:
    """The gateway's URL, an activity in its store."""
    await stage.scene.open("a/1", room={"opengid": "g-1"}, life=30 * 86_400.0)
    await stage.scene.complete("a/1", "gp-alex")
    metrics = stage.gateway.metrics.registry
    http = HttpServer("127.0.0.1:0", Health(list, RealClock(), 60.0), metrics, stage.front)
    await http.start()
    yield http.url
    await http.stop()


async def test_nothing_is_answered_that_the_document_does_not_have(served: str) -> None:
    """And nothing fails: no 5xx, no body of another shape, no wrong data that is taken."""
    await asyncio.to_thread(_explore, served)


def _explore(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    assert schema.raw_schema["openapi"].startswith("3.1")
    schema.config.generation = GenerationConfig(
        modes=list(schemathesis.GenerationMode), deterministic=True, with_security_parameters=False
    )
    seen, faults = 0, []
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]  # an error would be one of the document's
        if operation.path != STREAMS:
            seen += 1
            try:
                _ask(operation, url)
            except (Exception, BaseExceptionGroup) as fault:  # noqa: BLE001 (told below, with the others)
                faults.append(fault)
    if faults:
        raise BaseExceptionGroup("the document and the gateway differ", faults)
    assert seen == sum(len(item) for path, item in schema.raw_schema["paths"].items() if path != STREAMS)


def _ask(operation: Any, url: str) -> None:
    excluded = [positive_data_acceptance] if operation.path in OF_WECHAT else []
    for mode in schemathesis.GenerationMode:
        strategy = operation.as_strategy(generation_mode=mode)
        # A route without a body and with any text as its only parameter can be asked nothing wrong.
        nothing_to_break = [Unsatisfiable] if mode == schemathesis.GenerationMode.NEGATIVE else []

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy, known=st.booleans())
        def ask(case: Any, known: bool) -> None:
            if case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE:
                (case.query or {}).pop("cursor", None)  # opaque: none is made up
                for place in (case.path_parameters, case.query) if known else ():
                    for name in KNOWN.keys() & (place or {}).keys():
                        place[name] = KNOWN[name]
            headers = {"Authorization": f"Bearer {ALL_KEY}"}
            case.call_and_validate(base_url=url, headers=headers, excluded_checks=excluded)

        with suppress(*nothing_to_break):
            ask()
