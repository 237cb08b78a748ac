"""An event or a timer meets an activity: pure functions of state, event and `now`.

The order of tests is design.md §3's; each function changes the aggregate only when it answers
something other than refused or duplicate, so illegal input changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from msgspec import UNSET

from contracts.changes import (
    CardExpiring,
    EventRef,
    EventRefused,
    ParticipantDone,
    RefusedReason,
)
from contracts.events import (
    DEFAULT_NOTICE,
    Added,
    Closed,
    Completed,
    Event,
    Opened,
    Rescheduled,
    opened_digest,
)
from contracts.times import SECOND, format_rfc3339
from statemachine import timers
from statemachine.continuing import carry_over, filled_up, goes_on, may_continue, opening_of, pass_on
from statemachine.model import (
    APPLIED,
    BEST_FIRST,
    DUPLICATE,
    LATE,
    PARKED,
    Activity,
    Aggregate,
    Member,
    Outcome,
    Rules,
    Unbound,
)
from statemachine.states import DONE, ENDED, NEARING, OPEN, PARTICIPANT, UNOPENED, move
from statemachine.turning import DEADLINE_CLAMPED, clamp_warning, end, event_key, tell_changed, turn

COMPLETE_IGNORED = "close_when_complete_ignored"
"""Warning: `close_when_complete` needs `choose: listed`; with `everyone` nobody knows who is missing."""
PARTICIPANTS_IGNORED = "participants_ignored"
"""Warning: with `choose: everyone` a list of participants means nothing."""
FIELD_IGNORED = "unknown_field:"
"""Warning, before the name of a field that the event gave and that does not exist."""
NOBODY: Final[Mapping[str, Aggregate]] = MappingProxyType({})


_OUTCOMES: Final = {each.kind: each for each in (APPLIED, LATE, DUPLICATE)}
_Judgement = Literal["duplicate", "not_listed", "ended", "late", "applied"]


def handle(
    aggregate: Aggregate, event: Event, now: int, rules: Rules, others: Mapping[str, Aggregate] = NOBODY
) -> list[tuple[Event, Outcome]]:
    """Bring one event to an activity under its lock; the outcomes it decides, its own first.

    What is due fires first. An event ahead of its `opened` is parked on `aggregate.early`, an `opened` ahead
    of that of the activity which it continues on that one's `heirs`. An `opened` also decides what waited for
    it, so the list may hold more than one pair. `others`: activities under their locks, those that it
    continues and those of its heirs among them.
    """
    outcomes = _handle(aggregate, event, now, rules, others)
    return outcomes + _heirs(aggregate, outcomes[0], now, rules, others) if aggregate.heirs else outcomes


def _heirs(
    aggregate: Aggregate,
    decided: tuple[Event, Outcome],
    now: int,
    rules: Rules,
    others: Mapping[str, Aggregate],
) -> list[tuple[Event, Outcome]]:
    """The openings that waited for this one, and those that waited for them, if it is decided now. One whose
    id is dead is never opened."""
    outcomes: list[tuple[Event, Outcome]] = []
    todo = deque([(aggregate, decided)])
    while todo:
        earlier, (_, outcome) = todo.popleft()
        opened = earlier.activity.state != UNOPENED
        if not opened and outcome.reason != "expired":
            continue
        heirs, earlier.heirs = earlier.heirs, []
        for heir in heirs:
            later = others[heir.activity_id]
            found = _handle(later, heir, now, rules, others if opened else NOBODY)
            outcomes += found
            todo.append((later, found[0]))
    return outcomes


def _handle(
    aggregate: Aggregate, event: Event, now: int, rules: Rules, others: Mapping[str, Aggregate]
) -> list[tuple[Event, Outcome]]:
    if aggregate.activity.state == UNOPENED:
        if isinstance(event.data, Opened):
            return _open(aggregate, event, event.data, now, rules=rules, others=others)
        aggregate.early.append(event)
        return [(event, PARKED)]
    fire_due(aggregate, now, rules)
    outcome = _apply(aggregate, event, now, rules)
    if isinstance(event.data, Rescheduled):
        fire_due(aggregate, now, rules)
    return [(event, outcome)]


def fire_due(aggregate: Aggregate, now: int, rules: Rules) -> None:
    """Fire the timers that are due, in order: near, end, and between them that the id is about to die. An
    outdated timer does nothing."""
    activity = aggregate.activity
    expiring = timers.expiring_at(activity, rules)
    if expiring is not None and now >= expiring:
        _turn_until(aggregate, expiring, now, rules)
        if activity.state in (OPEN, NEARING):
            activity.expiry_warned = True
            aggregate.publish("expiring", CardExpiring(format_rfc3339(activity.expires_at)))
    _turn_until(aggregate, now, now, rules)


def _turn_until(aggregate: Aggregate, moment: int, now: int, rules: Rules) -> None:
    activity = aggregate.activity
    if activity.state == OPEN:
        near = timers.near_at(activity, rules)
        if near is not None and moment >= near:
            turn(aggregate, "near", "notice")
    if activity.state in (OPEN, NEARING) and moment >= timers.end_at(activity, rules):
        end(aggregate, timers.end_reason(activity, rules), timers.end_at(activity, rules), now)


def end_expired(aggregate: Aggregate, now: int, rules: Rules) -> bool:
    """WeChat says that the id is dead (47504): end as `expired`. False when it had ended already.

    Here too what is due fires first, so a deadline that the clock had not got to yet is the reason.
    """
    if aggregate.activity.state not in (OPEN, NEARING):
        return False
    fire_due(aggregate, now, rules)
    if aggregate.activity.state != ENDED:
        end(aggregate, "expired", now, now)
    return True


def refuse_event(
    aggregate: Aggregate, event: Event, reason: RefusedReason, members: list[str] | None = None
) -> Outcome:
    """Report the event (or just these of its members) as refused; nothing else changes."""
    ref = EventRef(source=event.source, id=event.id, type=event.type)
    whom = UNSET if members is None else tuple(members)
    refusal = EventRefused(event=ref, reason=reason, members=whom)
    aggregate.publish(f"refused:{event_key(event)}:{reason}", refusal)
    return Outcome("refused", reason)


def _open(
    aggregate: Aggregate,
    event: Event,
    data: Opened,
    now: int,
    *,
    rules: Rules,
    others: Mapping[str, Aggregate],
) -> list[tuple[Event, Outcome]]:
    """An id that was announced is its app's, until the `opened` of that app is refused."""
    if aggregate.appid not in {"", data.appid}:
        return [(event, refuse_event(aggregate, event, "already_open"))]
    if now >= data.expires_at:
        aggregate.appid = ""
        early, aggregate.early = aggregate.early, []
        return [(each, refuse_event(aggregate, each, "expired")) for each in (event, *early)]
    if data.continues is None:
        return _begin(aggregate, event, data, now, rules=rules)
    earlier = others.get(data.continues)
    if earlier is not None and earlier is not aggregate and earlier.activity.state == UNOPENED:
        earlier.heirs.append(event)
        return [(event, PARKED)]
    if earlier is None or earlier is aggregate or not may_continue(data, earlier):
        aggregate.appid = ""
        return [(event, refuse_event(aggregate, event, "unknown_predecessor"))]
    fire_due(earlier, now, rules)
    return _begin(aggregate, event, data, now, rules=rules, earlier=earlier)


