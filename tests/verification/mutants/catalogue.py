"""The bugs, by the room they would be written in. Those that only a schedule shows are the simulation's own
(`tests.verification.sim`); here are the ones that other tools must see: SQL, isolation, wire formats,
verdicts, processes.
"""

from __future__ import annotations

from typing import Final

from tests.verification.mutants.mutant import Mutant

CONTRACTS: Final = "tests/contracts"
MACHINES: Final = "tests/statemachine"
STORE: Final = "tests/store --ignore tests/store/test_interleaving.py"
INTERLEAVER: Final = "tests/store/test_interleaving.py"
DISPATCHER: Final = "tests/dispatcher"
WECHAT: Final = "tests/wechat"
LIFECYCLE: Final = "tests/lifecycle"
RELAY: Final = "tests/runtime"
BUS: Final = "tests/kafka"

MUTANTS: Final = (
    Mutant(
        "a-5xx-with-an-errcode-is-believed",
        "contracts/wechat.py",
        "    if http_status >= 500 or http_status < 200 or",
        "    if http_status < 200 or",
        CONTRACTS,
    ),
    Mutant(
        "429-is-unknown",
        "contracts/wechat.py",
        "    if http_status == 429:\n        return Verdict.busy\n",
        "",
        CONTRACTS,
    ),
    Mutant(
        "a-wrong-secret-is-taken-for-an-old-token",
        "contracts/wechat.py",
        "    return Verdict.misconfigured if errcode == INVALID_CREDENTIAL else verdict_of(errcode)",
        "    return verdict_of(errcode)",
        f"{CONTRACTS} {WECHAT}",
    ),
    Mutant(
        "an-unknown-code-is-a-rejection",
        "contracts/wechat.py",
        "    return VERDICTS.get(errcode, Verdict.unknown_code)",
        "    return VERDICTS.get(errcode, Verdict.rejected)",
        CONTRACTS,
    ),
    Mutant(
        "members-travel-after-the-end",
        "statemachine/plan.py",
        "    return Plan((*_member_calls(last_open, desired.owed, limits), Call(target)))",
        "    return Plan((Call(target), *_member_calls(last_open, desired.owed, limits)))",
        MACHINES,
    ),
    Mutant(
        "members-before-the-end-forget-what-was-reached",
        "statemachine/plan.py",
        "    last_open = max(delivered.target_state, delivered.reached)",
        "    last_open = delivered.target_state",
        MACHINES,
    ),
    Mutant(
        "the-end-waits-for-ever",
        "statemachine/plan.py",
        "        until = min(until, failing_since + wait)\n",
        "",
        MACHINES,
    ),
    Mutant(
        "members-may-take-the-end-s-own-time",
        "statemachine/plan.py",
        "    until = expires_at - own\n",
        "    until = expires_at\n",
        "tests/dispatcher/test_ends.py",
    ),
    Mutant(
        "what-failed-before-the-end-counts-against-its-members",
        "statemachine/plan.py",
        "    if end_known_at is not None and since < end_known_at:\n        return None\n",
        "",
        f"{MACHINES} {DISPATCHER}",
    ),
    Mutant(
        "a-closed-gate-costs-members-their-minute",
        "statemachine/plan.py",
        "    return since + max(0, now - max(retry_at, since))",
        "    return since",
        f"{MACHINES} {DISPATCHER}",
    ),
    Mutant(
        "redelivering-after-an-end-that-may-be-shown",
        "services/transactions/claim.py",
        "        if aside and called:\n",
        "        if False and called:\n",
        STORE,
    ),
    Mutant(
        "one-accepted-among-the-rejected-starts-the-minute-anew",
        "services/transactions/settle.py",
        "        if card.list_limit and card.singles:  #",
        "        if False:  #",
        f"{STORE} {DISPATCHER}",
    ),
    Mutant(
        "a-store-that-was-away-costs-members-their-minute",
        "services/transactions/settle.py",
        "        _excuse(card, max(0, self.now - look.claimed.now - self.rules.lease))",
        "        #",
        DISPATCHER,
    ),
    Mutant(
        "the-end-waits-a-backoff-longer",
        "services/transactions/settle.py",
        "            card.retry_at = min(card.retry_at, max(until, self.now))\n",
        "            pass\n",
        DISPATCHER,
    ),
    Mutant(
        "openings-go-together-whatever-waits-for-them",
        "services/transactions/apply.py",
        "        if len(opening) > 1:\n",
        "        if False:\n",
        f"{STORE} tests/lifecycle",
    ),
    Mutant(
        "an-end-under-way-waits-for-members-again",
        "services/transactions/claim.py",
        "            card.failing_since = GONE\n",
        "            pass\n",
        f"{STORE} {DISPATCHER}",
    ),
    Mutant(
        "backoff-outlives-the-id",
        "services/transactions/settle.py",
        "self.rules.backoff << min(card.attempts - 1, 20), left)",
        "self.rules.backoff << min(card.attempts - 1, 20))",
        f"{STORE} {DISPATCHER}",
    ),
    Mutant(
        "one-member-too-many-in-a-call",
        "statemachine/plan.py",
        "    size = max(1, limits.members_per_call)",
        "    size = max(1, limits.members_per_call + 1)",
        MACHINES,
    ),
    Mutant(
        "a-late-member-raises-the-revision",
        "statemachine/activity.py",
        "        activity.revision += 0 if late else 1",
        "        activity.revision += 1",
        MACHINES,
    ),
    Mutant(
        "a-completion-at-the-very-end-is-refused",
        "statemachine/activity.py",
        "activity.ended_at is not None and time <= activity.ended_at",
        "activity.ended_at is not None and time < activity.ended_at",
        MACHINES,
    ),
    Mutant(
        "an-older-reschedule-counts",
        "statemachine/activity.py",
        "    if activity.rescheduled_at is not None and time < activity.rescheduled_at:\n"
        '        return refuse_event(aggregate, event, "superseded")\n',
        "",
        MACHINES,
    ),
    Mutant(
        "what-is-due-fires-after-the-event",
        "statemachine/activity.py",
        "    fire_due(aggregate, now, rules)\n    outcome = _apply(aggregate, event, now, rules)\n",
        "    outcome = _apply(aggregate, event, now, rules)\n    fire_due(aggregate, now, rules)\n",
        MACHINES,
    ),
    Mutant(
        "early-events-are-forgotten-at-opening",
        "statemachine/activity.py",
        "    outcomes += [(each, _apply(aggregate, each, now, rules)) for each in early]",
        "    outcomes += [(each, APPLIED) for each in early]",
        MACHINES,
    ),
    Mutant(
        "a-time-in-the-future-is-believed",
        "statemachine/activity.py",
        "        return _complete(aggregate, event, data, min(event.time, now), now)",
        "        return _complete(aggregate, event, data, event.time, now)",
        MACHINES,
    ),
    Mutant(
        "claims-wait-for-no-lock-check-then-act",
        "services/store/statements.py",
        'AND state <> \'\'\n        ORDER BY activity_id {{skip locked}}""",',
        'AND state <> \'\'\n        ORDER BY activity_id""",',
        INTERLEAVER,
    ),
    Mutant(
        "an-event-does-not-lock-its-activity",
        "services/store/statements.py",
        'FROM activities WHERE activity_id {{in ids}}\n        ORDER BY activity_id {{for update}}""",\n'
        '    "see"',
        'FROM activities WHERE activity_id {{in ids}}\n        ORDER BY activity_id""",\n    "see"',
        INTERLEAVER,
    ),
    Mutant(
        "due-timers-are-not-locked",
        "services/store/statements.py",
        '        ORDER BY due_at LIMIT :limit {{skip locked}}""",',
        '        ORDER BY due_at LIMIT :limit""",',
        INTERLEAVER,
    ),
    Mutant(
        "a-settle-does-not-lock-its-card",
        "services/store/statements.py",
        'AND state <> \'\'\n        ORDER BY activity_id {{for update}}""",',
        'AND state <> \'\'\n        ORDER BY activity_id""",',
        INTERLEAVER,
    ),
    Mutant(
        "the-lapse-of-a-lease-keeps-the-fence",
        "services/transactions/claim.py",
        '    card.suspect_at, card.lease_until, card.lease_by = now, 0, ""\n    card.fence += 1\n',
        '    card.suspect_at, card.lease_until, card.lease_by = now, 0, ""\n',
        STORE,
    ),
    Mutant(
        "a-closed-gate-is-not-asked",
        "services/transactions/claim.py",
        "    if gate is not None and gate.closed_until > now:\n        return None\n",
        "",
        f"{STORE} {DISPATCHER}",
    ),
    Mutant(
        "the-end-obeys-the-throttle",
        "services/transactions/claim.py",
        "        ready = card.retry_at if card.end_due else max(card.retry_at, card.look_at)",
        "        ready = max(card.retry_at, card.look_at)",
        STORE,
    ),
    Mutant(
        "backoff-without-a-cap",
        "services/transactions/settle.py",
        "        longest = min(self.rules.backoff_cap, self.rules.backoff",
        "        longest = min(self.rules.backoff",
        STORE,
    ),
    Mutant(
        "one-of-many-rejected-is-set-aside",
        "services/transactions/settle.py",
        "        if len(call.members) > 1:\n",
        "        if len(call.members) > 2:\n",
        f"{STORE} {DISPATCHER}",
    ),
    Mutant(
        "the-day-ends-in-greenwich",
        "services/transactions/gates.py",
        "        return ((now + SHANGHAI) // DAY + 1) * DAY - SHANGHAI",
        "        return (now // DAY + 1) * DAY",
        DISPATCHER,
    ),
    Mutant(
        "a-dead-id-ends-nothing",
        "services/transactions/settle.py",
        "        if end_expired(aggregate, self.now, Rules(self.rules.margin)):",
        "        if False:",
        DISPATCHER,
    ),
    Mutant(
        "what-was-parked-in-time-is-buried",
        "services/transactions/timers.py",
        "tx.waiting(names, now - age, limit)",
        "tx.waiting(names, limit=limit)",
        STORE,
    ),
    Mutant(
        "redeliver-counts-a-revision-twice",
        "services/transactions/claim.py",
        '            out.count(f"revisions.{card.settled_as}", -1)\n',
        "",
        STORE,
    ),
    Mutant(
        "every-token-is-dropped-on-a-token-error",
        "services/wechat/tokens.py",
        "        if kept is not None and kept.value == value:",
        "        if kept is not None:",
        WECHAT,
    ),
    Mutant(
        "each-waiter-fetches-a-token-of-its-own",
        "services/wechat/tokens.py",
        "        task = self._fetches.get(appid)\n",
        "        task = None\n",
        WECHAT,
    ),
    Mutant(
        "a-redirect-is-read",
        "contracts/wechat.py",
        " or 300 <= http_status < 400 or errcode is None",
        " or errcode is None",
        CONTRACTS,
    ),
    Mutant(
        "a-success-with-any-status",
        "contracts/wechat.py",
        "    if errcode == OK and http_status != 200:\n        return Verdict.unknown\n",
        "",
        CONTRACTS,
    ),
    Mutant(
        "a-timeout-under-way-was-not-sent",
        "services/wechat/client.py",
        "        if self._under_way:\n            return Answer(Verdict.unknown, sent=True, errmsg=why)\n",
        "",
        WECHAT,
    ),
    Mutant(
        "the-library-may-log",
        "services/wechat/transport.py",
        "        logger.setLevel(max(logger.level, logging.WARNING))",
        "        logger.setLevel(logging.DEBUG)",
        WECHAT,
    ),
    Mutant(
        "success-of-an-old-call-widens-a-gate",
        "services/dispatcher/permits.py",
        "        if app.epoch == permit.epoch:\n",
        "        if True:\n",
        DISPATCHER,
    ),
    Mutant(
        "a-key-is-handled-twice-at-once",
        "services/dispatcher/queue.py",
        "        if key in self._processing:\n            news = key not in self._dirty\n",
        "        if False:\n            news = key not in self._dirty\n",
        DISPATCHER,
    ),
    Mutant(
        "offsets-of-what-was-revoked-are-committed",
        "services/lifecycle/subscription.py",
        "        await self._finish_in_hand(self._grace)\n        self._uncommitted.clear()\n",
        "        await self._finish_in_hand(self._grace)\n",
        LIFECYCLE,
    ),
    Mutant(
        "dead-letters-are-not-waited-for",
        "services/lifecycle/ingest.py",
        '                failures += 1\n                await self._wait(failures, "broker", error)\n',
        "                return\n",
        LIFECYCLE,
    ),
    Mutant(
        "a-refused-batch-dies-whole",
        "services/lifecycle/ingest.py",
        "            if len(arrivals) == 1:\n",
        "            if arrivals:\n",
        LIFECYCLE,
    ),
    Mutant(
        "the-relay-deletes-before-it-publishes",
        "services/runtime/relay.py",
        "            self._moved = self._clock.monotonic()\n"
        "            try:\n"
        "                await self._bus.publish",
        "            await self._store.delete_outbox([row.seq for row in each])\n"
        "            try:\n"
        "                await self._bus.publish",
        "tests/runtime/test_relay.py",
    ),
    Mutant(
        "the-relay-publishes-past-its-lease",
        "services/runtime/relay.py",
        "        return self._clock.monotonic() < self._held_until",
        "        return True",
        RELAY,
    ),
    Mutant(
        "a-producer-forgets-what-is-under-way",
        "services/kafka/producer.py",
        "                await self._settle(topic)\n                partitions",
        "                partitions",
        BUS,
    ),
    Mutant(
        "header-names-must-be-utf-8",
        "services/lifecycle/subscription.py",
        "        header_names.install()\n",
        "",
        LIFECYCLE,
    ),
)
