"""The story of one card: what arrived, was decided, called, answered, told and broken, in order of time."""

from __future__ import annotations

import msgspec

from contracts.events import Event
from contracts.times import SECOND
from tests.verification.chaos.record import Record
from tests.verification.chaos.repeats import settlements

AROUND = 10 * SECOND
"""Harm that long before and after the card's own story belongs to it."""


def story(record: Record, name: str) -> list[str]:
    """Lines of text, each with its second of the run."""
    told: list[tuple[int, str]] = []
    for arrival in record.arrivals[name]:
        place = f"{arrival.partition}/{arrival.offset}"
        told.append((arrival.at, f"topic    {_event(arrival.event)} [{place}]"))
        taken = record.taken.get((arrival.event.source, arrival.event.id))
        if taken is not None and not any(f"takes in {arrival.event.id}:" in line for _, line in told):
            outcome = f"{taken.outcome} {taken.reason}".strip()
            told.append((taken.at, f"store    takes in {arrival.event.id}: {outcome}"))
    for change in record.changes[name]:
        data = msgspec.to_builtins(change.change.data)
        kind = type(change.change.data).__name__
        told.append((change.change.time, f"change   {kind} {_words(data)}"))
    settled = settlements(record.calls[name], record.attempts[name])
    for number, call in enumerate(record.calls[name], 1):
        members = " ".join(call.members) or "nobody"
        told.append((call.came, f"WeChat   call {number}: state {call.target_state}, {members}"))
        told.append((call.left, f"WeChat   call {number} is answered {call.answer}"))
        if id(call) not in settled:
            told.append((call.left, f"         call {number} was never settled"))
    for attempt in record.attempts[name]:
        what = f"state {attempt.target_state}, {attempt.members} members: {attempt.outcome}"
        told.append((attempt.at, f"settled  {what} (fence {attempt.fence})"))
    if told:
        first, last = min(at for at, _ in told) - AROUND, max(at for at, _ in told) + AROUND
        for harm in record.harms:
            if harm.at <= last and harm.until >= first:
                told.append((harm.at, f"HARM     {harm.what}"))
                if harm.until - harm.at > SECOND:
                    told.append((harm.until, f"HARM     over: {harm.what}"))
    if name in record.cards:
        card = record.cards[name]
        told.append((record.end, f"the end  the card shows state {card.target_state}, posts {card.posts}"))
    told.sort(key=lambda each: each[0])
    return [f"{(at - record.begin) / SECOND:9.3f} s  {line}" for at, line in told]


def _event(event: Event) -> str:
    kind, said = event.type.rsplit(".", 1)[-1], msgspec.to_builtins(event.data)
    return f"{event.id} {kind} {_words(said)}"


def _words(said: object) -> str:
    if not isinstance(said, dict):
        return str(said)
    return " ".join(f"{name}={value}" for name, value in said.items() if value not in (None, "", (), []))