def _begin(
    aggregate: Aggregate,
    event: Event,
    said: Opened,
    now: int,
    *,
    rules: Rules,
    earlier: Aggregate | None = None,
) -> list[tuple[Event, Outcome]]:
    data = said if earlier is None else filled_up(said, earlier)
    early, aggregate.early = aggregate.early, []
    listed = data.choose == "listed"
    activity = Activity(
        activity_id=event.activity_id,
        state=OPEN,
        choose=data.choose,
        close_when_complete=data.close_when_complete and listed,
        deadline=data.deadline,
        notice=(DEFAULT_NOTICE if data.notice is None else data.notice) * SECOND,
        expires_at=data.expires_at,
        revision=1,
        opened_digest=opened_digest(said),
    )
    aggregate.activity = activity
    aggregate.opening = opening_of(data)
    aggregate.appid, aggregate.room = data.appid, aggregate.opening.room
    if listed:
        _list_members(aggregate, tuple(dict.fromkeys(data.participants)))
    tell_changed(aggregate, None, "opened", opening_warnings(data, rules))
    if earlier is not None:
        carry_over(aggregate, earlier, event, now)
    outcomes = [(event, APPLIED)]
    outcomes += [(each, _apply(aggregate, each, now, rules)) for each in early]
    fire_due(aggregate, now, rules)
    return outcomes


