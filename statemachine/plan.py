"""The plan of calls: make what was delivered to WeChat equal to what we know (design.md §3).

A pure function; the dispatcher executes the first call of a plan, settles what WeChat said, reads
again and plans again, so a plan never grows stale.
"""

from __future__ import annotations

from typing import Final

import msgspec

from statemachine.states import ENDED, TARGET_STATE

GONE: Final = 0
"""`failing_since` of a card whose end is called: WeChat may show it, so it waits for nobody again."""


class Desired(msgspec.Struct, frozen=True):
    """What the card should show: the activity's `state` and the members still owed to WeChat.

    `hold`: whether members owed from before the end may still hold the end back (see `end_waits_until`).
    `expired`: the id is dead, so no call may be made any more.
    """

    state: str
    owed: tuple[str, ...] = ()
    hold: bool = True
    expired: bool = False


class Delivered(msgspec.Struct, frozen=True):
    """What WeChat has confirmed. A card starts at 1; `cannot_lower`: 47502 to a 2→1 was seen.

    `reached`: the highest open state that a call of ours may have brought the card to since.
    """

    target_state: int = 1
    cannot_lower: bool = False
    reached: int = 1


class Limits(msgspec.Struct, frozen=True):
    """`members_per_call`: longest list sent in one call (undocumented; default 100)."""

    members_per_call: int = 100


class Call(msgspec.Struct, frozen=True):
    """One `setChatToolMsg`: the absolute `target_state` and the members to set to done."""

    target_state: int
    members: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """`calls` in order; `left_out`: members whom the end no longer waits for."""

    calls: tuple[Call, ...] = ()
    left_out: tuple[str, ...] = ()


def shown_state(desired: Desired, delivered: Delivered) -> int:
    """The `target_state` the card should have: never below 3 again, nor below 2 if it cannot."""
    if delivered.target_state == TARGET_STATE[ENDED]:
        return delivered.target_state
    target = TARGET_STATE[desired.state]
    return max(target, 2) if delivered.cannot_lower and delivered.target_state >= 2 else target


def plan(desired: Desired, delivered: Delivered, limits: Limits) -> Plan:
    """The calls that bring a card from `delivered` to `desired`; none when nothing differs.

    Nothing lower after 3 and nothing after expiry; 2→1 only because the activity is open again;
    members done before the end go first, with the state the card has (or may have), then the end alone.
    """
    if desired.expired or delivered.target_state == TARGET_STATE[ENDED]:
        return Plan(left_out=desired.owed)
    target = shown_state(desired, delivered)
    if desired.state != ENDED:
        calls = _member_calls(target, desired.owed, limits)
        if not calls and target != delivered.target_state:
            calls = (Call(target),)
        return Plan(calls)
    if not desired.hold:
        return Plan((Call(target),), left_out=desired.owed)
    last_open = max(delivered.target_state, delivered.reached)
    return Plan((*_member_calls(last_open, desired.owed, limits), Call(target)))


def repair(desired: Desired, delivered: Delivered) -> Plan:
    """After a doubt: the state that the card should have, once more, with nobody (3 included)."""
    return Plan() if desired.expired else Plan((Call(shown_state(desired, delivered)),))


def end_waits_until(
    expires_at: int, *, margin: int, own: int, wait: int, failing_since: int | None, failing: bool
) -> int:
    """Until when the end waits, at most, for members owed from before it (all times µs).

    As long as WeChat takes them they go first, however late they are begun (a dispatcher that was away, an
    activity that ends with the margin). While it does not, since `failing_since`: at most `wait`; and while
    calls are `failing` (not just rejected), never into the margin before expiry. The last `own` of it is the
    end's alone, else it might never be shown.
    """
    until = expires_at - own
    if failing_since == GONE:
        return GONE
    if failing_since is not None:
        until = min(until, failing_since + wait)
        if failing:
            until = min(until, expires_at - margin)
    return until


def failing_from(since: int | None, end_known_at: int | None, retry_at: int, now: int) -> int | None:
    """The beginning of a run of failures (all times µs), moved on by the time in which nobody tried.

    That is from `retry_at`, when it was due, until `now`: a closed gate or a dispatcher that was away costs
    no member a try. None: there is none, or it began before the end was known, which says nothing about the
    members before it. `GONE` stays.
    """
    if since is None or since == GONE:
        return since
    if end_known_at is not None and since < end_known_at:
        return None
    return since + max(0, now - max(retry_at, since))


def _member_calls(target: int, owed: tuple[str, ...], limits: Limits) -> tuple[Call, ...]:
    size = max(1, limits.members_per_call)
    return tuple(Call(target, owed[start : start + size]) for start in range(0, len(owed), size))
