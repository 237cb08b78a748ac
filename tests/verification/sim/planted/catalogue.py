"""The mistakes, by the promise that they break; here those of delivery: plans, fences, doubts, the end.

`seeds` was measured, and doubled at least.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Final

from msgspec.structs import replace

from contracts.wechat import Verdict
from services.store.rows import CONFIRMED, MemberMark
from statemachine.card import Phase, phase
from statemachine.plan import END, Call, Plan
from statemachine.states import ENDED
from tests.verification.planting.plant import Plant as Planted
from tests.verification.planting.plant import Wrap
from tests.verification.sim.planted.around import DISPATCH, EVENTS, GATES, RELAYS, TIMERS, UPKEEP
from tests.verification.sim.planted.continuing import CONTINUING
from tests.verification.sim.planted.rooms import ROOMS
from tests.verification.sim.planted.wishes import WISHES

DELIVERY: Final = "statemachine.delivery"
CLAIM: Final = f"{DELIVERY}:claim"
CONFIRM: Final = f"{DELIVERY}:_confirm"
REJECT: Final = f"{DELIVERY}:_reject"


def after(change: Any) -> Wrap:
    """The real function, then `change(what it answered, *its arguments)`; a None keeps the answer."""

    def wrap(real: Any) -> Any:
        def planted(*args: Any, **more: Any) -> Any:
            answer = real(*args, **more)
            changed = change(answer, *args, **more)
            return answer if changed is None else changed

        return planted

    return wrap


def before(change: Any) -> Wrap:
    """The real function, with the arguments that `change` makes of its own."""
    return lambda real: lambda *args, **more: real(*change(*args), **more)


def kept(*names: str) -> Wrap:
    """A function of a step: these fields of its card stay as they were."""

    def wrap(real: Any) -> Any:
        def planted(step: Any, *args: Any, **more: Any) -> Any:
            was = copy(step.card)
            answer = real(step, *args, **more)
            for name in names:
                setattr(step.card, name, getattr(was, name))
            return answer

        return planted

    return wrap


def kept_by_step(*names: str) -> Wrap:
    """A function of a card that answers a step: these fields stay as they were."""

    def change(step: Any, card: Any, *_: Any, **__: Any) -> None:
        for name in names:
            setattr(step.card, name, getattr(card, name))

    return after(change)


def _told_before_the_call(_: Any, out: Any, step: Any, *__: Any) -> None:
    if step.claimed is not None:
        name = step.card.activity_id
        out.marks.extend(MemberMark(name, each.group_openid, CONFIRMED, False) for each in step.claimed.owed)


def _shown(_: Any, step: Any, result: Any, *__: Any) -> None:
    step.card.shown = result.claimed.call.target_state


def _nothing_left(step: Any, result: Any, *rest: Any) -> tuple[Any, ...]:
    return step, replace(result, claimed=replace(result.claimed, more=False)), *rest


def _everybody(_: Any, step: Any, result: Any, *__: Any) -> None:
    step.confirmed = tuple(each.group_openid for each in result.claimed.owed)


def _current_revision(step: Any, revision: int, *rest: Any) -> tuple[Any, ...]:
    return step, max(revision, step.card.revision), *rest


def _not_counted(_: Any, step: Any, *__: Any) -> None:
    step.counters.pop("revisions.superseded", None)


def _near_first(plan: Any, desired: Any, delivered: Any, *_: Any) -> Any:
    if desired.state == ENDED and delivered.shown == 1 and plan.calls == (Call(END),):
        return Plan((Call(2), Call(END)), plan.left_out)
    return None


def _end_not_called(desired: Any, delivered: Any, limits: Any) -> tuple[Any, ...]:
    if desired.state == ENDED and desired.owed:
        delivered = replace(delivered, may_show=min(delivered.may_show, 2))
    return replace(desired, hold=True), delivered, limits


def _certain(_: Any, step: Any, result: Any, *__: Any) -> None:
    step.card.may_show = result.claimed.call.target_state


def _cleared(_: Any, step: Any, *__: Any) -> None:
    step.card.doubt_at = None


def _waits_long(_: Any, card: Any, now: int, __: int, rules: Any) -> None:
    card.end_by = now + 100 * rules.end_wait


def _old_fence(step: Any, card: Any, *_: Any, **__: Any) -> None:
    if step.claimed is not None:
        step.card.fence = card.fence
        step.claimed = replace(step.claimed, card=replace(step.claimed.card, fence=card.fence))


def _any_fence(card: Any, result: Any, *rest: Any) -> tuple[Any, ...]:
    if card.lease_until:
        claimed = result.claimed
        result = replace(result, claimed=replace(claimed, card=replace(claimed.card, fence=card.fence)))
    return card, result, *rest


def _no_lease(card: Any, *rest: Any) -> tuple[Any, ...]:
    return replace(card, lease_until=0, lease_by=""), *rest


def _at_once(_: Any, card: Any, *__: Any) -> Any:
    return max(card.retry_at, card.doubt_at) if phase(card) is Phase.uncertain else None


def _other_code(step: Any, result: Any, *rest: Any) -> tuple[Any, ...]:
    return step, replace(result, errcode=40097), *rest


def _two_are_one(real: Any) -> Any:
    def planted(step: Any, result: Any, now: int, rules: Any) -> Any:
        members = result.claimed.call.members
        if len(members) != 2:
            return real(step, result, now, rules)
        step.skipped = members
        step.fail("rejected", result.claimed.card.revision, result, members)
        step.card.retry_at, step.card.list_limit = now, 0
        return None

    return planted


def _not_named(real: Any) -> Any:
    def planted(step: Any, verdict: str, *args: Any, **more: Any) -> Any:
        return None if verdict == "ended" else real(step, verdict, *args, **more)

    return planted


def _same_revision(step: Any, *_: Any) -> None:
    if step is not None:
        step.card.revision -= 1
        step.counters.pop("revisions.raised", None)


PLANS: Final = (
    Planted(
        "delivered-before-the-call", 100, {"services.transactions.steps:follow": after(_told_before_the_call)}
    ),
    Planted("shown-after-an-unknown-outcome", 200, {f"{DELIVERY}:_doubt": after(_shown)}),
    Planted("delivered-though-calls-are-left", 100, {CONFIRM: before(_nothing_left)}),
    Planted("everybody-owed-counts-as-told", 200, {CONFIRM: after(_everybody)}),
    Planted("settles-the-current-revision", 100, {f"{DELIVERY}:_deliver": before(_current_revision)}),
    Planted(
        "superseded-revisions-are-not-counted", 100, {"statemachine.step:Step.settle": after(_not_counted)}
    ),
    Planted("the-end-is-preceded-by-a-near", 200, {"statemachine.plan:plan": after(_near_first)}),
    Planted("members-follow-the-end", 2_000, {"statemachine.plan:plan": before(_end_not_called)}),
    Planted("the-left-out-are-not-named", 2_000, {"statemachine.step:Step.fail": _not_named}),
    Planted(
        "the-end-waits-no-longer-for-idle-time",
        2_000,
        {
            f"{DELIVERY}:_put_off_end": lambda real: (
                lambda card, *rest: None if card.end_by is not None else real(card, *rest)
            )
        },
    ),
    Planted("the-end-waits-into-its-own-time", 2_000, {f"{DELIVERY}:_put_off_end": after(_waits_long)}),
    Planted("two-rejected-are-skipped-together", 200, {REJECT: _two_are_one}, profile="lists"),
    Planted(
        "three-strangers-kill-a-card-that-was-delivered-to",
        4_000,
        {f"{DELIVERY}:_longest_list": before(lambda card, rules: (replace(card, succeeded=False), rules))},
        profile="lists",
    ),
    Planted("47502-to-a-call-that-lowers-blames-its-member", 20_000, {REJECT: before(_other_code)}),
    Planted(
        "redelivering-raises-no-revision", 2_000, {f"{DELIVERY}:redeliver": after(_same_revision)}, "oncall"
    ),
)

FENCES: Final = (
    Planted(
        "claims-what-is-leased",
        400,
        {
            CLAIM: before(_no_lease),
            "statemachine.card:attempt_at": before(_no_lease),
            "tests.verification.dict_store.store:MemoryTx._due": lambda _: (
                lambda _self, row, appid, now: (
                    row.card.appid == appid
                    and row.attempt_at is not None
                    and row.attempt_at <= now < row.activity.expires_at
                )
            ),
        },
        engines=("dict",),
    ),
    Planted("claims-without-a-new-fence", 100, {CLAIM: after(_old_fence)}),
    Planted(
        "claims-without-a-lock",
        1_000,
        {
            "tests.verification.dict_store.store:MemoryTx._free_rows": lambda _: (
                lambda _self, rows, limit: list(rows)[:limit]
            )
        },
        engines=("dict",),
    ),
    Planted("settles-without-the-fence", 2_000, {f"{DELIVERY}:settle": before(_any_fence)}),
    Planted("a-lapse-keeps-the-fence", 400, {f"{DELIVERY}:_lapse": kept_by_step("fence")}),
    Planted("may-show-is-not-written-with-the-claim", 400, {CLAIM: kept_by_step("may_show")}),
)

DOUBTS: Final = (
    Planted("an-unknown-outcome-is-no-doubt", 400, {f"{DELIVERY}:_doubt": kept("doubt_at")}),
    Planted("a-lapsed-lease-is-no-doubt", 20_000, {f"{DELIVERY}:_lapse": kept_by_step("doubt_at")}),
    Planted(
        "a-late-settle-is-no-doubt", 2_000, {f"{DELIVERY}:doubt_late": kept_by_step("doubt_at", "may_show")}
    ),
    Planted("any-success-clears-a-doubt", 400, {CONFIRM: after(_cleared)}),
    Planted("an-uncertain-confirmation-is-certain", 400, {CONFIRM: after(_certain)}),
    Planted("a-repair-without-delay", 400, {"statemachine.card:attempt_at": after(_at_once)}),
    Planted(
        "an-unknown-outcome-is-a-success",
        200,
        {
            f"{DELIVERY}:settle": before(
                lambda card, result, *rest: (
                    card,
                    replace(result, verdict=Verdict.ok) if result.verdict is Verdict.unknown else result,
                    *rest,
                )
            )
        },
    ),
)

PLANTS: Final = (
    *PLANS,
    *FENCES,
    *DOUBTS,
    *GATES,
    *EVENTS,
    *TIMERS,
    *RELAYS,
    *DISPATCH,
    *ROOMS,
    *WISHES,
    *CONTINUING,
    *UPKEEP,
)
