"""The mistakes, by the promise that they break. `seeds` was measured, and doubled at least."""

from __future__ import annotations

from typing import Final

from tests.sim.planted.plant import Edit, Plant

CARDS: Final = "services.store.cards"
SETTLE: Final = "services.store.settle"
APPLY: Final = "services.store.apply"
MEMORY: Final = "services.store.memory"
SQL: Final = "services.store.sql_tx"
RELAY: Final = "services.runtime.relay"
REJECT: Final = f"{SETTLE}:_Books._reject"

DELIVERY: Final = (
    Plant(
        "delivered-before-the-call",
        100,
        (
            Edit(
                f"{CARDS}:claim",
                "        if out.cards:\n            await tx.write(out)\n",
                "        for name, whom in owed.items():\n"
                "            for each in whom:\n"
                "                out.marks.append(MemberMark(name, each.group_openid, 1, False))\n"
                "        if out.cards:\n            await tx.write(out)\n",
            ),
        ),
    ),
    Plant(
        "shown-after-an-unknown-outcome",
        100,
        (
            Edit(
                f"{SETTLE}:_Books._doubt",
                "    card.suspect_at = self.now\n",
                "    card.suspect_at, card.shown = self.now, call.target_state\n",
            ),
        ),
    ),
    Plant(
        "delivered-though-calls-are-left",
        100,
        (Edit(f"{SETTLE}:_Books._confirm", "if not look.more:", "if True:"),),
    ),
    Plant(
        "everybody-owed-counts-as-told",
        100,
        (
            Edit(
                f"{SETTLE}:_Books._confirm",
                "CONFIRMED, doubtful=False) for each in call.members",
                "CONFIRMED, doubtful=False) for each, _ in look.claimed.owed",
            ),
        ),
    ),
    Plant(
        "settles-the-current-revision",
        100,
        (
            Edit(
                f"{SETTLE}:_Books._deliver",
                "revision = look.claimed.card.revision",
                "revision = card.revision",
            ),
        ),
    ),
    Plant(
        "superseded-revisions-are-not-counted",
        100,
        (Edit(f"{CARDS}:settle_revision", '        out.count("revisions.superseded", jumped - 1)\n', ""),),
    ),
    Plant(
        "the-end-is-preceded-by-a-near-that-is-over",
        100,
        (
            Edit(
                "statemachine.plan:plan",
                "    return Plan((*_member_calls(last_open, desired.owed, limits), Call(target)))",
                "    near = (Call(2),) if last_open == 1 else ()\n"
                "    return Plan((*_member_calls(last_open, desired.owed, limits), *near, Call(target)))",
            ),
        ),
    ),
    Plant(
        "the-left-out-are-not-named",
        600,
        (Edit(f"{SETTLE}:_Books._deliver", 'self._fail(card, look, "expired", look.left_out)', "pass"),),
    ),
)

FENCES: Final = (
    Plant(
        "claims-what-is-leased",
        100,
        (Edit(f"{CARDS}:waits", " or card.lease_until > now", ""),),
    ),
    Plant("claims-without-a-new-fence", 100, (Edit(f"{CARDS}:_take", "card.fence += 1", "pass"),)),
    Plant(
        "claims-without-a-lock",
        600,
        (
            Edit(
                f"{MEMORY}:MemoryTx.lock_cards",
                'elif not self._lock_free(("activity", name)):',
                "elif False:",
            ),
        ),
        engines=("dict",),
    ),
    Plant(
        "settles-without-the-fence",
        600,
        (Edit(f"{SETTLE}:_Books.decide", "held = card.fence == look.claimed.card.fence", "held = True"),),
    ),
    Plant(
        "the-lease-goes-by-the-process-clock",
        100,
        (
            Edit(
                "tests.sim.store:FrontTx.now",
                "self._commit.now = now = await self._tx.now()",
                "self._commit.now = now = self._actor.clock.wall()",
            ),
        ),
    ),
    Plant(
        "the-lease-is-shorter-than-the-call",
        100,
        (
            Edit(f"{CARDS}:CardRules.of", 'lease=settings.us("lease")', "lease=8_000_000"),
            Edit("services.dispatcher.worker:Worker._call", "now <= ends <= leased", "now <= leased"),
        ),
    ),
    Plant(
        "no-check-of-the-lease-before-the-send",
        2_000,
        (Edit("services.dispatcher.worker:Worker._call", "now <= ends <= leased", "True"),),
        profile="paused",
    ),
    Plant(
        "the-lease-counts-from-the-answer",
        2_000,
        (
            Edit(
                "services.dispatcher.dispatcher:Dispatcher._claim",
                "closings), began, group)",
                "closings), self._clock.monotonic(), group)",
            ),
        ),
        profile="paused",
    ),
)

DOUBTS: Final = (
    Plant(
        "an-unknown-outcome-is-no-doubt",
        600,
        (Edit(f"{SETTLE}:_Books._doubt", "card.suspect_at = self.now", "pass"),),
    ),
    Plant(
        "an-expired-lease-is-no-doubt",
        20_000,
        (
            Edit(
                f"{CARDS}:_lapse",
                'card.suspect_at, card.lease_until, card.lease_by = now, 0, ""',
                'card.lease_until, card.lease_by = 0, ""',
            ),
        ),
    ),
    Plant(
        "a-stale-settle-is-no-doubt",
        2_000,
        (Edit(f"{SETTLE}:_Books.decide", "if look.sent and not card.final:", "if False:"),),
    ),
    Plant(
        "a-repair-clears-a-doubt-younger-than-itself",
        2_000,
        (
            Edit(
                f"{SETTLE}:_Books._confirm",
                "if card.suspect_at == look.claimed.card.suspect_at:",
                "if True:",
            ),
        ),
        profile="repair",
    ),
    Plant(
        "any-success-clears-a-doubt",
        600,
        (
            Edit(
                f"{SETTLE}:_Books._confirm",
                "    if look.claimed.repair:\n",
                "    card.suspect_at = None\n    if look.claimed.repair:\n",
            ),
        ),
    ),
    Plant(
        "repair-without-delay",
        600,
        (Edit(f"{CARDS}:waits", "card.suspect_at + rules.repair_after", "card.suspect_at"),),
    ),
    Plant(
        "47502-on-a-doubted-card-blames-its-member",
        20_000,
        (
            Edit(
                REJECT, "look.errcode == ILLEGAL_STATE and call.target_state == TARGET_OPEN and", "False and"
            ),
        ),
    ),
)

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
                "tests.sim.actors:Core._consume",
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
                "for row in await self.tx.parked(sorted(opening)):",
                "for row in reversed(await self.tx.parked(sorted(opening))):",
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
                "services.store.timers:bury_parked",
                "    buried, out = 0, Writes()\n",
                "    buried, out = 0, Writes()\n    age //= 2\n",
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
                "services.store.timers:fire_due",
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
            Edit("services.store.memory_reads:Reads.prune", 'and entry.outcome != "parked"', ""),
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
        20_000,
        (Edit(f"{CARDS}:redeliver", "if card.lease_until:", "if False:"),),
        profile="oncall",
    ),
    Plant(
        "redelivering-after-an-end-that-may-be-shown",
        20_000,
        (Edit(f"{CARDS}:redeliver", "if aside and card.state == ENDED and", "if False and"),),
        profile="oncall",
    ),
)

PLANTS: Final = (*DELIVERY, *FENCES, *DOUBTS, *EVENTS, *TIMERS, *RELAYS, *DISPATCH, *UPKEEP)
