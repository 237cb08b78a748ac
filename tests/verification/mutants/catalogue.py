"""The mistakes that other tools than the simulation must see: formats, verdicts, the machines' rules, SQL
and its isolation, the client, the relay, Kafka. Each names the tests that should see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from contracts.times import EARLIEST, LATEST
from contracts.wechat import VERDICTS, Verdict
from statemachine import activity
from statemachine.card import Phase, phase
from statemachine.gate import DAY
from statemachine.model import APPLIED
from statemachine.plan import Plan
from tests.verification.planting.plant import Plant
from tests.verification.sim.planted.around import deletes_first
from tests.verification.sim.planted.catalogue import DELIVERY, after, before, kept_by_step

CONTRACTS: Final = "tests/contracts"
MACHINES: Final = "tests/statemachine"
STORE: Final = "tests/store tests/transactions --ignore tests/transactions/test_interleaving.py"
INTERLEAVER: Final = "tests/transactions/test_interleaving.py"
DISPATCHER: Final = "tests/dispatcher"
WECHAT: Final = "tests/wechat"
LIFECYCLE: Final = "tests/lifecycle"
INGEST: Final = "tests/lifecycle/test_ingest.py"
RELAY: Final = "tests/runtime/test_relay.py -k lease_that_ran_out"
BUS: Final = "tests/kafka"
ACTIVITY: Final = "statemachine.activity"
ANSWER: Final = "contracts.wechat:verdict_of_answer"
STATEMENTS: Final = "services.store.statements:TRANSACTION"
ROOMS: Final = "services.store.sql_rooms:ROOMS"


@dataclass(frozen=True)
class Mutant(Plant):
    """`tool`: pytest's arguments for what should find it."""

    tool: str = ""


def mutant(name: str, tool: str, wraps: dict[str, Any]) -> Mutant:
    """One mistake."""
    return Mutant(name, 0, wraps, tool=tool)


def _answered(status: int | None, verdict: Verdict) -> Any:
    def wrap(real: Any) -> Any:
        return lambda http_status, errcode: verdict if http_status == status else real(http_status, errcode)

    return wrap


def _no_content_type(headers: Any) -> Any:
    binary = any(name == "ce_specversion" for name, _ in headers)
    return ([header for header in headers if not binary or header[0].startswith("ce_")],)


def _no_batch(mode: str, *_: Any) -> str | None:
    return mode.replace("batch", "structured") if mode.startswith("batch") else None


def _of_this_century(us: int, *_: Any) -> None:
    if not EARLIEST <= us <= LATEST:
        raise ValueError("not within the years")


def _members_last(plan: Any, *_: Any) -> Any:
    return Plan(plan.calls[::-1], plan.left_out)


def _one_more(desired: Any, delivered: Any, limits: Any) -> tuple[Any, ...]:
    return desired, delivered, replace(limits, members_per_call=limits.members_per_call + 1)


def _last_confirmed(desired: Any, delivered: Any, limits: Any) -> tuple[Any, ...]:
    return desired, replace(delivered, may_show=delivered.shown), limits


def _raised_by_late(real: Any) -> Any:
    def planted(aggregate: Any, *args: Any) -> Any:
        outcome = real(aggregate, *args)
        aggregate.activity.revision += outcome.kind == "late"
        return outcome

    return planted


def _the_end_is_over(real: Any) -> Any:
    def planted(aggregate: Any, event: Any, data: Any, time: int, now: int) -> Any:
        ended_at = aggregate.activity.ended_at
        if ended_at is not None:
            aggregate.activity.ended_at = ended_at - 1
        try:
            return real(aggregate, event, data, time, now)
        finally:
            aggregate.activity.ended_at = ended_at

    return planted


def _any_reschedule(real: Any) -> Any:
    def planted(aggregate: Any, *args: Any) -> Any:
        aggregate.activity.rescheduled_at = None
        return real(aggregate, *args)

    return planted


def _event_first(real: Any) -> Any:
    def planted(aggregate: Any, event: Any, now: int, rules: Any) -> Any:
        if not aggregate.activity.state:
            return real(aggregate, event, now, rules)
        outcome = activity._apply(aggregate, event, now, rules)
        activity.fire_due(aggregate, now, rules)
        return [(event, outcome)]

    return planted


def _early_ones_come_to_nothing(real: Any) -> Any:
    def planted(aggregate: Any, event: Any, *args: Any) -> Any:
        early, aggregate.early = aggregate.early, []
        return real(aggregate, event, *args) + [(each, APPLIED) for each in early]

    return planted


def _tomorrow(real: Any) -> Any:
    def planted(aggregate: Any, event: Any, data: Any, _time: int, now: int) -> Any:
        return real(aggregate, event, data, event.time, now)

    return planted


