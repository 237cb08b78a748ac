"""`livecard show` in plain words: what the card should show, does show, and why they differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from contracts.times import SECOND, format_rfc3339
from services.settings import Settings
from statemachine.card import Viewer, subtitle
from statemachine.states import TARGET_STATE

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
        yield f"{waiting} events wait for it; the oldest becomes a dead letter {_at(until, now)}"


def _because(activity: dict[str, Any]) -> str:
    reason = activity["reason"]
    return f" (reason: {reason})" if reason else ""


def _when(activity: dict[str, Any], now: int) -> Iterator[str]:
    if activity["deadline"] is not None:
        yield f"deadline {_at(activity['deadline'], now)}, notice {activity['notice'] // SECOND} s before"
    yield f"its id dies {_at(activity['expires_at'], now)}"
    if activity["due_at"] is not None:
        yield f"the clock moves it next {_at(activity['due_at'], now)}"


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
        since = _at(card["behind_since"], now)
        yield f"it is behind by {behind} revisions since {since}; it should show {target}"
    for line in _held_back(seen, now, settings):
        yield f"  {line}"
    if behind <= 0 and not card["verdict"] and card["suspect_at"] is None:
        yield f"revision {card['revision']} is {card['settled_as']}: nothing is owed"


def _held_back(seen: dict[str, Any], now: int, settings: Settings) -> Iterator[str]:
    """Every reason for which nothing is sent at this moment, and when it is tried next."""
    card, gate = seen["card"], seen["gate"]
    behind = card["revision"] > card["settled"]
    if card["verdict"] and not (behind and not card["final"]):
        how = "for good" if card["final"] else "until the next event or `livecard redeliver`"
        yield f"given up {how}: {GIVEN_UP.get(card['verdict'], card['verdict'])}"
        return
    if not behind and card["suspect_at"] is None:
        return
    if not behind:
        at = card["suspect_at"] + settings.us("repair_after")
        yield f"a call had an unknown outcome, so its state is delivered once more {_at(at, now)}"
    if gate is not None and gate["closed_until"] > now:
        why = GATES.get(gate["reason"], gate["reason"])
        said = f" ({gate['errcode']}: {gate['errmsg']})" if gate["errcode"] else ""
        yield f"the gate of {card['appid']} is closed until {_at(gate['closed_until'], now)}: {why}{said}"
        return
    if card["lease_until"] > now:
        until = _at(card["lease_until"], now)
        yield f"{card['lease_by']} holds it and is calling WeChat; its lease ends {until}"
        return
    if card["retry_at"] > now:
        yield f"{card['attempts']} tries failed; it is tried next {_at(card['retry_at'], now)}"
    elif behind and card["look_at"] > now and card["state"] != "ended":
        yield f"it was looked at a moment ago; it is looked at next {_at(card['look_at'], now)}"
    elif behind:
        yield f"it is due now: a dispatcher takes it within {settings.sweep:g} s (is one running?)"


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
            f"  {_at(each['at'], now)}: state {each['target_state']}, {each['members']} members → "
            f"{each['outcome']}{code}{said} ({each['duration'] / 1000:.0f} ms)"
        )


def _at(at: int | None, now: int) -> str:
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
