"""The third machine: a card's delivery to WeChat (design.md §6). Pure functions of card, input and `now`.

Each takes a card as it is under its lock and answers a `Step`: the changed card, and what follows from it.
Nothing else in livecard changes a card's delivery, and each change is checked against `DELIVERY_TABLE`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Final, cast

from contracts.changes import FailedVerdict
from contracts.times import SECOND
from contracts.wechat import ILLEGAL_STATE, Verdict
from statemachine.card import (
    CLOSED,
    CONTINUED,
    EXPIRED,
    FINAL,
    GIVEN_UP,
    Card,
    DeliveryRules,
    attempt_at,
    check,
    phase,
)
from statemachine.gate import Passage
from statemachine.plan import END, HIGHEST_OPEN, Desired, Limits, plan, repair
from statemachine.states import ENDED
from statemachine.step import ALL_SKIPPED, UNGATED, Claimed, Owed, Result, Step, with_believed_waits

SINGLES: Final = 3
"""So many members rejected alone, and the request itself is tried: the state alone."""
UNKNOWN_ACTIVITY_ATTEMPTS: Final = 10
"""Answers 47501 in a row: whether a card that was not sent yet is answered so is undocumented."""


def raise_revision(card: Card, state: str, revision: int, now: int) -> Step:
    """The activity has come to this state and this later revision.

    The end, once known, begins its own run of attempts at once; other news shortens no wait.
    """
    before, step = phase(card), Step(copy(card))
    card = step.card
    ended = state == ENDED and card.state != ENDED
    card.state, card.revision = state, revision
    if before is CLOSED:
        step.settle(card.revision, "expired" if card.verdict == EXPIRED else "dead", now)
    else:
        if before is GIVEN_UP:
            _start_anew(card, now)
        if ended:
            card.attempts, card.code_attempts, card.retry_at = 0, 0, now
        if card.behind_since is None:
            card.behind_since, card.retry_at = now, max(card.retry_at, now)
    check("raise", before, phase(card))
    return step


def claim(
    card: Card,
    owed: Sequence[Owed],
    now: int,
    *,
    holder: str,
    rules: DeliveryRules,
    passage: Passage = UNGATED,
) -> Step:
    """Take a card that is due, with a lease and a new fence, and plan its call.

    A lease that ran out, or lies further ahead than any, is a lapse first. Where nothing differs the revision
    is delivered without a call. `Step.claimed` is None then, and when a lapse left nothing but a doubt.
    """
    card = with_believed_waits(card, now, rules)
    was_due = attempt_at(card, rules)
    lapsed = 0 < card.lease_until <= now
    step = _lapse(card, now) if lapsed else Step(card)
    card = step.card
    before = phase(card)
    due = attempt_at(card, rules)
    if due is None or due > now or card.expires_at <= now:
        return step
    if card.verdict:  # a later revision, raised by the release before
        _start_anew(card, now)
    if card.ending:
        _put_off_end(card, now, now if was_due is None else was_due, rules)
    names = tuple(each.group_openid for each in owed)
    desired = Desired(card.state, names, hold=card.end_by is None or now < card.end_by)
    longest = _longest_list(card, rules)
    planned = (
        plan(desired, card.delivered, Limits(longest)) if card.behind else repair(desired, card.delivered)
    )
    card.fence += 1
    if planned.left_out:
        step.skipped = planned.left_out
        step.fail("ended", card.revision, members=planned.left_out)
    if not planned.calls:
        _deliver(step, card.revision, now, rules, at=now)
        check("claim", before, phase(card))
        return step
    call = planned.calls[0]
    card.lease_until, card.lease_by = now + rules.lease, holder
    card.may_show = max(card.may_show, call.target_state)
    check("claim", before, phase(card))
    more = len(planned.calls) > 1 or (card.behind and not longest and not planned.left_out and bool(names))
    step.claimed = Claimed(copy(card), call, tuple(owed), now, more, repair=not card.behind, passage=passage)
    return step


def postpone(card: Card, now: int, rules: DeliveryRules) -> Step:
    """A card of which the table knows no claim, by a bug or by a hand in the database: nobody has it, and it
    waits for the longest backoff, so that the others go on."""
    step = Step(with_believed_waits(card, now, rules))
    if step.card.lease_until:  # it lapsed: whoever had it may have called
        step.card.doubt_at = now
    step.card.fence += 1
    step.card.lease_until, step.card.lease_by = 0, ""
    step.card.retry_at = now + rules.backoff_cap
    return step


def settle(
    card: Card, result: Result, now: int, rules: DeliveryRules, unconfirmed: Collection[str] = ()
) -> Step | None:
    """What a call came to becomes what the card knows. None: this very result was settled before.

    Without the fence it was claimed with nothing is written but a doubt, and which members WeChat confirmed;
    `unconfirmed`: members that nothing was confirmed of yet, asked only then.
    """
    claimed = result.claimed
    if card.fence != claimed.card.fence:
        return doubt_late(card, result, now, unconfirmed)
    if not card.lease_until:
        return None
    trigger, follow = _BY_VERDICT[result.verdict]
    before, step = phase(card), Step(with_believed_waits(card, now, rules))
    if card.ending and card.end_by is not None:  # since its lease ran out it was due, and nobody took it
        _put_off_end(step.card, now, card.lease_until, rules)
    step.card.lease_until, step.card.lease_by = 0, ""
    trigger = follow(step, result, now, rules) or trigger
    if now >= step.card.expires_at and phase(step.card) is not CLOSED:  # it died while WeChat was called
        settled = {*step.confirmed, *step.skipped}
        _close(step, [each.group_openid for each in claimed.owed if each.group_openid not in settled], now)
        trigger = "close"
    check(trigger, before, phase(step.card))
    return step


def doubt_late(card: Card, result: Result, now: int, unconfirmed: Collection[str]) -> Step:
    """A call is settled by whoever has lost its fence: if it was sent, WeChat may apply it any time.

    Members that it confirmed, and no call before, are told with the revision that is owed, or at once.
    """
    before, step = phase(card), Step(copy(card))
    step.count("settles.stale")
    if result.verdict is Verdict.ok:
        step.confirmed = result.claimed.call.members
        news = tuple(each for each in step.confirmed if each in unconfirmed)
        if news:
            step.progress(news)
            if not step.card.behind:
                step.tell_progress(step.card.settled, result.claimed.card.fence)
    if result.sent and step.card.verdict not in FINAL and now < step.card.expires_at:
        step.card.doubt_at = now
        step.card.may_show = max(step.card.may_show, result.claimed.call.target_state)
        check("doubt_late", before, phase(step.card))
    return step


def redeliver(card: Card, skipped: Sequence[str], now: int) -> Step | None:
    """Skipped members are owed again, or a card that is given up is tried again: a new revision. None: there
    is nothing to do. The caller has seen that the card is not closed."""
    before, step = phase(card), Step(copy(card))
    card = step.card
    called = card.may_show == END
    members = () if called else tuple(skipped)
    if not members and before is not GIVEN_UP:
        return None
    step.owed_again = members
    if before is GIVEN_UP:
        _start_anew(card, now)
    card.revision += 1
    step.count("revisions.raised")
    card.singles, card.throttled_until, card.retry_at = 0, 0, now
    card.behind_since = card.behind_since or now
    check("redeliver", before, phase(card))
    return step


def close(card: Card, owed: Sequence[str], now: int, why: str = EXPIRED) -> Step:
    """The id is dead: what was still owed is told and settled as expired. Or another card continues it, from
    this revision on, which it supersedes: whoever was owed is owed there. Nothing is called any more."""
    before, step = phase(card), Step(copy(card))
    if step.card.lease_until:  # whoever had it must not settle over this
        step.card.fence += 1
        step.card.lease_until, step.card.lease_by = 0, ""
    if why == CONTINUED:
        if step.card.progress_calls:
            step.tell_progress(card.revision, step.card.fence)
        step.skipped = tuple(owed)
        step.settle(card.revision, "superseded", now)
        step.card.doubt_at, step.card.verdict = None, CONTINUED
    else:
        _close(step, owed, now)
    check("close", before, phase(step.card))
    return step


def _close(step: Step, owed: Sequence[str], now: int, result: Result | None = None) -> None:
    card = step.card
    if card.progress_calls:
        step.tell_progress(card.revision, step.card.fence)
    if card.behind or result is not None:
        step.fail("expired", card.revision, result, owed)
    step.settle(card.revision, "expired", now)
    card.doubt_at, card.verdict = None, EXPIRED


def _lapse(card: Card, now: int) -> Step:
    """A lease that ran out unsettled: a doubt, and whoever held it has lost its fence."""
    before, step = phase(card), Step(copy(card))
    step.card.doubt_at, step.card.lease_until, step.card.lease_by = now, 0, ""
    step.card.fence += 1
    check("lapse", before, phase(step.card))
    return step


def _put_off_end(card: Card, now: int, was_due: int, rules: DeliveryRules) -> None:
    """`end_by` is a wait from the first claim on, moved by the time in which nobody took the card; the last
    half of the margin is the end's alone."""
    if card.end_by is None:
        card.end_by = now + rules.end_wait
    else:
        card.end_by += max(0, now - was_due)
    card.end_by = min(card.end_by, card.expires_at - rules.margin // 2)


def _longest_list(card: Card, rules: DeliveryRules) -> int:
    """How many members one call may carry: fewer while a rejected list is bisected, and none when it is to be
    seen whether the request itself is wrong."""
    if card.singles >= SINGLES and not card.succeeded:
        return 0
    return min(card.list_limit or rules.members_per_call, rules.members_per_call)


def _start_anew(card: Card, now: int) -> None:
    """A card that was given up is tried again, now: its counts are those of a new one."""
    card.verdict = ""
    card.attempts = card.code_attempts = card.singles = 0
    card.retry_at = now


def _deliver(step: Step, revision: int, now: int, rules: DeliveryRules, *, at: int) -> None:
    """The plan claimed at `at` is done, or was empty: this revision, never a later one, is delivered."""
    step.tell_progress(revision, step.card.fence)
    step.settle(revision, "delivered", now)
    step.card.throttled_until = at + rules.coalesce
    step.card.singles = step.card.list_limit = 0


def _confirm(step: Step, result: Result, now: int, rules: DeliveryRules) -> None:
    """WeChat said 0. It is certain when the call was claimed long enough after any doubt."""
    card, claimed = step.card, result.claimed
    call, at = claimed.call, min(claimed.at, now)  # the clock may have been set back since
    card.succeeded = True
    if card.singles:  # the bad ones are found, and the request itself is right
        card.singles = card.list_limit = 0
    card.attempts, card.code_attempts, card.retry_at = 0, 0, now
    step.confirmed = call.members
    card.shown = call.target_state
    if card.doubt_at is None or at >= card.doubt_at + rules.repair_after:
        card.doubt_at, card.may_show = None, call.target_state
    if claimed.repair:
        step.count("repairs")
        return
    step.progress(call.members)
    if claimed.more:
        card.throttled_until = 0
    else:
        _deliver(step, claimed.card.revision, now, rules, at=at)


def _release(step: Step, result: Result, now: int, rules: DeliveryRules) -> None:
    """Given back at no cost: due again from now on."""
    step.card.retry_at = max(step.card.retry_at, now)


def _retry(step: Step, result: Result, now: int, rules: DeliveryRules) -> None:
    """Busy, not applied: back off."""
    step.card.code_attempts = 0
    _back_off(step.card, result, now, rules)


def _doubt(step: Step, result: Result, now: int, rules: DeliveryRules) -> None:
    """WeChat may have applied it, now or later: its members are sent again, its state is repeated."""
    step.card.doubt_at = now
    confirmed = step.card.progress_members  # a late answer may have confirmed some of these meanwhile
    step.in_doubt = tuple(each for each in result.claimed.call.members if each not in confirmed)
    step.count("calls.unknown")
    _retry(step, result, now, rules)


def _back_off(card: Card, result: Result, now: int, rules: DeliveryRules) -> None:
    """Exponential with full jitter, drawn once; never past a quarter of the id's life, nor past `end_by`."""
    card.attempts += 1
    life = max(SECOND, (card.expires_at - now) // 4)
    longest = min(rules.backoff_cap, rules.backoff << min(card.attempts - 1, 20), life)
    card.retry_at = now + int(longest * result.jitter)
    if card.ending and card.end_by is not None and result.claimed.call.target_state != END:
        card.retry_at = min(card.retry_at, max(now, card.end_by))  # then the end goes, alone


def _reject(step: Step, result: Result, now: int, rules: DeliveryRules) -> str | None:
    """Our request is wrong: a list is bisected until a bad member stands alone, which is skipped."""
    card, call = step.card, result.claimed.call
    if result.errcode == ILLEGAL_STATE and call.target_state < card.may_show and not card.cannot_lower:
        card.cannot_lower = True
        card.may_show = max(card.may_show, HIGHEST_OPEN)
        step.fail("not_lowered", result.claimed.card.revision, result)
    elif len(call.members) > 1:
        card.list_limit = len(call.members) // 2
    elif call.members:
        step.skipped = call.members
        step.fail("rejected", result.claimed.card.revision, result, call.members)
        card.singles, card.list_limit = card.singles + 1, 0 if card.succeeded else 1
    else:
        return _give_up(step, result, now, rules)
    card.code_attempts, card.retry_at, card.throttled_until = 0, now, 0  # the plan goes on
    return None


def _refuse(step: Step, result: Result, now: int, rules: DeliveryRules) -> str | None:
    """A code that says nothing sure about the request: so many in a row, then the revision is given up."""
    card = step.card
    known = result.verdict is Verdict.unknown_activity
    card.code_attempts += 1
    if card.code_attempts >= (UNKNOWN_ACTIVITY_ATTEMPTS if known else rules.unknown_code_attempts):
        return _give_up(step, result, now, rules)
    _back_off(card, result, now, rules)
    return None


def _give_up(step: Step, result: Result, now: int, rules: DeliveryRules) -> str:
    """Dead for this revision, until a later one or `redeliver`. A repair only loses its doubt; an end gives
    up those that it waits for, and goes alone."""
    card, claimed = step.card, result.claimed
    verdict = cast("FailedVerdict", str(result.verdict))
    card.attempts, card.code_attempts, card.retry_at = 0, 0, now
    ending = card.ending and claimed.call.target_state != END
    step.fail(verdict, claimed.card.revision, result, claimed.call.members if ending else ())
    if claimed.repair:
        if card.doubt_at is not None and card.doubt_at < min(claimed.at, now):  # not that of a call since
            card.doubt_at = None
        return "give_up"
    if ending:
        card.end_by, card.singles, card.list_limit = now, 0, 0
        return "give_up"
    if card.singles >= SINGLES:  # not the members were wrong
        step.owed_again = ALL_SKIPPED
    card.singles = card.list_limit = 0
    if card.progress_calls:
        step.tell_progress(claimed.card.revision, step.card.fence)
    step.settle(claimed.card.revision, "dead", now)
    card.throttled_until = min(claimed.at, now) + rules.coalesce
    if not card.behind:
        card.verdict = verdict
    return "give_up"


def _expire(step: Step, result: Result, now: int, rules: DeliveryRules) -> None:
    """47504: the id is dead. The caller has ended the activity through its table."""
    _close(step, [each.group_openid for each in result.claimed.owed], now, result)


_Follow = Callable[[Step, Result, int, DeliveryRules], "str | None"]
_BY_VERDICT: Final[Mapping[Verdict | None, tuple[str, _Follow]]] = MappingProxyType(
    {
        None: ("release", _release),
        Verdict.ok: ("confirm", _confirm),
        Verdict.busy: ("retry", _retry),
        Verdict.unknown: ("doubt", _doubt),
        Verdict.token: ("release", _release),
        Verdict.minute_limit: ("release", _release),
        Verdict.daily_limit: ("release", _release),
        Verdict.misconfigured: ("release", _release),
        Verdict.blocked: ("release", _release),
        Verdict.address: ("release", _release),
        Verdict.no_token: ("release", _release),
        Verdict.expired: ("close", _expire),
        Verdict.unknown_activity: ("retry", _refuse),
        Verdict.rejected: ("retry", _reject),
        Verdict.unknown_code: ("retry", _refuse),
    }
)
"""What each verdict of contracts.wechat's table does to the card, and by which trigger."""
