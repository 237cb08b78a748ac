"""What a producer of the release before may write is read today, and means the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings

from contracts.decode import Dead, decode
from contracts.events import CLOSED, COMPLETED, OPENED, RESCHEDULED, Event
from scripts.compatibility.__main__ import RELEASED
from scripts.patience import PATIENCE
from tests.contracts.samples import LEFT_OUT, OPENED_DATA, event
from tests.contracts.test_schemas import events
from tests.verification.upgrade.conftest import Release

HERE: Final = Path(__file__).parent
DRAWN: Final = 1_000

DECIDED: Final = (
    "data.deadline: expected a time in RFC 3339 with an offset, years 2000–2100, or null, got nothing",
    "data_base64: expected base64 of a JSON object",
    "data.openids",
    "data.continues",
)
"""How the errors begin of what was accepted and is refused now: as scripts/compatibility/accepted.toml says,
or since a field that did not exist was passed over whatever it held."""
BY_HAND: Final = (
    event(RESCHEDULED, {}),
    event(CLOSED, LEFT_OUT, data_base64=""),
    event(COMPLETED, {"members": ["gp-bob"], "openids": 1}),
    event(OPENED, {**OPENED_DATA, "continues": 1}),
)
"""One for each: chance seldom makes them."""


def drawn() -> list[bytes]:
    """Values of records, most of them nearly right; the same ones each time."""
    values: list[bytes] = []

    @settings(
        max_examples=DRAWN,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(events())
    def draw(value: dict[str, Any]) -> None:
        values.append(json.dumps(value).encode())

    draw()
    return values


def before(release: Release, values: list[bytes]) -> list[Any]:
    """What the release before makes of them."""
    told = subprocess.run(
        [sys.executable, "-P", str(HERE / "contracts_before.py")],
        input=b"\n".join(values),
        env={**os.environ, "PYTHONPATH": str(release.tree)},
        cwd=release.tree,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert told.returncode == 0, told.stderr.decode()
    return list(json.loads(told.stdout))


def test_what_the_release_before_read_is_read_and_means_the_same(release_before: Release) -> None:
    values = [*(json.dumps(each).encode() for each in BY_HAND), *drawn()]
    both, met = 0, set[str]()
    for value, then in zip(values, before(release_before, values), strict=True):
        if then is None:
            continue
        now = decode(value)
        if isinstance(now, Event):
            both += 1
            assert [now.source, now.id, now.type, now.activity_id, now.time] == then
        else:
            assert isinstance(now, Dead)
            assert now.error.startswith(DECIDED), (value, now)
            met |= {each for each in DECIDED if now.error.startswith(each)}
    assert both > DRAWN / 10
    assert met == {*DECIDED}, "a decision that concerns nobody goes"


def test_the_contracts_that_are_compared_with_are_those_of_the_release_before(
    release_before: Release,
) -> None:
    published = release_before.tree / "contracts" / "generated" / "asyncapi.json"
    assert RELEASED.read_text("utf-8") == published.read_text("utf-8")