def opening_warnings(data: Opened, rules: Rules) -> list[str]:
    """What the change that opens an activity tells its producer to look at."""
    warnings = []
    if timers.is_clamped(data, rules):
        warnings.append(DEADLINE_CLAMPED)
    if data.close_when_complete and data.choose != "listed":
        warnings.append(COMPLETE_IGNORED)
    if data.participants and data.choose != "listed":
        warnings.append(PARTICIPANTS_IGNORED)
    return warnings + [f"{FIELD_IGNORED}{name}" for name in data.ignored]


def _apply(aggregate: Aggregate, event: Event, now: int, rules: Rules) -> Outcome:
    """One event against an opened activity, timers aside."""
    data, time = event.data, min(event.time, now)
    if isinstance(data, Completed):
        return _complete(aggregate, event, data, time, now)
    if isinstance(data, Opened) and opened_digest(data) == aggregate.activity.opened_digest:
        return DUPLICATE
    if aggregate.activity.state == ENDED and not (isinstance(data, Added) and goes_on(aggregate, time)):
        return refuse_event(aggregate, event, "ended")
    if isinstance(data, Opened):
        return refuse_event(aggregate, event, "already_open")
    if isinstance(data, Rescheduled):
        return _reschedule(aggregate, event, data, now, rules)
    if isinstance(data, Closed):
        end(aggregate, "closed", time, now)
        return APPLIED
    return _add(aggregate, event, data)


def _complete(aggregate: Aggregate, event: Event, data: Completed, time: int, now: int) -> Outcome:
    """Each member is judged alone (design.md §3). Who waits for his binding is judged once he has it; who may
    be listed where the activity goes on, there."""
    activity = aggregate.activity
    members, unbound = named(aggregate, data)
    judged: dict[_Judgement, list[str]] = {}
    for group_openid in members:
        judged.setdefault(_judge(aggregate, group_openid, time), []).append(group_openid)
    if finished := judged.get("applied") or judged.get("late"):  # it has ended, or it has not
        _finish(aggregate, event, finished, time)
    if goes_on(aggregate, time):
        known = set(judged.get("duplicate", ()))
        pass_on(aggregate, event, [each for each in members if each not in known])
        if strangers := judged.pop("not_listed", None):
            judged.setdefault("late", strangers)
    refused: list[RefusedReason] = []
    for kind, whom in judged.items():
        if kind in ("not_listed", "ended"):
            refuse_event(aggregate, event, kind, whom)
            refused.append(kind)
    kinds = set[str](judged)
    if unbound:
        if _wait(aggregate, event, unbound):
            kinds.add("applied")
        else:
            refused.append("no_room")
    if activity.close_when_complete and "applied" in judged and activity.done == activity.participants:
        end(aggregate, "complete", time, now)
    return _best(kinds, refused)


