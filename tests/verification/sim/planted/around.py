"""Mistakes of gates, of the events' way in, the timers, the relay, the dispatcher and the upkeep."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from contracts.wechat import Verdict
from services.transactions.apply import _Batch
from statemachine.gate import UNKNOWN_APP, opened
from tests.verification.planting.plant import Plant, Wrap

DICT: Final = "tests.verification.dict_store.store:MemoryTx"
SQL: Final = "services.store.sql_tx:SqlTx"
GATE: Final = "statemachine.gate"
RELAY: Final = "services.runtime.relay"
EARLY: Final = 2_000_000
"""µs."""


def _later(change: Any) -> Wrap:
    """A coroutine function whose answer is changed."""

    def wrap(real: Any) -> Any:
        async def planted(*args: Any, **more: Any) -> Any:
            return change(await real(*args, **more))

        return planted

    return wrap


def _through_closed_gates(real: Any) -> Any:
    async def planted(self: Any, *args: Any) -> Any:
        gates = self._tables.gates
        self._tables.gates = {appid: opened(gate) for appid, gate in gates.items()}
        try:
            return await real(self, *args)
        finally:
            self._tables.gates = gates

    return planted


def _old_answers_count(real: Any) -> Any:
    def planted(gate: Any, passage: Any, *args: Any, **more: Any) -> Any:
        return real(gate, replace(passage, generation=gate.generation), *args, **more)

    return planted


def _probe_not_given_back(real: Any) -> Any:
    def planted(gate: Any, passage: Any, verdict: Any, *args: Any, **more: Any) -> Any:
        if verdict in (None, Verdict.address, Verdict.no_token):
            return gate
        return real(gate, passage, verdict, *args, **more)

    return planted


GATES: Final = (
    Plant("a-closed-gate-is-ignored", 200, {f"{DICT}.claim_due": _through_closed_gates}, engines=("dict",)),
    Plant("answers-from-before-a-closing-count", 2_000, {f"{GATE}:answered": _old_answers_count}),
    Plant("every-process-probes", 2_000, {f"{GATE}:wants_probe": lambda _: lambda *_args: False}),
    Plant("a-probe-is-not-given-back", 4_000, {f"{GATE}:answered": _probe_not_given_back}),
    Plant(
        "a-gate-stays-closed-though-the-file-names-the-app",
        200,
        {
            "services.dispatcher.gatekeeper:Gatekeeper._open": lambda real: (
                lambda self, appids, reason: real(self, [] if reason == UNKNOWN_APP else appids, reason)
            )
        },
        profile="apps",
    ),
)


def _in_two_transactions(_: Any) -> Any:
    async def planted(store: Any, arrivals: Any, rules: Any) -> Any:
        async with store.transaction() as tx:
            batch = _Batch(tx, arrivals, rules)
            await batch.read()
        async with store.transaction() as tx:
            batch.tx = tx
            await tx.lock(sorted(batch.aggregates))
            batch.fold()
            await tx.write(batch.writes())
        return batch.applied

    return planted


def _counts_again(real: Any) -> Any:
    def planted(self: Any, key: Any, *args: Any) -> None:
        real(self, key, *args)
        self.status[key] = "new"

    return planted


def _forgets_the_early(real: Any) -> Any:
    def planted(aggregate: Any, *args: Any) -> Any:
        aggregate.early = []
        return real(aggregate, *args)

    return planted


def _not_published(real: Any) -> Any:
    def planted(aggregate: Any, *args: Any) -> Any:
        answer = real(aggregate, *args)
        aggregate.published.pop()
        return answer

    return planted


_BACKWARDS: Final = _later(lambda rows: list(reversed(rows)))
_NO_SECOND_LIFE: Final = _later(lambda found: ["repeat" if each == "dead" else each for each in found])

EVENTS: Final = (
    Plant("a-refusal-is-not-published", 100, {"statemachine.activity:refuse_event": _not_published}),
    Plant(
        "the-inbox-in-a-transaction-of-its-own",
        1_000,
        {"services.transactions.apply:apply": _in_two_transactions},
    ),
    Plant(
        "a-repeat-in-the-same-batch-counts",
        2_000,
        {"services.transactions.apply:_Batch._handle": _counts_again},
    ),
    Plant(
        "parked-events-are-dropped-at-the-opening",
        100,
        {"statemachine.activity:_open": _forgets_the_early},
    ),
    Plant(
        "parked-events-are-applied-out-of-order",
        1_000,
        {f"{DICT}.parked": _BACKWARDS, f"{SQL}.parked": _BACKWARDS},
    ),
    Plant(
        "a-dead-letter-taken-back-is-a-repeat",
        400,
        {f"{DICT}.admit": _NO_SECOND_LIFE, f"{SQL}.admit": _NO_SECOND_LIFE},
    ),
    Plant(
        "parked-events-are-buried-too-young",
        1_000,
        {
            "services.transactions.bury_parked:bury_parked": lambda real: (
                lambda store, age, limit: real(store, age // 2, limit)
            )
        },
    ),
)

TIMERS: Final = (
    Plant(
        "a-timer-fires-two-seconds-early",
        2_000,
        {
            "statemachine.activity:fire_due": lambda real: (
                lambda aggregate, now, rules: real(aggregate, now + EARLY, rules)
            )
        },
    ),
)


def deletes_first(real: Any) -> Any:
    async def planted(self: Any) -> Any:
        rows = await self._store.outbox(self._shards, self._page) if self._shards else []
        await self._store.delete_outbox([row.seq for row in rows])
        return await real(self)

    return planted


RELAYS: Final = (
    Plant("the-relay-deletes-before-it-publishes", 400, {f"{RELAY}:Relay.round": deletes_first}),
    Plant(
        "the-relay-knows-no-order",
        200,
        {f"{RELAY}:_by_role": lambda real: lambda rows: real(sorted(rows, key=lambda row: row.id))},
    ),
)


def _takes_its_time(real: Any) -> Any:
    def planted(self: Any, claimed: Any, permit: Any, _began: float) -> Any:
        return real(self, claimed, permit, self._clock.monotonic())

    return planted


def _never_looks(real: Any) -> Any:
    def planted(self: Any, *args: Any, **more: Any) -> None:
        real(self, *args, **more)
        self._lease = 1e9

    return planted


async def _kept(self: Any, appid: str, value: str, errcode: int | None = None) -> Any:
    return self._tokens.get(appid) or await self.get(appid)


DISPATCH: Final = (
    Plant(
        "nobody-polls",
        1_000,
        {
            "services.dispatcher.dispatcher:Dispatcher._next": lambda _: (
                lambda self, _next_in: self._clock.monotonic() + 1e6
            )
        },
    ),
    Plant(
        "no-check-of-the-lease-before-the-send",
        4_000,
        {"services.dispatcher.caller:Caller.__init__": _never_looks},
        profile="paused",
    ),
    Plant(
        "the-lease-counts-from-the-answer",
        4_000,
        {"services.dispatcher.dispatcher:Dispatcher._work": _takes_its_time},
        profile="paused",
    ),
    Plant(
        "the-lease-is-shorter-than-the-call",
        400,
        {
            "services.runtime.process:delivery_rules": lambda real: (
                lambda settings: replace(real(settings), lease=8_000_000)
            ),
            "services.dispatcher.caller:Caller.__init__": _never_looks,
        },
    ),
    Plant("a-refused-token-is-kept", 2_000, {"services.wechat.tokens:TokenKeeper.renew": lambda _: _kept}),
)

UPKEEP: Final = (
    Plant(
        "the-inbox-is-pruned-too-young",
        400,
        {
            f"{where}.prune": lambda real: lambda self, **ages: real(self, **{**ages, "inbox": 7_000_000})
            for where in ("tests.verification.dict_store.reads:Reads", "services.store.sql:SqlStore")
        },
    ),
)
