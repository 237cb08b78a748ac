"""The mistakes around creations over HTTP: a wish that is repeated makes a second activity."""

from __future__ import annotations

from itertools import count
from typing import Any, Final

import msgspec

from services.gateway.problems import Problem
from tests.verification.planting.plant import Plant

ONCE: Final = "services.gateway.once"


def _apart(real: Any) -> Any:
    """As a route that has no transaction of its own: the answer is kept after the work."""

    async def planted(self: Any, tx: Any, reply: Any) -> Any:
        if self._row is None or hasattr(self, "seen"):
            return await real(self, tx, reply)
        self.seen = True
        return reply

    return planted


def _all_the_same(real: Any) -> Any:
    async def planted(self: Any, tx: Any, reply: Any) -> Any:
        try:
            return await real(self, tx, reply)
        except Problem:
            self.kept = True
            return reply

    return planted


def _another_each_time(real: Any) -> Any:
    numbers = count()
    return lambda asked, caller: real(
        msgspec.structs.replace(asked, key=f"{asked.key} {next(numbers)}"), caller
    )


WISHES: Final = (
    Plant("an-answer-is-kept-after-the-commit", 40, {f"{ONCE}:Keep.__call__": _apart}, profile="wishes"),
    Plant("whoever-was-taken-over-commits", 400, {f"{ONCE}:Keep.__call__": _all_the_same}, profile="wishes"),
    Plant("a-repeated-key-is-not-known", 40, {f"{ONCE}:_id": _another_each_time}, profile="wishes"),
)
