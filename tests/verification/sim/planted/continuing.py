"""The mistakes around cards that continue others: somebody is forgotten, or an old call still counts."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from statemachine.card import CONTINUED
from tests.verification.planting.plant import Plant


def _nobody(_: Any) -> Any:
    return lambda aggregate, earlier: iter(())


def _keeps_its_fence(real: Any) -> Any:
    def planted(card: Any, *rest: Any) -> Any:
        step = real(card, *rest)
        step.card.fence = card.fence
        return step

    return planted


def _goes_on(real: Any) -> Any:
    def planted(aggregate: Any, reason: str, at: int, now: int) -> None:
        if reason != "continued":
            real(aggregate, reason, at, now)

    return planted


def _revives(real: Any) -> Any:
    def planted(card: Any, result: Any, now: int, unconfirmed: Any) -> Any:
        step = real(card, result, now, unconfirmed)
        if card.verdict == CONTINUED and result.sent:
            step.card.verdict, step.card.doubt_at = "", now
        return step

    return planted


def _nothing(_: Any) -> Any:
    return lambda passed, now: []


def _by_now(real: Any) -> Any:
    def planted(passed: Any, now: int) -> Any:
        return real([each._replace(event=replace(each.event, time=now)) for each in passed], now)

    return planted


CONTINUING: Final = (
    Plant(
        "who-was-done-is-forgotten-by-the-next-card", 60, {"statemachine.continuing:_done_before": _nobody}
    ),
    Plant("a-card-that-is-continued-goes-on", 60, {"statemachine.continuing:end": _goes_on}),
    Plant(
        "a-card-that-is-continued-keeps-its-fence",
        1_000,
        {"services.transactions.apply:close": _keeps_its_fence},
    ),
    Plant(
        "a-late-call-doubts-a-card-that-is-continued", 1_000, {"statemachine.delivery:doubt_late": _revives}
    ),
    Plant(
        "who-comes-too-late-is-not-passed-on", 1_000, {"services.transactions.apply:passed_rows": _nothing}
    ),
    Plant(
        "who-is-passed-on-is-told-by-the-time-of-that",
        1_000,
        {"services.transactions.apply:passed_rows": _by_now},
    ),
)
