"""`livecard show` in plain words: what the card should show, does show, and why they differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from contracts.times import SECOND, format_rfc3339
from services.runtime.settings import Settings, decimal
from services.store.rows import Attempt, Seen
from services.transactions.views import ActivityView
from statemachine.card import CONTINUED, Phase, Status
from statemachine.gate import OPERATOR, UNKNOWN_APP
from statemachine.states import TARGET_STATE

SHOWN: Final = {1: "1 (collecting)", 2: "2 (closing soon)", 3: "3 (ended)"}
GIVEN_UP: Final = {
    "rejected": "WeChat rejected the request itself",
    "unknown_activity": "WeChat does not know this activity_id (47501)",
    "unknown_code": "WeChat kept answering a code nobody documents",
}
CLOSED: Final = {"expired": ": its id is dead", "continued": ": another card continues it"}
GATES: Final = {
    "minute_limit": "the app's calls of this minute are used up (45011)",
    "daily_limit": "the app's calls of today are used up (45009)",
    "token": "WeChat refuses the app's token and hands out no other",
    "misconfigured": "WeChat refuses the app's credentials",
    "blocked": "WeChat refuses the app: no permission, banned or frozen",
    OPERATOR: "an operator closed it",
    UNKNOWN_APP: "no secret is configured for this app: add it to the apps file",
}


def explain(view: ActivityView, settings: Settings) -> Iterator[str]:
    """Lines about one activity; times in it are µs, by the database's clock."""
    seen, activity = view.seen, view.seen.activity
    if view.delivery is None or view.reads is None:
        yield from _unopened(seen, settings)
        return
    title = f" {seen.title}" if seen.title else ""
    reason = f" (reason: {activity.reason})" if activity.reason else ""
    yield f"{activity.activity_id}{title} is {activity.state}{reason}"
    yield from _when(seen)
    yield from _members(seen)
    yield f"the card shows state {SHOWN[seen.card.shown]}; its publisher reads: {view.reads.publisher}"
    yield from _delivery(seen, view.delivery, settings)
    yield from _attempts(seen)


def _unopened(seen: Seen, settings: Settings) -> Iterator[str]:
    name, waiting = seen.activity.activity_id, seen.parked
    yield f"{name} has not been opened: no livecard.activity.opened was accepted yet"
    if waiting.since is not None:
        until = moment(waiting.since + settings.us("parked_after"), seen.now)
        yield f"{waiting.events} events wait for it; the oldest becomes a dead letter {until}"
    else:
        yield (
            f"no event waits for it; those that came before may be dead letters by now: `livecard replay "
            f"--activity {name}` tells"
        )


def _when(seen: Seen) -> Iterator[str]:
    activity = seen.activity
    if activity.deadline is not None:
        notice = activity.notice // SECOND
        yield f"deadline {moment(activity.deadline, seen.now)}, notice {notice} s before"
    yield f"its id dies {moment(activity.expires_at, seen.now)}"
    if activity.continued_by:
        yield f"it goes on as {activity.continued_by}"
    if seen.due_at is not None:
        yield f"the clock looks at it next {moment(seen.due_at, seen.now)}"


def _members(seen: Seen) -> Iterator[str]:
    members, activity = seen.members, seen.activity
    whole = f" of {activity.participants} listed" if activity.choose == "listed" else ""
    late = f", {members.late} came late and are not delivered" if members.late else ""
    yield (f"done: {members.done}{whole}; WeChat knows of {members.confirmed}, is owed {members.owed}{late}")
    if members.skipped:
        names = ", ".join(members.skipped)
        if seen.card.verdict == CONTINUED:
            yield f"left to the card that continues it: {names}"
        else:
            yield f"skipped until `livecard redeliver {activity.activity_id}`: {names}"


