"""`make audit` finds what is known, and does not take silence for good news."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from scripts import audit

VULNERABLE = {"urllib3": "1.26.4", "leaky": "1.0"}


def vulnerability(package: str) -> dict[str, Any]:
    """As OSV tells one."""
    events = [{"introduced": "0"}, {"fixed": "9.0"}]
    affected = {
        "package": {"name": package, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": f"PYSEC-{package}", "aliases": [f"CVE-{package}"], "summary": "", "affected": [affected]}


@pytest.fixture
async def service() -> AsyncIterator[list[str]]:
    """A vulnerability service, asked by the options it yields."""

    async def answer(request: web.Request) -> web.Response:
        asked = json.loads(await request.read())
        name = asked["package"]["name"]
        found = VULNERABLE.get(name) == asked["version"]
        return web.json_response({"vulns": [vulnerability(name)]} if found else {})

    application = web.Application()
    application.add_routes([web.post("/v1/query", answer)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield osv(runner.addresses[0][1])
    await runner.cleanup()


def osv(port: int) -> list[str]:
    """The options that name a service of ours."""
    return ["--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{port}/v1/query"]


def pin(lock: Path, *releases: str) -> None:
    """Write a lock file."""
    lock.write_text("\n".join(releases))


async def main(*options: str) -> int:
    """The script's own end, in a thread: it waits for processes."""
    return await asyncio.to_thread(audit.main, options)


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for all the lock files."""
    path = tmp_path / "lock.txt"
    monkeypatch.setattr(audit, "LOCKS", (str(path),))
    return path


async def test_a_vulnerable_release_in_a_lock_fails_the_audit(
    service: list[str], lock: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named with what mends it; an accepted one passes, a mended one too."""
    pin(lock, "leaky==1.0", "sound==2.0")
    assert await main(*service) == 1
    assert "leaky 1.0: CVE-leaky, PYSEC-leaky (fixed in 9.0)" in capfd.readouterr().err
    monkeypatch.setitem(audit.ACCEPTED, "CVE-leaky", "the leaky part is never called")
    assert await main(*service) == 0
    monkeypatch.delitem(audit.ACCEPTED, "CVE-leaky")
    pin(lock, "leaky==9.0", "sound==2.0")
    assert await main(*service) == 0
    assert "0 known vulnerabilities" in capfd.readouterr().out


async def test_silence_is_told_loudly_and_stops_the_work_only_where_that_is_wished(
    service: list[str],
    lock: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    unused_tcp_port: int,
) -> None:
    """Nobody there, and one who answers but knows nothing."""
    pin(lock, "leaky==1.0")
    away = osv(unused_tcp_port)
    assert [await main(*away), await main("--strict", *away)] == [0, 2]
    monkeypatch.setattr(audit, "KNOWN", "sound==2.0")
    assert await main("--strict", *service) == 2
    assert capfd.readouterr().err.count("NOTHING WAS AUDITED") == 3


async def test_a_package_that_could_not_be_looked_up_is_not_taken_for_sound(
    lock: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip-audit leaves it out and says that all is well."""

    def ask(files: list[Path], _options: list[str]) -> tuple[list[audit.Finding], list[str]]:
        probing = files[0].name == "known.txt"
        known = audit.Finding("urllib3 1.26.4", frozenset({"CVE-2021-33503"}), "1.26.5")
        return ([known], []) if probing else ([], ["odd"])

    monkeypatch.setattr(audit, "ask", ask)
    assert await main("--strict") == 2
    assert "could not look up odd" in capfd.readouterr().err
