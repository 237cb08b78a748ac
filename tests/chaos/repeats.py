"""Members posted again: how often, and whether something happened to the call before.

A call is *disturbed* when its caller says that the outcome is unknown, or when something struck its caller or
the store between the call's start and its settling (or the end of its lease, when it never was settled). Only
the members of disturbed calls may be posted again. What strikes others disturbs no call: a broker, a clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from contracts.times import SECOND
from tests.chaos.record import Attempt, Call, Harm, Record

STRIKES = ("kill a service dispatcher", "crash PostgreSQL", "kill PostgreSQL", "cut connections postgres")
LASTS = ("crash PostgreSQL", "kill PostgreSQL", "stall postgres", "half-close postgres")
BOTH_ENDS = ("freeze dispatcher", "roll dispatcher")
SLACK = SECOND // 5


@dataclass
class Repeats:
    """Of one run. `posts` and `calls` were repeated; those disturbed would have allowed for more."""

    posts: int = 0
    calls: int = 0
    in_flight: int = 0
    unknown: int = 0
    unsettled: int = 0
    disturbed: int = 0
    allowed: int = 0
    unexplained: list[tuple[str, str]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"calls in flight, summed over kills, freezes and cuts: {self.in_flight}",
            f"unknown outcomes: {self.unknown}; calls never settled: {self.unsettled}",
            f"calls disturbed by any of these: {self.disturbed}, with {self.allowed} members",
            f"repeated member posts: {self.posts}; calls that named a member again: {self.calls}",
        ]


def count_repeats(record: Record) -> Repeats:
    """Over all cards."""
    repeats = Repeats()
    harms = moments(record.harms)
    for name, card in record.cards.items():
        calls = record.calls[name]
        repeats.unknown += sum(attempt.outcome == "unknown" for attempt in record.attempts[name])
        settled = settlements(calls, record.attempts[name])
        disturbed: Counter[str] = Counter()
        named: set[str] = set()
        for call in calls:
            if call.answer not in ("0", "nothing") and not call.answer.startswith("HTTP"):
                continue  # WeChat refused it, and said so
            attempt = settled.get(id(call))
            end = attempt.at if attempt else call.came + record.lease
            struck = in_flight(harms, call.came - SLACK, end + SLACK)
            repeats.in_flight += struck
            repeats.unsettled += attempt is None
            if struck or (attempt is not None and attempt.outcome != "ok"):
                repeats.disturbed += 1
                repeats.allowed += len(call.members)
                disturbed.update(call.members)
            repeats.calls += bool(named & set(call.members))
            named.update(call.members)
        for member, posts in card.posts.items():
            repeats.posts += posts - 1
            if posts > disturbed[member] + 1:
                what = f"{member} was posted {posts} times, and {disturbed[member]} calls were disturbed"
                repeats.unexplained.append((name, what))
    if repeats.posts > repeats.allowed or repeats.calls > repeats.disturbed:
        repeats.unexplained.append(("", f"too many repeats: {'; '.join(repeats.lines())}"))
    return repeats


def settlements(calls: list[Call], attempts: list[Attempt]) -> dict[int, Attempt]:
    """By `id` of the call: its attempt. One call is under way at a time, so the latest before it fits."""
    found: dict[int, Attempt] = {}
    for attempt in attempts:
        for call in reversed(calls):
            same = (call.target_state, len(call.members)) == (attempt.target_state, attempt.members)
            if same and call.came <= attempt.at and id(call) not in found:
                found[id(call)] = attempt
                break
    return found


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
