"""Mistakes of the events' way in, the timers, the relay, the dispatcher and the upkeep."""

from __future__ import annotations

from typing import Final

from tests.verification.sim.planted.plant import Edit, Plant

CARDS: Final = "services.transactions.claim"
APPLY: Final = "services.transactions.apply"
MEMORY: Final = "tests.verification.dict_store.store"
SQL: Final = "services.store.sql_tx"
RELAY: Final = "services.runtime.relay"
REJECT: Final = "services.transactions.settle:_Books._reject"

EVENTS: Final = (
    Plant(
        "the-inbox-in-a-transaction-of-its-own",
        600,
        (
            Edit(
                f"{APPLY}:apply",
                "        await batch.read(arrivals)\n",
                "        await batch.read(arrivals)\n"
                "    async with store.transaction() as tx:\n"
                "        batch.tx = tx\n"
                "        await tx.lock(sorted(batch.aggregates))\n",
            ),
        ),
    ),
    Plant(
        "offsets-committed-first",
        100,
        (
            Edit(
                "tests.verification.sim.actors:Core._consume",
                "        BATCH.set(tuple(batch))\n",
                "        try:\n"
                "            await self._commit({each.partition: each.offset + 1 for each in batch})\n"
                "        except Refused:\n"
                "            pass\n"
                "        BATCH.set(tuple(batch))\n",
            ),
        ),
    ),
    Plant(
        "a-repeat-in-the-same-batch-counts",
        2_000,
        (Edit(f"{APPLY}:_Batch.fold", '        self.status[key] = "repeat"\n', ""),),
    ),
    Plant(
        "parked-events-are-dropped-at-the-opening",
        100,
        (
            Edit(
                "statemachine.activity:_open",
                "early, aggregate.early = aggregate.early, []",
                "early, aggregate.early = [], []",
            ),
        ),
    ),
    Plant(
        "parked-events-are-applied-out-of-order",
        600,
        (
            Edit(
                f"{APPLY}:_Batch._read_parked",
                "for row in await self.tx.parked(page):",
                "for row in reversed(await self.tx.parked(page)):",
            ),
        ),
    ),
    Plant(
        "a-dead-letter-taken-back-is-a-repeat",
        100,
        (
            Edit(f"{MEMORY}:MemoryTx.admit", '"dead" if entry.outcome == "dead" else "repeat"', '"repeat"'),
            Edit(f"{SQL}:SqlTx.admit", "if rest else set()", "if False else set()"),
        ),
    ),
    Plant(
        "parked-events-are-buried-too-young",
        600,
        (
            Edit(
                "services.transactions.timers:bury_parked",
                "        now = await tx.now()\n",
                "        now = await tx.now()\n        age //= 2\n",
            ),
        ),
    ),
)

TIMERS: Final = (
    Plant(
        "a-timer-fires-two-seconds-early",
        2_000,
        (Edit("statemachine.activity:fire_due", "now >= near:", "now + 2_000_000 >= near:"),),
    ),
    Plant(
        "a-timer-fires-what-was-read-before-the-lock",
        100,
        (
            Edit(
                "services.transactions.timers:fire_due",
                "        activities = await tx.lock_due(limit)\n",
                "        activities = await tx.lock_due(limit)\n"
                "    async with store.transaction() as tx:\n"
                "        await tx.lock([each.activity_id for each in activities])\n",
            ),
        ),
    ),
)

RELAYS: Final = (
    Plant(
        "the-relay-deletes-before-it-publishes",
        600,
        (
            Edit(
                f"{RELAY}:Relay.round",
                "    for role, each in",
                "    await self._store.delete_outbox([row.seq for row in rows])\n    for role, each in",
            ),
        ),
    ),
    Plant(
        "the-relay-knows-no-order",
        100,
        (Edit(f"{RELAY}:_by_role", "for row in rows:", "for row in sorted(rows, key=lambda row: row.id):"),),
    ),
    Plant(
        "the-relay-deletes-more-than-it-published",
        100,
        (
            Edit(
                f"{RELAY}:Relay.round",
                "[row.seq for row in each]",
                "list(range(each[0].seq, each[-1].seq + 2))",
            ),
        ),
    ),
)

DISPATCH: Final = (
    Plant(
        "no-sweep",
        600,
        (
            Edit(
                "services.dispatcher.sweeper:Sweeper.sweep",
                "await self._store.candidates(self._limit, self._per_app)",
                "[]",
            ),
        ),
    ),
    Plant(
        "a-closed-gate-is-ignored",
        100,
        (Edit(f"{CARDS}:waits", "if gate is not None and gate.closed_until > now:", "if False:"),),
    ),
    Plant(
        "a-gate-stays-closed-though-the-file-names-the-app",
        100,
        (
            Edit(
                "services.dispatcher.sweeper:Sweeper.gates",
                "    await self._open(named, UNKNOWN_APP)\n",
                "",
            ),
        ),
        profile="apps",
    ),
    Plant(
        "a-refused-token-is-kept",
        2_000,
        (Edit("services.wechat.tokens:TokenKeeper.renew", "del self._tokens[appid]", "pass"),),
    ),
    Plant(
        "the-bisection-sets-an-innocent-aside",
        100,
        (Edit(REJECT, "if len(call.members) > 1:", "if len(call.members) > 2:"),),
        profile="lists",
    ),
    Plant(
        "three-strangers-kill-a-card-that-was-delivered-to",
        2_000,
        (Edit(REJECT, "if card.singles >= 3 and not card.succeeded:", "if card.singles >= 3:"),),
        profile="lists",
    ),
)

UPKEEP: Final = (
    Plant(
        "the-inbox-is-pruned-too-young",
        100,
        (
            Edit(
                "services.clock.clock:TimerClock._prune",
                'inbox=self._settings.us("keep_inbox")',
                "inbox=7_000_000",
            ),
        ),
    ),
    Plant(
        "the-inbox-forgets-what-is-parked",
        100,
        (
            Edit("tests.verification.dict_store.reads:Reads.prune", 'and entry.outcome != "parked"', ""),
            Edit("services.store.statements:UPKEEP[prune_inbox]", " AND outcome <> 'parked'", ""),
        ),
        profile="aged",
    ),
    Plant(
        "redelivering-counts-twice",
        2_000,
        (
            Edit(
                f"{CARDS}:redeliver",
                "if not card.behind and card.revision > 1 and",
                "if card.revision > 1 and",
            ),
        ),
        profile="oncall",
    ),
    Plant(
        "redelivering-under-a-call",
        10_000,
        (Edit(f"{CARDS}:redeliver", "if card.lease_until:", "if False:"),),
        profile="oncall",
    ),
    Plant(
        "an-end-that-was-tried-waits-for-members-again",
        200,
        (
            Edit(
                "statemachine.plan:failing_from",
                "== GONE:\n        return since",
                "== GONE:\n        return None",
            ),
        ),
        profile="oncall",
    ),
)
