"""The console script. Signals are heard from its first line on; everything else is imported after it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final

SERVES: Final = frozenset({"lifecycle", "clock", "dispatcher", "gateway", "simulator", "up"})
"""Commands that serve until they are asked to leave, which is no failure."""


def main() -> None:
    """The console script."""
    listen(sys.argv[1:])
    from services.cli.commands import run

    run()


def listen(arguments: Sequence[str]) -> None:
    """Leave at once when asked to: as long as nothing is in hand, there is nothing to drain.

    Nothing is raised, since an import would pass it on or swallow it as it likes. As the first process of
    a container, one without handlers would not hear SIGTERM at all.
    """
    serves = bool(SERVES.intersection(arguments[:1]))

    def leave(number: int, _frame: FrameType | None) -> None:
        os._exit(0 if serves else 128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):  # who sees the latter heard may send either
        signal.signal(number, leave)
