"""Gates that are closed or opened for what livecard itself knows of an app (design.md §4, §6)."""

from __future__ import annotations

from collections.abc import Collection

from services.store.ports import Store
from services.store.rows import Writes
from statemachine.gate import NEVER, UNKNOWN_APP, Gate


async def close_gates_of_unknown(store: Store, appids: Collection[str], known: Collection[str]) -> list[str]:
    """Close the open gates among `appids` that the apps file does not name; which were closed now."""
    strangers = sorted(set(appids) - set(known))
    if not strangers:
        return []
    async with store.transaction() as tx:
        gates = (await tx.lock_gates(strangers, wait=True)).values()
        now = await tx.now()
        shut = [gate for gate in gates if gate.reason != UNKNOWN_APP]
        closed = [Gate(gate.appid, NEVER, now, UNKNOWN_APP, generation=gate.generation + 1) for gate in shut]
        if closed:
            await tx.write(Writes(gates=closed))
    return [gate.appid for gate in closed]