def _greenwich(real: Any) -> Any:
    def planted(verdict: Any, now: int, *args: Any) -> int:
        if verdict is Verdict.daily_limit:
            return (now // DAY + 1) * DAY - now
        wait: int = real(verdict, now, *args)
        return wait

    return planted


def _throttled(at: Any, card: Any, _: Any) -> Any:
    return max(at, card.throttled_until) if card.ending and phase(card) is Phase.due else None


def _retry(change: Any) -> Any:
    """`_back_off`, whose longest wait is changed."""
    return before(lambda card, result, now, rules: (card, result, now, change(rules)))


def _outlives(real: Any) -> Any:
    def planted(card: Any, *args: Any) -> None:
        life, card.expires_at = card.expires_at, 1 << 61
        real(card, *args)
        card.expires_at = life

    return planted


def _anybodys(real: Any) -> Any:
    async def planted(self: Any, appid: str, value: str, errcode: int | None = None) -> Any:
        self._tokens.pop(appid, None)
        return await real(self, appid, value, errcode)

    return planted


def _its_own(real: Any) -> Any:
    async def planted(self: Any, appid: str) -> Any:
        kept = self._tokens.get(appid)
        if kept is not None and self._clock.monotonic() < kept.until:
            return kept
        return await self._fetch(appid)

    return planted


def _known(real: Any) -> Any:
    async def planted(*args: Any, **more: Any) -> Any:
        got = await real(*args, **more)
        return replace(got, unsent=True) if got.status == 0 else got

    return planted


def _not_sent(real: Any) -> Any:
    def planted(self: Any, why: str) -> Any:
        self._under_way = False
        return real(self, why)

    return planted


async def _nothing(*_: Any, **__: Any) -> None:
    return None


def _without(*words: str) -> Any:
    def wrap(text: str) -> str:
        for each in words:
            text = text.replace(each, "")
        return text

    return wrap


MUTANTS: Final = (
    mutant(
        "a-5xx-with-an-errcode-is-believed",
        CONTRACTS,
        {ANSWER: lambda real: lambda status, errcode: real(200 if status >= 500 else status, errcode)},
    ),
    mutant("429-is-unknown", CONTRACTS, {ANSWER: _answered(429, Verdict.unknown)}),
    mutant(
        "a-redirect-is-read",
        CONTRACTS,
        {ANSWER: lambda real: lambda status, errcode: real(400 if 300 <= status < 400 else status, errcode)},
    ),
    mutant(
        "a-success-with-any-status",
        CONTRACTS,
        {ANSWER: lambda real: lambda status, errcode: real(200 if errcode == 0 else status, errcode)},
    ),
    mutant(
        "a-wrong-secret-is-taken-for-an-old-token",
        f"{CONTRACTS} {WECHAT}",
        {
            "contracts.wechat:verdict_of_token": lambda _: (
                lambda code: VERDICTS.get(code, Verdict.unknown_code)
            )
        },
    ),
    mutant(
        "an-unknown-code-is-a-rejection",
        CONTRACTS,
        {"contracts.wechat:verdict_of": lambda _: lambda code: VERDICTS.get(code, Verdict.rejected)},
    ),
    mutant(
        "ce-headers-beat-the-content-type", CONTRACTS, {"contracts.decode:_mode": before(_no_content_type)}
    ),
    mutant("batches-are-read", CONTRACTS, {"contracts.decode:_mode": after(_no_batch)}),
    mutant("a-year-by-utc", CONTRACTS, {"contracts.times:parse_rfc3339": after(_of_this_century)}),
    mutant(
        "unknown-fields-go-unsaid",
        f"{CONTRACTS} {MACHINES}",
        {"contracts.reading:fields_ignored": after(lambda *_: ())},
    ),
    mutant("members-travel-after-the-end", MACHINES, {"statemachine.plan:plan": after(_members_last)}),
    mutant("one-member-too-many-in-a-call", MACHINES, {"statemachine.plan:plan": before(_one_more)}),
    mutant(
        "members-before-the-end-forget-what-may-be-shown",
        MACHINES,
        {"statemachine.plan:plan": before(_last_confirmed)},
    ),
    mutant("a-late-member-raises-the-revision", MACHINES, {f"{ACTIVITY}:_complete": _raised_by_late}),
    mutant("a-completion-at-the-very-end-is-refused", MACHINES, {f"{ACTIVITY}:_complete": _the_end_is_over}),
    mutant("an-older-reschedule-counts", MACHINES, {f"{ACTIVITY}:_reschedule": _any_reschedule}),
    mutant("what-is-due-fires-after-the-event", MACHINES, {f"{ACTIVITY}:handle": _event_first}),
    mutant(
        "early-events-are-forgotten-at-opening", MACHINES, {f"{ACTIVITY}:_open": _early_ones_come_to_nothing}
    ),
    mutant("a-time-in-the-future-is-believed", MACHINES, {f"{ACTIVITY}:_complete": _tomorrow}),
    mutant(
        "the-end-obeys-the-throttle",
        f"{MACHINES} {DISPATCHER}",
        {"statemachine.card:attempt_at": after(_throttled)},
    ),
    mutant(
        "backoff-without-a-cap",
        MACHINES,
        {f"{DELIVERY}:_back_off": _retry(lambda rules: replace(rules, backoff_cap=1 << 60))},
    ),
    mutant("backoff-outlives-the-id", MACHINES, {f"{DELIVERY}:_back_off": _outlives}),
    mutant("a-lapse-keeps-the-fence", MACHINES, {f"{DELIVERY}:_lapse": kept_by_step("fence")}),
    mutant(
        "the-end-waits-for-ever",
        MACHINES,
        {f"{DELIVERY}:_put_off_end": lambda _: lambda card, *rest: setattr(card, "end_by", 1 << 61)},
    ),
    mutant("the-day-ends-in-greenwich", MACHINES, {"statemachine.gate:first_wait": _greenwich}),
    mutant(
        "a-later-closing-shortens-an-earlier",
        f"{MACHINES} {STORE}",
        {
            "statemachine.gate:answered": lambda real: (
                lambda gate, passage, *args, **more: real(
                    gate, replace(passage, generation=gate.generation), *args, **more
                )
            )
        },
    ),
    mutant(
        "a-dead-id-ends-nothing",
        f"{STORE} {DISPATCHER}",
        {f"{ACTIVITY}:end_expired": lambda _: lambda *_args: False},
    ),
    mutant(
        "openings-go-together-whatever-waits-for-them",
        f"{STORE} {LIFECYCLE}",
        {"services.store.rows:ParkedCount.exceeds": lambda _: lambda *_args: False},
    ),
    mutant(
        "claims-take-what-others-have-locked",
        INTERLEAVER,
        {
            "services.store.dialect:Dialect.statement": lambda real: (
                lambda self, name, source: real(
                    self, name, source.replace("FOR UPDATE SKIP LOCKED", "") if name == "claim" else source
                )
            )
        },
    ),
    mutant(
        "an-event-does-not-lock-its-activity", INTERLEAVER, {f"{STATEMENTS}[lock]": _without("{for update}")}
    ),
    mutant(
        "due-timers-are-not-locked",
        INTERLEAVER,
        {"services.store.statements:POSTGRES[lock_due]": _without("{skip locked}")},
    ),
    mutant(
        "a-settle-does-not-lock-its-card",
        INTERLEAVER,
        {f"{STATEMENTS}[lock_cards]": _without("{for update}")},
    ),
    mutant(
        "an-event-does-not-lock-the-binding-of-whom-it-names",
        "tests/transactions/test_bind_races.py tests/store/test_rooms.py",
        {f"{ROOMS}[lock_bindings]": _without("{for update}")},
    ),
    mutant(
        "what-was-parked-in-time-is-buried",
        STORE,
        {f"{STATEMENTS}[waiting]": _without("AND parked_at <= :before")},
    ),
    mutant(
        "every-token-is-dropped-on-a-token-error",
        WECHAT,
        {"services.wechat.tokens:TokenKeeper.renew": _anybodys},
    ),
    mutant(
        "each-waiter-fetches-a-token-of-its-own", WECHAT, {"services.wechat.tokens:TokenKeeper.get": _its_own}
    ),
    mutant(
        "an-unknown-outcome-is-tried-on-the-next-host",
        "tests/wechat/test_hosts.py",
        {"services.wechat.transport:AiohttpTransport.exchange": _known},
    ),
    mutant(
        "a-timeout-under-way-was-not-sent", WECHAT, {"services.wechat.client:_Sending.cut_short": _not_sent}
    ),
    mutant(
        "success-of-an-old-call-widens-a-gate",
        DISPATCHER,
        {
            "services.dispatcher.limiter:Limiter.succeeded": lambda real: (
                lambda self, permit: real(
                    self, replace(permit, generation=self._app(permit.appid).generation)
                )
            )
        },
    ),
    mutant(
        "dead-letters-are-not-waited-for",
        INGEST,
        {"services.lifecycle.ingest:Ingest._bury": lambda _: _nothing},
    ),
    mutant(
        "the-relay-deletes-before-it-publishes", RELAY, {"services.runtime.relay:Relay.round": deletes_first}
    ),
    mutant(
        "the-relay-publishes-past-its-lease",
        RELAY,
        {"services.runtime.relay:Relay._holds": lambda _: lambda _self: True},
    ),
    mutant(
        "a-producer-forgets-what-is-under-way",
        BUS,
        {"services.kafka.producer:Publisher._settle": lambda _: _nothing},
    ),
    mutant(
        "header-names-must-be-utf-8",
        LIFECYCLE,
        {"services.kafka.patches.header_names:install": lambda _: lambda: None},
    ),
)
