"""Gates that are closed or opened for what livecard itself knows of an app (design.md §4, §6), or by hand."""

from __future__ import annotations

from collections.abc import Collection

from contracts.times import DAY, format_rfc3339
from services.store.operators import Act, action
from services.store.ports import Store, Tx
from services.store.rows import Writes
from statemachine.gate import (
    LONGEST_BY_HAND,
    NEVER,
    UNKNOWN_APP,
    Gate,
    closed_by_hand,
    held,
    opened,
)


async def close_gates_of_unknown(store: Store, appids: Collection[str], known: Collection[str]) -> list[str]:
    """Close the open gates among `appids` that the apps file does not name; which were closed now."""
    strangers = sorted(set(appids) - set(known))
    if not strangers:
        return []
    async with store.transaction() as tx:
        gates = (await tx.lock_gates(strangers, wait=True)).values()
        now = await tx.now()
        shut = [gate for gate in gates if gate.reason != UNKNOWN_APP and not held(gate, now)]
        closed = [Gate(gate.appid, NEVER, now, UNKNOWN_APP, generation=gate.generation + 1) for gate in shut]
        if closed:
            await tx.write(Writes(gates=closed))
    return [gate.appid for gate in closed]


async def open_by_hand(tx: Tx, appids: Collection[str], act: Act) -> list[str]:
    """Open these gates, whatever closed them; which were closed. Each is an action."""
    gates = await tx.lock_gates(sorted(set(appids)), wait=True)
    closed = [gate for gate in gates.values() if gate.reason]
    if closed:
        await tx.write(Writes(gates=[opened(gate) for gate in closed]))
        await tx.note(
            [action(act, "open gate", appid=each.appid, said=f"was {each.reason}") for each in closed]
        )
    return sorted(gate.appid for gate in closed)


class WrongTimeError(ValueError):
    """A gate cannot be closed until then; the text says why."""


async def close_by_hand(tx: Tx, appids: Collection[str], until: int, act: Act) -> list[str]:
    """Close these gates until then (µs), whatever closed them before; which are known. Each is an action.
    Raises `WrongTimeError`."""
    gates = await tx.lock_gates(sorted(set(appids)), wait=True)
    now = await tx.now()
    if until <= now:
        raise WrongTimeError(f"it is {format_rfc3339(now)} at the database, so that time is past")
    if until > now + LONGEST_BY_HAND:
        days, last = LONGEST_BY_HAND // DAY, format_rfc3339(now + LONGEST_BY_HAND)
        raise WrongTimeError(f"a gate is closed for {days} days at most, until {last}")
    if gates:
        shut = [closed_by_hand(gate, until, now, act.why) for gate in gates.values()]
        await tx.write(Writes(gates=shut))
        said = f"until {format_rfc3339(until)}"
        await tx.note([action(act, "close gate", appid=gate.appid, said=said) for gate in shut])
    return sorted(gates)
