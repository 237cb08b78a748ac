"""`livecard show` in plain words: what the card should show, does show, and why they differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from contracts.times import SECOND, format_rfc3339
from services.runtime.settings import Settings, decimal
from services.transactions.claim import CardRules
from services.transactions.gates import UNKNOWN_APP
from statemachine.card import Viewer, subtitle
from statemachine.plan import failing_from
from statemachine.states import ENDED, TARGET_STATE

SHOWN: Final = {1: "1 (collecting)", 2: "2 (closing soon)", 3: "3 (ended)"}
GIVEN_UP: Final = {
    "rejected": "WeChat rejected the request itself",
    "unknown_activity": "WeChat does not know this activity_id (47501)",
    "expired": "the activity_id is dead",
    "unknown_code": "WeChat kept answering a code nobody documents",
}
GATES: Final = {
    "minute_limit": "the app's calls of this minute are used up (45011)",
    "daily_limit": "the app's calls of today are used up (45009)",
    "misconfigured": "WeChat refuses the app's credentials or address",
    "blocked": "WeChat refuses the app: no permission, banned or frozen",
    "unknown_app": "no secret is configured for this app: add it to the apps file",
}


def explain(seen: dict[str, Any], settings: Settings) -> Iterator[str]:
    """Lines about what `Store.show` answered; times in it are µs, by the database's clock."""
    activity, now = seen["activity"], seen["now"]
    if not activity["state"]:
        yield from _unopened(seen, now, settings)
        return
    title = f" {activity['title']}" if activity["title"] else ""
    yield f"{activity['activity_id']}{title} is {activity['state']}" + _because(activity)
    yield from _when(activity, now)
    yield from _members(seen)
    yield from _card(seen, now, settings)
    yield from _attempts(seen, now)


def _unopened(seen: dict[str, Any], now: int, settings: Settings) -> Iterator[str]:
    waiting = seen["parked"]["events"]
    name = seen["activity"]["activity_id"]
    yield f"{name} has not been opened: no livecard.activity.opened was accepted yet"
    if waiting:
        until = seen["parked"]["since"] + settings.us("parked_after")
        yield f"{waiting} events wait for it; the oldest becomes a dead letter {moment(until, now)}"
    else:
        yield (
            f"no event waits for it; those that came before may be dead letters by now: `livecard replay "
            f"--activity {name}` tells"
        )


def _because(activity: dict[str, Any]) -> str:
    reason = activity["reason"]
    return f" (reason: {reason})" if reason else ""


def _when(activity: dict[str, Any], now: int) -> Iterator[str]:
    if activity["deadline"] is not None:
        yield f"deadline {moment(activity['deadline'], now)}, notice {activity['notice'] // SECOND} s before"
    yield f"its id dies {moment(activity['expires_at'], now)}"
    if activity["due_at"] is not None:
        yield f"the clock moves it next {moment(activity['due_at'], now)}"


def _members(seen: dict[str, Any]) -> Iterator[str]:
    members, activity = seen["members"], seen["activity"]
    whole = f" of {activity['participants']} listed" if activity["choose"] == "listed" else ""
    yield (
        f"done: {members['done']}{whole}; WeChat knows of {members['confirmed']}, is owed {members['owed']}"
        + (f", {members['late']} came late and are not delivered" if members["late"] else "")
    )
    if aside := members["set_aside"]:
        yield f"given up until `livecard redeliver {activity['activity_id']}`: {', '.join(aside)}"


def _card(seen: dict[str, Any], now: int, settings: Settings) -> Iterator[str]:
    card, members = seen["card"], seen["members"]
    read = subtitle(
        Viewer.publisher, card["shown"], card["template"], done=False, done_count=members["confirmed"]
    )
    yield f"the card shows state {SHOWN[card['shown']]}; its publisher reads: {read}"
    behind = card["revision"] - card["settled"]
    if behind > 0:
        target = SHOWN[TARGET_STATE[card["state"]]]
        since = moment(card["behind_since"], now)
        plural = "" if behind == 1 else "s"
        yield f"it is behind by {behind} revision{plural} since {since}; it should show {target}"
    for line in _held_back(seen, now, settings):
        yield f"  {line}"
    if behind <= 0 and not card["verdict"] and card["suspect_at"] is None:
        yield f"revision {card['revision']} is {card['settled_as']}: nothing is owed"


