"""What a browser is asked by a page of another site is refused; programs are asked nothing."""

from __future__ import annotations

from typing import Any

import pytest

from services.simulator.app import SimulatorServer

BUSY = {"action": {"errcode": -1}}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Host": "["},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example:8084", "Origin": "http://evil.example:8084"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/control/faults"),
        ("DELETE", "/control/faults"),
        ("POST", "/control/reset"),
        ("POST", "/control/livecard/open"),
        ("GET", "/control/stream"),
        ("GET", "/control/activities"),
    ],
)
async def test_another_site_is_refused_and_changes_nothing(
    client: Any, headers: dict[str, str], method: str, path: str
) -> None:
    await client.post("/control/faults", BUSY)
    async with client.http.request(method, path, json=BUSY, headers=headers) as response:
        assert response.status == 403
        assert "site" in (told := (await response.json())["error"]) or "localhost" in told
    assert len((await client.get("/control/faults"))["rules"]) == 1


async def test_the_page_itself_and_programs_are_let_in(client: Any, server: SimulatorServer) -> None:
    here = f"localhost:{server.port}"
    for headers in ({}, {"Host": here, "Origin": f"http://{here}", "Sec-Fetch-Site": "same-origin"}):
        async with client.http.post("/control/faults", json=BUSY, headers=headers) as response:
            assert response.status == 201
