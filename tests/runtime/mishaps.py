"""`python -m tests.runtime.mishaps WHAT`: a process as `serve` runs it, with a service that goes wrong so."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping

import typer

from services.cli import running
from services.runtime import watchdog
from services.runtime.environment import load
from services.runtime.host import serve
from services.runtime.process import Parts, Service


class Bad:
    """Does its work for a moment, then does what it is told."""

    name = "bad"

    def __init__(self, what: str) -> None:
        self.what = what
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        await asyncio.sleep(0.5)
        if self.what == "dies":
            raise KeyError("no such thing")
        if self.what == "blocks":
            time.sleep(60)  # noqa: ASYNC251 (a blocked loop is what is to be seen)
        if self.what == "hesitates":
            time.sleep(watchdog.ROUND * (watchdog.REPORT_AFTER + 3))  # noqa: ASYNC251 (the same, for a moment)
        if self.what == "ends":
            return
        await self.stopping.wait()

    def stop(self) -> None:
        self.stopping.set()

    def marks(self) -> Mapping[str, float]:
        return {}

    async def ready(self) -> str | None:
        return None


def build(parts: Parts) -> list[Service]:
    """The one bad service."""
    assert parts.name
    return [Bad(sys.argv[1])]


if __name__ == "__main__":
    watchdog.ROUND = 0.1  # type: ignore[misc]  # so that a minute's patience takes seconds
    settings = load()
    try:
        running.serve(serve("clock", settings, [build]), settings)
    except typer.Exit as left:
        sys.exit(left.exit_code)
