"""Members posted again and ended cards lowered: how often, and whether something happened to the call before.

A call is *disturbed* when its caller says that the outcome is unknown, when something struck its caller or
the store between the call's start and its settling (or the end of its lease, when it never was settled), or
when its lease ran out before it was settled, as on a machine with too much to do: settling waits for a row
that a lifecycle's transaction has, and that one for a core. Only
the members of disturbed calls may be posted again; only such a call, applied late, may lower an ended card
(which must be mended then). A call that repeats or lowers what an earlier one was told is its own fault. Who
is frozen may hold the card's row, so that nobody settles for seconds. What else strikes others disturbs no
call: a broker, the kill of a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from contracts.times import SECOND
from tests.verification.chaos.plan import LATEST
from tests.verification.chaos.record import Attempt, Call, Harm, Record, Shown

STRIKES = ("kill a service dispatcher", "crash PostgreSQL", "kill PostgreSQL", "cut connections postgres")
LASTS = ("crash PostgreSQL", "kill PostgreSQL", "stall postgres", "half-close postgres", "freeze")
BOTH_ENDS = ("roll dispatcher",)
SLACK = SECOND // 5
LATE = int((LATEST + 2) * SECOND)
"""From when WeChat saw a call until it is surely applied, if ever; our machine may be slow, too."""


@dataclass
class Repeats:
    """Of one run. `posts` and `calls` were repeated; those disturbed would have allowed for more.

    `lowered`: how often a call in doubt reached WeChat after the end.
    """

    posts: int = 0
    calls: int = 0
    in_flight: int = 0
    unknown: int = 0
    unsettled: int = 0
    disturbed: int = 0
    lowered: int = 0
    allowed: int = 0
    unexplained: list[tuple[str, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"calls in flight, summed over kills, freezes and cuts: {self.in_flight}",
            f"unknown outcomes: {self.unknown}; calls never settled: {self.unsettled}",
            f"calls disturbed by any of these: {self.disturbed}, with {self.allowed} members",
            f"repeated member posts: {self.posts}; calls that named a member again: {self.calls}",
            f"ended cards lowered by a call in doubt, and mended: {self.lowered}",
        ]


def count_repeats(record: Record) -> Repeats:
    """Over all cards."""
    repeats = Repeats()
    harms = moments(record.harms)
    for name, card in record.cards.items():
        repeats.unknown += sum(attempt.outcome == "unknown" for attempt in record.attempts[name])
        disturbed: Counter[str] = Counter()
        in_doubt: list[Call] = []
        named: set[str] = set()
        calls = list(answered(record, name))
        for call, attempt in calls:
            struck = in_flight(harms, call.came - SLACK, _over(record, call, attempt) + SLACK)
            repeats.in_flight += struck
            repeats.unsettled += attempt is None
            lapsed = _has_lapsed(record, call, attempt, calls)
            unclear = struck or lapsed or (attempt is not None and attempt.outcome == "unknown")
            if unclear and not _knew_better(call, attempt, calls):
                repeats.disturbed += 1
                repeats.allowed += len(call.members)
                disturbed.update(call.members)
                in_doubt.append(call)
            repeats.calls += bool(named & set(call.members))
            named.update(call.members)
        for member, posts in card.posts.items():
            repeats.posts += posts - 1
            if posts > disturbed[member] + 1:
                what = f"{member} was posted {posts} times, and {disturbed[member]} calls were disturbed"
                repeats.unexplained.append((name, what))
        repeats.lowered += len(card.lowered)
        repeats.unexplained.extend((name, what) for what in _lowerings(card, in_doubt))
    if repeats.posts > repeats.allowed or repeats.calls > repeats.disturbed:
        repeats.unexplained.append(("", f"too many repeats: {'; '.join(repeats.lines())}"))
    return repeats


def answered(record: Record, name: str) -> Iterator[tuple[Call, Attempt | None]]:
    """The calls that WeChat did not refuse in so many words, each with its settling if there is one."""
    settled = settlements(record.calls[name], record.attempts[name])
    for call in record.calls[name]:
        if _may_be_applied(call):
            yield call, settled.get(id(call))


def _knew_better(call: Call, attempt: Attempt | None, calls: list[tuple[Call, Attempt | None]]) -> bool:
    """Whether an earlier holder's success, which the store had, named a member of it, or the end it lowers.
    Whoever was frozen with the card in hand has a fence older than that.
    """
    return attempt is not None and any(
        before.fence < attempt.fence and _was_heard(told, before) and not _taken_for(told, calls)
        for told, before in calls
        if before is not None
        and (set(told.members) & set(call.members) or told.target_state == 3 > call.target_state)
    )


def _taken_for(call: Call, calls: list[tuple[Call, Attempt | None]]) -> bool:
    """Whether its settling may be that of one before, which looks the same and whose holder came too late."""
    return any(
        other is not call
        and other.came <= call.came
        and (other.target_state, len(other.members)) == (call.target_state, len(call.members))
        for other, _ in calls
    )


def _was_heard(call: Call, attempt: Attempt) -> bool:
    """Whether its success was settled within its lease, which outlives every call's deadline (two seconds)
    from its start: so any later holder read it."""
    return attempt.outcome == "ok" and max(attempt.duration, attempt.at - call.came) < SECOND


def _may_be_applied(call: Call) -> bool:
    unclear = call.answer == "nothing" or call.answer.startswith("HTTP")
    return call.answer == "0" or (unclear and call.answer != "HTTP 429")


def _lowerings(card: Shown, in_doubt: list[Call]) -> Iterator[str]:
    """Those that no call in doubt explains: each explains one, and is applied soon or never."""
    left = list(in_doubt)
    for at, state, members in card.lowered:
        for call in left:
            same = (call.target_state, call.members) == (state, members)
            if same and call.came <= at <= call.came + LATE:
                left.remove(call)
                break
        else:
            yield f"the card was lowered to {state} after its end with {members} without cause"


def _has_lapsed(
    record: Record, call: Call, attempt: Attempt | None, calls: list[tuple[Call, Attempt | None]]
) -> bool:
    """Whether its lease had run out when it was settled, and the next call came no sooner. A lease is counted
    from the claim, which may have been some time before the call."""
    end = call.came + record.lease - SECOND
    following = min((other.came for other, _ in calls if other.came > call.came), default=0)
    return following >= end and (attempt is None or attempt.at >= end)


def _over(record: Record, call: Call, attempt: Attempt | None) -> int:
    return attempt.at if attempt else call.came + record.lease


def settlements(calls: list[Call], attempts: list[Attempt]) -> dict[int, Attempt]:
    """By `id` of the call: its attempt. One call is under way at a time, so the latest before it fits, but
    for one that was settled after its lease: what its caller heard tells it from the next.
    """
    found: dict[int, Attempt] = {}
    for attempt in attempts:
        for call in reversed(calls):
            same = (call.target_state, len(call.members)) == (attempt.target_state, attempt.members)
            if same and _heard(attempt.outcome, call) and call.came <= attempt.at and id(call) not in found:
                found[id(call)] = attempt
                break
    return found


def _heard(outcome: str, call: Call) -> bool:
    """Whether a caller may say that after such an answer, which may have been lost on its way."""
    if outcome == "ok":
        return call.answer == "0"
    return (outcome == "unknown") == _may_be_applied(call)


def moments(harms: list[Harm]) -> list[tuple[int, int]]:
    """From when until when calls and their settling were struck."""
    spans = []
    for harm in harms:
        if harm.what.startswith(LASTS):
            spans.append((harm.at, harm.until))
        elif harm.what.startswith((*STRIKES, *BOTH_ENDS)):
            spans.append((harm.at, harm.at))
        if harm.what.startswith(BOTH_ENDS):
            spans.append((harm.until, harm.until))
    return spans


def in_flight(spans: list[tuple[int, int]], since: int, until: int) -> int:
    """How many of these spans a call under way from `since` to `until` met."""
    return sum(begin <= until and end >= since for begin, end in spans)
