"""What becomes of every event in every state: not written down but tried out on the machines."""

from __future__ import annotations

import copy
from typing import Final

import msgspec

from contracts.changes import ParticipantDone
from contracts.events import Added, Closed, Completed, Event, EventData, Opened, Rescheduled, Room
from contracts.times import HOUR, MINUTE
from scripts.diagrams.languages import Say, english
from scripts.diagrams.mermaid import markdown
from statemachine import activity as machine
from statemachine.model import Activity, Aggregate, Rules

RULES: Final = Rules()
DEADLINE: Final = 10 * HOUR
STATES: Final = ("unopened", "open", "nearing", "ended")
NOWS: Final = {"unopened": HOUR, "open": HOUR, "nearing": DEADLINE - MINUTE, "ended": DEADLINE + HOUR}
LISTED: Final = Opened(
    appid="wx1", template="complete", expires_at=24 * HOUR, deadline=DEADLINE, participants=("ann", "bob")
)
IN_A_ROOM: Final = msgspec.structs.replace(LISTED, room=Room(opengid="g-1"))
EVERYONE: Final = Opened(
    appid="wx1", template="complete", expires_at=24 * HOUR, deadline=DEADLINE, choose="everyone"
)


def events(say: Say = english) -> str:
    """All events but completions."""
    tried: list[tuple[str, Opened, EventData, int | None]] = [
        ("`opened`, the first or the same again", LISTED, LISTED, None),
        ("`opened`, saying something else", LISTED, EVERYONE, None),
        ("`rescheduled` far ahead", LISTED, Rescheduled(deadline=20 * HOUR), None),
        ("`rescheduled` to within the notice", LISTED, Rescheduled(deadline=DEADLINE, notice=36_000), None),
        ("`rescheduled` into the past", LISTED, Rescheduled(deadline=MINUTE), None),
        ("`rescheduled` to no deadline", LISTED, Rescheduled(deadline=None), None),
        ("`rescheduled` with an older `time` than the last", LISTED, Rescheduled(deadline=None), 0),
        ("`closed`", LISTED, Closed(), None),
        ("`added`, somebody new", LISTED, Added(("eve",)), None),
        ("`added`, listed already", LISTED, Added(("bob",)), None),
        ("`added` with `everyone`", EVERYONE, Added(("eve",)), None),
    ]
    rows = [
        [say(name), *(_cell(state, opening, data, time, say) for state in STATES)]
        for name, opening, data, time in tried
    ]
    return markdown([say(head) for head in ("event", *STATES)], rows)


def continuations(say: Say = english) -> str:
    """An opening that continues another card, by the state of that one; ann was done there."""
    later = msgspec.structs.replace(LISTED, continues="a", participants=(), deadline=None)
    rows = [[say(state), _continuation(state, later, say)] for state in STATES]
    stranger = msgspec.structs.replace(later, appid="wx2")
    rows.append([say("of another app or room"), _continuation("open", stranger, say)])
    return markdown([say("the earlier card"), say("`opened` that continues it")], rows)


def _continuation(state: str, later: Opened, say: Say) -> str:
    earlier, heir = _arrive(state, LISTED), Aggregate(Activity("b"))
    known, before = {"a": earlier, "b": heir}, earlier.activity.state
    event = Event(source="/docs", id="e", type="opened", activity_id="b", time=NOWS[state], data=later)
    ((_, outcome),) = machine.handle(heir, event, NOWS[state], RULES, known)
    if outcome.kind != "applied":
        return say(outcome.kind) + (f" `{outcome.reason}`" if outcome.reason else "")
    ended = say("; it stays ended") if before == "ended" else say("; it is ended")
    words = f"**{say('applied')}** → {heir.activity.state}{say(', revision +')}{heir.activity.revision}"
    return f"{words}{ended} (`{earlier.activity.reason}`)"


def completions(say: Say = english) -> str:
    """A completion of one member, by who that is."""
    members = [
        ("listed, pending", LISTED, Completed(("bob",))),
        ("listed, done", LISTED, Completed(("ann",))),
        ("not listed", LISTED, Completed(("eve",))),
        ("everyone, not done yet", EVERYONE, Completed(("eve",))),
        ("everyone, done", EVERYONE, Completed(("ann",))),
        ("by openid, not bound in the room yet", IN_A_ROOM, Completed((), ("o-eve",))),
        ("by openid, the activity has no room", LISTED, Completed((), ("o-eve",))),
    ]
    whens = [(state, None) for state in STATES[:3]] + [("ended", DEADLINE), ("ended", DEADLINE + 1)]
    rows = [
        [say(name), *(_cell(state, opening, data, time, say) for state, time in whens)]
        for name, opening, data in members
    ]
    heads = ("member", *STATES[:3], "ended, `time` not after it", "ended, `time` after it")
    return markdown([say(head) for head in heads], rows)


def _event(data: EventData, number: int, time: int) -> Event:
    kind = type(data).__name__.lower()
    return Event(source="/docs", id=f"e{number}", type=kind, activity_id="a", time=time, data=data)


def _arrive(state: str, opening: Opened) -> Aggregate:
    """An activity that events and time have brought to this state; ann is done."""
    aggregate = Aggregate(Activity("a"))
    if state != "unopened":
        begun: list[EventData] = [opening, Completed(("ann",)), Rescheduled(deadline=DEADLINE)]
        for number, data in enumerate(begun):
            machine.handle(aggregate, _event(data, number, MINUTE), MINUTE, RULES)
        machine.fire_due(aggregate, NOWS[state], RULES)
    if (aggregate.activity.state or "unopened") != state:
        raise AssertionError(f"not {state} but {aggregate.activity.state}")
    return aggregate


def _cell(state: str, opening: Opened, data: EventData, time: int | None, say: Say) -> str:
    after = _arrive(state, opening)
    before = copy.deepcopy(after)
    now = NOWS[state]
    incoming = _event(data, 9, now if time is None else time)
    ((_, outcome),) = machine.handle(after, incoming, now, RULES)
    kind = say(outcome.kind)
    words = f"**{kind}**" if outcome.kind in ("applied", "late") else kind
    words += f" `{outcome.reason}`" if outcome.reason else ""
    if after.activity.state != before.activity.state:
        words += f" → {after.activity.state}"
    raised = after.activity.revision - before.activity.revision
    told = any(isinstance(each.data, ParticipantDone) for each in after.published[len(before.published) :])
    words += f"{say(', revision +')}{raised}" if raised else (say(", no revision") if told else "")
    return words