def _judge(aggregate: Aggregate, group_openid: str, time: int) -> _Judgement:
    """What a completion at this moment comes to for one member, in this order: duplicate, not_listed, late,
    ended."""
    activity, member = aggregate.activity, aggregate.members.get(group_openid)
    if member is not None and member.state == DONE:
        return "duplicate"
    if member is None and activity.choose == "listed":
        return "not_listed"
    if activity.state != ENDED:
        return "applied"
    return "late" if activity.ended_at is not None and time <= activity.ended_at else "ended"


def _finish(aggregate: Aggregate, event: Event, finished: list[str], time: int) -> None:
    """These are done; after the end no revision tells of them."""
    late = aggregate.activity.state == ENDED
    for group_openid in finished:
        member = aggregate.members.get(group_openid)
        if member is None:
            member = aggregate.members[group_openid] = Member(group_openid)
        move(PARTICIPANT, member, "complete")
        member.late, member.done_at = late, time
        aggregate.touched[group_openid] = member
    aggregate.activity.done += len(finished)
    aggregate.activity.revision += 0 if late else 1
    aggregate.publish(f"done:{event_key(event)}", ParticipantDone(tuple(finished)))


def named(aggregate: Aggregate, data: Completed | Added) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The members whom an event names, each once, those bound in the room among them; and the openids that
    are not bound there."""
    if not data.openids:
        return data.members, ()
    room = aggregate.room
    known = {each: aggregate.bound.get((*room, each), "") if room else "" for each in data.openids}
    members = dict.fromkeys((*data.members, *filter(None, known.values())))
    return tuple(members), tuple(openid for openid, member in known.items() if not member)


def _wait(aggregate: Aggregate, event: Event, openids: tuple[str, ...]) -> bool:
    """Let them wait for their bindings, each by himself. Without a room nobody is ever bound: refused."""
    if not openids:
        return False
    if aggregate.room is None:
        refuse_event(aggregate, event, "no_room")
        return False
    appid, room_id = aggregate.room
    aggregate.waits += [
        Unbound(appid, room_id, openid, event.activity_id, event.source, event.id, event.type, event.time)
        for openid in openids
    ]
    return True


def _best(kinds: set[str], refused: Iterable[str]) -> Outcome:
    """The outcome of an event by those of the people whom it names."""
    for kind in BEST_FIRST[:3]:
        if kind in kinds:
            return _OUTCOMES[kind]
    return Outcome("refused", next(iter(refused)))


def _reschedule(aggregate: Aggregate, event: Event, data: Rescheduled, now: int, rules: Rules) -> Outcome:
    activity = aggregate.activity
    time = min(event.time, now)
    if activity.rescheduled_at is not None and time < activity.rescheduled_at:
        return refuse_event(aggregate, event, "superseded")
    activity.rescheduled_at = time
    activity.deadline = data.deadline
    if data.notice is not None:
        activity.notice = data.notice * SECOND
    if activity.state == NEARING and now < timers.end_at(activity, rules) - activity.notice:
        turn(aggregate, "reopen", "rescheduled", clamp_warning(activity, rules))
    return APPLIED


def _add(aggregate: Aggregate, event: Event, data: Added) -> Outcome:
    members, unbound = named(aggregate, data)
    everyone = aggregate.activity.choose != "listed"
    if everyone and (aggregate.room is not None or not unbound):
        return DUPLICATE  # everyone takes part already, whoever it is
    kinds = {"duplicate"} if members else set()
    new = () if everyone else tuple(each for each in members if each not in aggregate.members)
    if new and aggregate.activity.state == ENDED:
        pass_on(aggregate, event, new)
        kinds.add("late")
    elif new:
        _list_members(aggregate, new)
        kinds.add("applied")
    if _wait(aggregate, event, unbound):
        kinds.add("applied")
    return _best(kinds, ("no_room",))


def _list_members(aggregate: Aggregate, group_openids: tuple[str, ...]) -> None:
    """List these, who are not yet. No revision: WeChat has no call for it."""
    for group_openid in group_openids:
        member = aggregate.members[group_openid] = Member(group_openid)
        aggregate.touched[group_openid] = member
    aggregate.activity.participants += len(group_openids)