def _held_back(seen: dict[str, Any], now: int, settings: Settings) -> Iterator[str]:
    """Every reason for which nothing is sent at this moment, and when it is tried next."""
    card = seen["card"]
    behind = card["revision"] > card["settled"]
    if card["verdict"] and not (behind and not card["final"]):
        how = "for good" if card["final"] else "until the next event or `livecard redeliver`"
        yield f"given up {how}: {GIVEN_UP.get(card['verdict'], card['verdict'])}"
        return
    if not behind and card["suspect_at"] is None:
        return
    if card["expires_at"] <= now:
        yield f"its id died {moment(card['expires_at'], now)}: WeChat takes no more calls"
        return
    yield from _waiting_end(seen, now, settings)
    if card["suspect_at"] is not None:
        then = " after that" if behind else ""
        yield f"a call had an unknown outcome {moment(card['suspect_at'], now)}: its state is repeated{then}"
    holds = list(_holds(seen, now, settings))
    yield from (text for _, text in holds)
    if any(until is None for until, _ in holds):
        return
    until = max((until for until, _ in holds if until is not None), default=now)
    if until > now:
        yield f"it is tried next {moment(until, now)}"
    else:
        yield f"it is due now: a dispatcher takes it within {decimal(settings.sweep)} s (is one running?)"


def _holds(seen: dict[str, Any], now: int, settings: Settings) -> Iterator[tuple[int | None, str]]:
    """(until when, why) of everything that holds it back; None where nobody can say until when."""
    card, gate = seen["card"], seen["gate"]
    behind = card["revision"] > card["settled"]
    if gate is not None and gate["closed_until"] > now:
        why = GATES.get(gate["reason"], gate["reason"])
        said = f" ({gate['errcode']}: {gate['errmsg']})" if gate["errcode"] else ""
        if gate["reason"] == UNKNOWN_APP:
            yield None, f"the gate of {card['appid']} is closed until the apps file names it: {why}"
        else:
            until = gate["closed_until"]
            yield until, f"the gate of {card['appid']} is closed until {moment(until, now)}: {why}{said}"
    if card["lease_until"] > now:
        until = moment(card["lease_until"], now)
        yield None, f"{card['lease_by']} holds it and is calling WeChat; its lease ends {until}"
    elif card["lease_until"]:
        ended = moment(card["lease_until"], now)
        yield (
            now,
            f"{card['lease_by']} held it and never came back: its lease ended {ended}",
        )
    if card["retry_at"] > now:
        tries = f"{card['attempts']} tries in a row failed" if card["attempts"] else "the last try failed"
        yield card["retry_at"], f"{tries}{_last(seen)}: it backs off until {moment(card['retry_at'], now)}"
    end_due = card["state"] == ENDED and card["shown"] < TARGET_STATE[ENDED]
    if behind and card["look_at"] > now and not end_due:
        yield card["look_at"], "it was looked at a moment ago: what comes in between is gathered"
    if not behind:
        at = card["suspect_at"] + settings.us("repair_after")
        if at > now:
            yield at, f"it is repeated {decimal(settings.repair_after)} s after the doubt, not before"


def _waiting_end(seen: dict[str, Any], now: int, settings: Settings) -> Iterator[str]:
    """An end that waits for members owed from before it (design.md §6)."""
    card, owed = seen["card"], seen["members"]["owed"]
    if card["state"] != ENDED or card["shown"] == TARGET_STATE[ENDED] or not owed:
        return
    rules = CardRules.of(settings)
    since = failing_from(card["failing_since"], card["end_known_at"], card["retry_at"], now)
    until = rules.end_waits_until(card["expires_at"], since, card["attempts"])
    if until <= now:
        yield f"the end goes without the {owed} owed from before it: it has waited for them long enough"
    elif since is None:
        how = f"as long as WeChat takes them, until {moment(until, now)} at most"
        yield f"the end waits for the {owed} owed from before it: {how}"
    else:
        tries = f"{(until - now) / SECOND:.0f} s more of tries in vain"
        left = tries if until == since + rules.end_wait else f"until {moment(until, now)}"
        yield f"the end waits for the {owed} owed from before it: {left}, and it goes without them"


def _last(seen: dict[str, Any]) -> str:
    """What the last call was answered, in brackets."""
    if not seen["attempts"]:
        return ""
    last = seen["attempts"][0]
    code = "" if last["errcode"] is None else f" {last['errcode']}"
    return f" (the last one: {last['outcome']}{code})"


def _attempts(seen: dict[str, Any], now: int) -> Iterator[str]:
    attempts = seen["attempts"]
    if not attempts:
        yield "no call was made yet"
        return
    yield "the last calls, newest first:"
    for each in attempts:
        code = "" if each["errcode"] is None else f" errcode {each['errcode']}"
        said = f" {each['errmsg']}" if each["errmsg"] and each["outcome"] != "ok" else ""
        yield (
            f"  {moment(each['at'], now)}: state {each['target_state']}, {each['members']} members → "
            f"{each['outcome']}{code}{said} ({each['duration'] / 1000:.0f} ms)"
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
