"""How a command runs: to its end or until it is asked to leave; known failures become one clear message."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any

import typer
from rich.console import Console

from services.runtime import logs
from services.runtime.error_text import Explained, error_text
from services.runtime.settings import Settings

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)


def run_command(work: Coroutine[Any, Any, int | None], settings: Settings) -> None:
    """A command to its end. SIGTERM is heeded like Ctrl-C: what is under way is given up in order."""
    asked = [signal.SIGINT]

    def terminated(_number: int, _frame: FrameType | None) -> None:
        asked.append(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's own takes its place
    signal.signal(signal.SIGTERM, terminated)
    logs.configure(settings, command=True)
    try:
        code = _said(work)
    except KeyboardInterrupt:
        raise typer.Exit(128 + asked[-1]) from None
    if code:
        raise typer.Exit(code)


def serve(work: Coroutine[Any, Any, None], settings: Settings) -> None:
    """A service until it is asked to leave; its log is for machines."""
    from services.runtime.host import SIGNALS

    logs.configure(settings)
    try:
        _said(work)
    except KeyboardInterrupt:  # it was asked a third time
        raise typer.Exit(128 + signal.SIGINT) from None
    for number in SIGNALS:  # it has drained and is leaving: to be asked again changes nothing
        signal.signal(number, signal.SIG_IGN)


def _said(work: Coroutine[Any, Any, int | None]) -> int | None:
    """Run it; known failures become one clear message."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(work)
    except Explained as error:
        ERR.print(f"livecard: {logs.redact(error_text(error))}", markup=False)
        raise typer.Exit(1) from None


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
