"""A call of an app's that is about no card passes the gate as a card's does (design.md §6, *Gates*).

What is asked for callers of the API (a new activity id) goes with the app's token too: while the gate is
closed it is not asked, once the wait is over it may be the probe, and its answer closes or opens the gate.
"""

from __future__ import annotations

import msgspec

from contracts.wechat import Verdict
from services.store.ports import Store
from services.store.rows import Writes
from statemachine import gate as gates
from statemachine.card import DeliveryRules
from statemachine.gate import CLOSING, Gate, Passage


class Shut(msgspec.Struct, frozen=True):
    """The gate is closed, for so many µs more."""

    reason: str
    wait: int


OF_THE_CALL = frozenset({Verdict.minute_limit, Verdict.daily_limit})
"""Closings that are about one path (wechat-api.md §2, quota): that no more ids are to be had is no reason to
leave cards as they are. Whoever asks keeps them for itself."""


async def enter(store: Store, appid: str, rules: DeliveryRules) -> Passage | Shut:
    """Whether the app may be called now. Nobody waits here, and where nothing is closed nothing is locked."""
    gate, now = await store.gate(appid)
    if not gate.reason:
        return Passage(gate.generation)
    async with store.transaction() as tx:
        gate = (await tx.lock_gates([appid], wait=True)).get(appid) or Gate(appid)
        now = await tx.now()
        gate = gates.as_believed(gate, now, rules.longest_closing)
        if gate.closed_until > now:
            return Shut(gate.reason, gate.closed_until - now)
        if not gates.wants_probe(gate, now):
            return Passage(gate.generation, gate.reason)
        await tx.write(Writes(gates=[gates.probed(gate, now, rules.lease)]))
        return Passage(gate.generation, gate.reason, gate.closed_until)


async def leave(
    store: Store,
    appid: str,
    passage: Passage,
    verdict: Verdict | None,
    rules: DeliveryRules,
    *,
    jitter: float,
    errcode: int | None = None,
    errmsg: str = "",
) -> Gate | None:
    """What the answer makes of the gate, if anything. A limit of the call itself changes nothing, and leaves
    a probe as one that WeChat let in."""
    if verdict in OF_THE_CALL:
        verdict = Verdict.unknown_code
    if verdict not in CLOSING and passage.probe is None:
        return None
    async with store.transaction() as tx:
        before = (await tx.lock_gates([appid], wait=True)).get(appid) or Gate(appid)
        now = await tx.now()
        before = gates.as_believed(before, now, rules.longest_closing)
        after = gates.answered(
            before,
            passage,
            verdict,
            now,
            jitter=jitter,
            probe=rules.probe,
            errcode=errcode,
            errmsg=errmsg,
        )
        if after == before:
            return None
        await tx.write(Writes(gates=[after]))
        return after
