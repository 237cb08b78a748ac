"""The record of a run in which nothing went wrong: what the judge's tests doctor."""

from __future__ import annotations

from collections import Counter

from msgspec import UNSET

from contracts.changes import (
    CardDelivered,
    CardFailed,
    ChangeData,
    FailedVerdict,
    decode_change,
    encode_change,
)
from contracts.decode import decode
from contracts.events import CLOSED, COMPLETED, OPENED, Event
from contracts.times import SECOND, format_rfc3339
from services.gateway.outgoing import SOURCE
from services.runtime.settings import Settings
from services.transactions.outgoing import event_row
from tests.verification.chaos.record import Arrival, Attempt, Call, Published, Record, Shown, Taken, Wish
from tests.verification.chaos.script import script
from tests.verification.chaos.wishes import Plot, plots
from tests.verification.judging.judge import FATES
from tests.verification.model.reference import Reference

BEGIN = 1_790_000_000 * SECOND
SECONDS = 60.0
LEASE = 5 * SECOND
WISHES = 8
KINDS = {"": OPENED, "complete": COMPLETED, "close": CLOSED}


def honest(activities: int = 40) -> Record:
    """The record of a run in which nothing went wrong: every event taken in as it arrived, one call each."""
    said = script(7, activities, SECONDS, BEGIN)
    record = Record(7, BEGIN, BEGIN + 90 * SECOND, Settings().us("expiry_margin"), LEASE, said.events, 0)
    for offset, sending in enumerate(said.sendings):
        event, at = sending.event, BEGIN + round(sending.at * SECOND)
        record.arrivals[event.activity_id].append(Arrival(event, sending.partition, offset, at))
        record.records += 1
    rooms = {card.activity_id: frozenset(card.members or ()) for card in said.cards}
    rooms |= {f"given-{plot.name}": _granted(record, plot) for plot in plots(7, WISHES, SECONDS)}
    books: Counter[str] = Counter()
    for name, room in rooms.items():
        books += _one(record, name, room)
    repeats = record.records - len(record.taken)
    record.ledger = {
        "events": {"taken": len(record.taken), "repeats": repeats, **{fate: books[fate] for fate in FATES}},
        "revisions": {"raised": books["revisions"], "pending": 0},
        "problems": [],
    }
    return record


def _granted(record: Record, plot: Plot) -> frozenset[str]:
    """What a caller of the API asked for, once in the topic and always answered the same; its room."""
    name, wish = f"given-{plot.name}", Wish(plot.name)
    for number, request in enumerate(plot.requests):
        data, event_id = dict(request.data), f"{plot.name}-{number}"
        if not number:
            data["expires_at"] = format_rfc3339(BEGIN + 3_600 * SECOND)
        at = BEGIN + round(request.at * SECOND)
        row = event_row(name, (f"{SOURCE}chaos", event_id), KINDS[request.route], data, time=at, now=at)
        event = decode(row.body.encode(), ())
        assert isinstance(event, Event), event
        record.arrivals[name].append(Arrival(event, 0, 10_000 + number, at))
        answer = event_id if number else name
        wish.answers[f"{plot.name} {number}"] = [answer] * (1 + plot.again)
        record.records += 1
        record.events += 1
    record.wishes.append(wish)
    record.announced[plot.name] = {name}
    return frozenset(plot.people)


def _one(record: Record, name: str, room: frozenset[str]) -> Counter[str]:
    """Let one activity live as the reference says; its outcomes, and how many revisions it had."""
    reference = Reference(record.margin)
    firsts = sorted(record.arrivals[name], key=lambda each: each.offset)
    told: list[tuple[int, ChangeData]] = []
    for each in firsts:
        reference.feed(each.event, each.at)
        told += [(each.at, data) for data in reference.expected(name).published[len(told) :]]
    reference.fire(record.end)
    expected = reference.expected(name)
    told += [(record.end, data) for data in expected.published[len(told) :]]
    for each in firsts:
        key = (each.event.source, each.event.id)
        record.taken.setdefault(key, Taken(*expected.outcomes[key], each.at))
    members = tuple(sorted(expected.done & room))
    posts = dict.fromkeys(members, 1)
    record.cards[name] = Shown(expected.target_state, posts, room)
    if expected.revision > 1:
        at, state = record.end - SECOND, expected.target_state
        record.calls[name] = [Call(name, at, state, members, at + 1000, "0")]
        record.attempts[name] = [Attempt(at + 2000, 2000, state, len(members), "ok", 1)]
        revision = expected.revision
        delivered = CardDelivered(revision=revision, target_state=state, members=members, calls=1)
        told.append((record.end, delivered))
    if outside := expected.done - room:
        told.append((record.end, failed(expected.revision, "rejected", *outside)))
    for number, (at, data) in enumerate(told):
        record.changes[name].append(published(name, number, at, data))
    books = Counter(outcome for outcome, _ in expected.outcomes.values())
    return books + Counter(revisions=expected.revision)


def failed(revision: int, verdict: FailedVerdict, *members: str) -> CardFailed:
    """That this revision failed, or just these members of it."""
    whom = members or UNSET
    return CardFailed(revision=revision, verdict=verdict, errcode=None, errmsg=None, rid=None, members=whom)


def published(name: str, number: int, at: int, data: ChangeData) -> Published:
    value = encode_change(f"{name}:{number}", name, at, data)
    return Published(decode_change(value), value, at)


def crowded(record: Record) -> str:
    """An activity with several members on its card."""
    return next(name for name, card in record.cards.items() if len(card.posts) > 2)
