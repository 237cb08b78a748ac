"""The plan of calls: make what was delivered to WeChat equal to what we know (design.md §3, §6).

A pure function. A dispatcher makes the first call of a plan, settles what WeChat said and plans again,
so a plan never grows stale.
"""

from __future__ import annotations

from typing import Final

import msgspec

from statemachine.states import ENDED, TARGET_STATE

END: Final = TARGET_STATE[ENDED]
HIGHEST_OPEN: Final = 2
"""The highest `target_state` of an activity that has not ended."""


class Desired(msgspec.Struct, frozen=True):
    """What the card should show: the activity's `state` and the members still owed to WeChat.

    `hold`: whether members owed from before the end may still hold the end back (until `end_by`).
    `expired`: the id is dead, so no call may be made any more.
    """

    state: str
    owed: tuple[str, ...] = ()
    hold: bool = True
    expired: bool = False


class Delivered(msgspec.Struct, frozen=True):
    """What WeChat shows. A card starts at 1.

    `shown`: the state that WeChat confirmed. `may_show`: the highest that a call since the last certain
    confirmation may have brought it to. `cannot_lower`: WeChat refused to go from 2 to 1 (47502).
    """

    shown: int = 1
    may_show: int = 1
    cannot_lower: bool = False


class Limits(msgspec.Struct, frozen=True):
    """`members_per_call`: longest list of one call (undocumented; default 100); 0: the state alone."""

    members_per_call: int = 100


class Call(msgspec.Struct, frozen=True):
    """One `setChatToolMsg`: the absolute `target_state` and the members to set to done."""

    target_state: int
    members: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """`calls` in order; `left_out`: members for whom the end no longer waits."""

    calls: tuple[Call, ...] = ()
    left_out: tuple[str, ...] = ()


def target_of(desired: Desired, delivered: Delivered) -> int:
    """The `target_state` that the card should have: an open one stays at 2 where WeChat cannot lower it."""
    target = TARGET_STATE[desired.state]
    return max(target, HIGHEST_OPEN) if delivered.cannot_lower else target


def plan(desired: Desired, delivered: Delivered, limits: Limits) -> Plan:
    """The calls that bring a card from `delivered` to `desired`; none when nothing differs.

    Undelivered members travel with the current state. Members done before the end go first, with the state
    that the card may have, then the end alone; once the end may be shown nobody follows it. Nothing is
    called after expiry. A state is lowered only because the activity is open again.
    """
    if desired.expired:
        return Plan()
    target = target_of(desired, delivered)
    true = delivered.shown == delivered.may_show == target
    if desired.state != ENDED:
        calls = _member_calls(target, desired.owed, limits)
        return Plan(calls or (() if true else (Call(target),)))
    if delivered.may_show == END or not desired.hold:
        return Plan(() if true else (Call(END),), left_out=desired.owed)
    last_open = min(delivered.may_show, HIGHEST_OPEN)
    return Plan((*_member_calls(last_open, desired.owed, limits), Call(END)))


def repair(desired: Desired, delivered: Delivered) -> Plan:
    """After a doubt: the state that the card should have, once more, with nobody (3 included)."""
    return Plan() if desired.expired else Plan((Call(target_of(desired, delivered)),))


def _member_calls(target: int, owed: tuple[str, ...], limits: Limits) -> tuple[Call, ...]:
    size = limits.members_per_call
    if not size:
        return (Call(target),)
    return tuple(Call(target, owed[start : start + size]) for start in range(0, len(owed), size))