def _delivery(seen: Seen, status: Status, settings: Settings) -> Iterator[str]:
    """Where the delivery stands, why, and until when."""
    card, now = seen.card, seen.now
    undelivered = card.revision - card.settled
    if undelivered > 0:
        plural = "" if undelivered == 1 else "s"
        since, target = moment(card.behind_since, now), SHOWN[TARGET_STATE[card.state]]
        yield f"{undelivered} revision{plural} undelivered since {since}; it should show {target}"
    yield f"delivery: {status.phase}{_why(seen, status, settings)}"
    if card.doubt_at is not None and status.phase is not Phase.closed:
        yield f"  a call had an unknown outcome {moment(card.doubt_at, now)}: its state will be repeated"
    if card.cannot_lower:
        yield "  WeChat refused to go back from 2 to 1, so it stays at 2 while the activity is open"
    if card.ending and seen.members.owed and card.end_by is not None:
        until = moment(card.end_by, now)
        yield f"  the end waits for the {seen.members.owed} owed from before it until {until}"


def _why(seen: Seen, status: Status, settings: Settings) -> str:
    """Behind the phase: why the card is in it, and until when."""
    card, now = seen.card, seen.now
    until = moment(status.until, now)
    match status.phase:
        case Phase.calling:
            over = "; nobody settled: a dispatcher takes it over" if (status.until or 0) <= now else ""
            return f": {status.why} has it, its lease ends {until}{over}"
        case Phase.closed:
            return CLOSED.get(status.why, ": WeChat shows the end")
        case Phase.given_up:
            why = GIVEN_UP.get(status.why, status.why)
            return f" until the next event or `livecard redeliver`: {why}{_last(seen)}"
        case Phase.in_sync:
            return f": nothing is owed at revision {card.settled}"
    if status.why.startswith("gate:"):
        return f": {_gate(seen, until)}"
    if status.why == "quota_reserve":
        return f": the rest of the app's quota is kept for ends until {until} (LIVECARD_QUOTA_RESERVE)"
    if status.why == "backing_off":
        return f": {card.attempts} tries in a row failed{_last(seen)}, the next one {until}"
    if status.why == "throttled":
        return f": a plan went out a moment ago, what comes in is gathered; the next one {until}"
    if status.why == "in_doubt":
        return f": the state is repeated {until}"
    if status.why == "expired":
        return f": its id died {until}, so the clock closes it"
    return f" now: a dispatcher takes it within {decimal(settings.sweep)} s (is one running?)"


def _gate(seen: Seen, until: str) -> str:
    gate = seen.gate
    if gate is None:
        return ""
    why = GATES.get(gate.reason, gate.reason)
    if gate.reason == UNKNOWN_APP:
        return f"the gate of {gate.appid} is closed until the apps file names it: {why}"
    said = f" ({gate.errcode}: {gate.errmsg})" if gate.errcode else ""
    if gate.reason == OPERATOR:
        said = f" ({gate.errmsg})"
    return f"the gate of {gate.appid} is closed until {until}: {why}{said}"


def _last(seen: Seen) -> str:
    """What the last call was answered, in brackets."""
    if not seen.attempts:
        return ""
    last = seen.attempts[0]
    return f" (the last one: {last.outcome}{_code(last, '')})"


def _code(attempt: Attempt, name: str) -> str:
    return "" if attempt.errcode is None else f"{name} {attempt.errcode}"


def _attempts(seen: Seen) -> Iterator[str]:
    if not seen.attempts:
        yield "no call was made yet"
        return
    yield "the last calls, newest first:"
    for each in seen.attempts[:10]:
        said = f" {each.errmsg}" if each.errmsg and each.outcome != "ok" else ""
        yield (
            f"  {moment(each.at, seen.now)}: state {each.target_state}, {each.members} members → "
            f"{each.outcome}{_code(each, ' errcode')}{said} ({each.duration / 1000:.0f} ms)"
        )


def moment(at: int | None, now: int) -> str:
    """A moment and how far it is: `2026-11-21T08:00:00Z (in 3 min)`."""
    if at is None:
        return "never"
    seconds = (at - now) / SECOND
    far = abs(seconds)
    text = ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if far >= 2 * size or size == 1:
            text = f"{far / size:.0f} {unit}"
            break
    return f"{format_rfc3339(at // SECOND * SECOND)} ({'in ' + text if seconds > 0 else text + ' ago'})"
