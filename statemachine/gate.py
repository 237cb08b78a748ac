"""An app's gate: closed until when and why (design.md §6, wechat-api.md §4). Pure; times and durations µs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from contracts.times import LATEST
from contracts.wechat import Verdict
from statemachine.waits import believed

MINUTE: Final = 60_000_000
DAY: Final = 86_400_000_000
SHANGHAI: Final = 8 * 3_600_000_000
"""UTC+8, without daylight saving: the day of WeChat's quotas (wechat-api.md §4)."""
TOKEN_WAIT: Final = 10_000_000
"""The first wait of a gate that is closed for its token; it doubles up to the probe setting."""
SPREAD: Final = 2_000_000
"""What a minute's end is spread over, so that a fleet does not begin in the same moment."""

UNKNOWN_APP: Final = "unknown_app"
"""Why a gate is closed for an app that the apps file does not name (design.md §4)."""
OPERATOR: Final = "operator"
"""Why a gate is closed that a person closed; `errmsg` is his reason. Only its time and a person open it."""
LONGEST_BY_HAND: Final = 31 * DAY
"""The longest closing of a person's."""
PROBED: Final = frozenset({Verdict.token.value, Verdict.misconfigured.value, Verdict.blocked.value})
"""Reasons after whose wait one call finds out whether the app may be called again."""
NEVER: Final = LATEST
"""Until when a gate is closed that only the apps file opens."""
LONGEST: Final[Mapping[str, int]] = MappingProxyType(
    {
        Verdict.minute_limit.value: MINUTE + SPREAD,
        Verdict.daily_limit.value: DAY,
        UNKNOWN_APP: NEVER,
        OPERATOR: LONGEST_BY_HAND,
    }
)
"""The longest closing for a reason; for any other it is a setting (`DeliveryRules.longest_closing`)."""
CLOSING: Final = frozenset(
    {Verdict.token, Verdict.minute_limit, Verdict.daily_limit, Verdict.misconfigured, Verdict.blocked}
)
"""Verdicts that are about the app for every process: they close its gate."""
ABOUT_THE_CARD: Final = frozenset(
    {Verdict.ok, Verdict.expired, Verdict.unknown_activity, Verdict.rejected, Verdict.unknown_code}
)
"""Verdicts that say that WeChat lets the app in."""


UNSENT: Final = frozenset({None, Verdict.address, Verdict.no_token})
"""Verdicts of a call that is given back as if it had never been claimed."""


class Gate(msgspec.Struct):
    """One per app ever seen. Closed while `closed_until` > now.

    `generation` rises with every closing, so that an answer to a call claimed before can be told from a
    new one. `wait` is how long the last closing was meant to last. While `saving_until` > now, the rest of
    the app's quota is kept for ends; to close or open the gate leaves that as it is.
    """

    appid: str
    closed_until: int = 0
    closed_at: int = 0
    reason: str = ""
    errcode: int = 0
    errmsg: str = ""
    generation: int = 0
    wait: int = 0
    saving_until: int = 0


class Passage(msgspec.Struct, frozen=True):
    """What a claim saw of its app's gate: its `generation`, and the `reason` of a closing that is over.

    `probe`: this is the one call that finds out whether the app may be called again; what `closed_until` was
    before it.
    """

    generation: int = 0
    reason: str = ""
    probe: int | None = None


def as_believed(gate: Gate, now: int, longest: int) -> Gate:
    """The gate without a closing longer than any for its reason: the database's clock was set back since.
    `longest`: for reasons that `LONGEST` does not name."""
    until = believed(gate.closed_until, now, LONGEST.get(gate.reason, longest))
    return gate if until == gate.closed_until else msgspec.structs.replace(gate, closed_until=until)


def saves(gate: Gate, now: int) -> bool:
    """Whether what is left of the app's quota is kept for ends."""
    return believed(gate.saving_until, now, DAY) > now


def wants_probe(gate: Gate, now: int) -> bool:
    """Whether the wait is over and one call, of all processes, is to find out."""
    return gate.reason in PROBED and gate.closed_until <= now


def probed(gate: Gate, now: int, lease: int) -> Gate:
    """The gate while one call finds out: closed for everybody else, for one lease."""
    return msgspec.structs.replace(gate, closed_until=now + lease)


def held(gate: Gate, now: int) -> bool:
    """Whether a person has closed it, and its time is not over."""
    return gate.reason == OPERATOR and gate.closed_until > now


def closed_by_hand(gate: Gate, until: int, now: int, why: str) -> Gate:
    """The gate while a person keeps it closed; what closed it before is forgotten."""
    return Gate(gate.appid, until, now, OPERATOR, 0, why, gate.generation + 1, until - now)


def opened(gate: Gate) -> Gate:
    """The gate as it is when it is open; the generation stays, so that old answers are known as such."""
    return Gate(gate.appid, generation=gate.generation, closed_at=gate.closed_at)


def first_wait(verdict: Verdict, now: int, jitter: float, probe: int) -> int:
    """How long a first closing lasts: to the next minute and a little; to midnight in Shanghai; a short wait
    for another token; the probe setting."""
    if verdict is Verdict.minute_limit:
        return (now // MINUTE + 1) * MINUTE + int(SPREAD * jitter) - now
    if verdict is Verdict.daily_limit:
        return ((now + SHANGHAI) // DAY + 1) * DAY - SHANGHAI - now
    return min(TOKEN_WAIT, probe) if verdict is Verdict.token else probe


def answered(
    gate: Gate,
    passage: Passage,
    verdict: Verdict | None,
    now: int,
    *,
    jitter: float = 0.0,
    probe: int = 60_000_000,
    errcode: int | None = None,
    errmsg: str = "",
) -> Gate:
    """The gate after an answer to a call of its app (`verdict` None: the call was given back unsent).

    The answer of a call that was claimed before the last closing can only move `closed_until` later, by a
    first wait; it never opens the gate, and once the gate is open it changes nothing. No answer moves what a
    person closed.
    """
    if held(gate, now):
        return gate
    stale = passage.generation != gate.generation
    if verdict in CLOSING:
        wait = first_wait(verdict, now, jitter, probe)
        if stale and (gate.closed_until <= now or now + wait <= gate.closed_until):
            return gate
        if not stale and verdict is Verdict.token and gate.reason == verdict.value and gate.wait:
            wait = min(probe, 2 * gate.wait)
        closed = Gate(gate.appid, now + wait, now, verdict.value, errcode or 0, errmsg)
        closed.generation, closed.wait = gate.generation + (not stale), wait
        return closed
    if stale or not gate.reason:
        return gate
    if passage.probe is not None:
        if verdict in ABOUT_THE_CARD:
            return opened(gate)
        return msgspec.structs.replace(gate, closed_until=passage.probe) if verdict in UNSENT else gate
    over = gate.closed_until <= now and gate.reason not in PROBED
    return opened(gate) if over and verdict is Verdict.ok else gate
