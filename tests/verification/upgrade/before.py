"""Verbs of the release before on a database that this one uses, too: run in a process of its own.

`PYTHONPATH=TREE python before.py URL < STEPS`: a JSON list of `[verb, …]`; what each came to is printed as a
JSON list. `["feed", event, …]`, `["tick"]`, `["expire"]`, `["hold"]` (claim what is ready, call nobody) and
`["deliver", verdict]` (claim, one call each, settle).
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from typing import Any

STANDING = "(SELECT us FROM standing_clock)"
MOST = 100


class Before:
    """Its modules are imported by name: where this file is checked there are none of them."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.cards = import_module("services.store.cards")
        self.timers = import_module("services.store.timers")
        self.rules = import_module("statemachine.model").Rules()
        self.card_rules = self.cards.CardRules()
        self.offset = 0

    async def feed(self, *events: Any) -> Any:
        """One batch of the lifecycle's; the revisions that it nudges."""
        apply = import_module("services.store.apply")
        record = import_module("contracts.records").Record
        batch = []
        for event in events:
            self.offset += 1
            value = json.dumps(event).encode()
            batch.append(apply.read_arrival(record("activity.events", 9, self.offset, b"k", value, ())))
        return (await apply.apply(self.store, batch, self.rules)).nudges

    async def tick(self) -> Any:
        """The clock's round; the revisions that it nudges."""
        return (await self.timers.fire_due(self.store, MOST, self.rules)).nudges

    async def expire(self) -> Any:
        """The dispatcher closes the books of ids that are dead; how many."""
        return await self.cards.expire(self.store, MOST)

    async def hold(self) -> Any:
        """Claim what the sweep finds; whose cards."""
        return sorted(claimed.card.activity_id for claimed in await self._claim())

    async def deliver(self, verdict: str) -> Any:
        """The same, then a call each; `[activity, target state, members]` of each call."""
        look, settle = import_module("services.dispatcher.look"), import_module("services.store.settle")
        outcome = import_module("contracts.wechat").Verdict(verdict)
        looks, calls = [], []
        for claimed in await self._claim():
            plan = look.plan_look(claimed, self.card_rules)
            if plan.calls:
                call = plan.calls[0]
                calls.append([claimed.card.activity_id, call.target_state, call.members])
                more = {"call": call, "more": len(plan.calls) > 1, "sent": True, "verdict": outcome}
                looks.append(settle.Look(claimed, left_out=plan.left_out, **more))
            else:
                looks.append(settle.Look(claimed, left_out=plan.left_out))
        await settle.settle(self.store, looks, self.card_rules)
        return calls

    async def _claim(self) -> Any:
        ready = await self.store.candidates(MOST, MOST)
        rooms = {"room": {}, "default_room": MOST}
        claims = await self.cards.claim(
            self.store, ready, holder="before", limit=MOST, rules=self.card_rules, **rooms
        )
        return claims.cards


async def main() -> None:
    """The steps, one after the other."""
    opening = import_module("services.store.open")
    store = await opening.open_store(sys.argv[1], slot=7, now=STANDING)
    before = Before(store)
    try:
        told = [await getattr(before, verb)(*rest) for verb, *rest in json.load(sys.stdin)]
    finally:
        await store.close()
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
