"""Whether each wish at the API was granted once: one activity, one event for each request, one answer."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.events import Opened
from services.gateway.outgoing import SOURCE
from tests.verification.chaos.record import Record, Wish


def judge_wishes(record: Record) -> Iterator[tuple[str, str]]:
    """What is wrong, with the activity's id. An id of WeChat's that nobody used is no activity."""
    made: dict[str, set[str]] = {}
    opened: dict[str, set[tuple[str, str]]] = {}
    for name, log in record.arrivals.items():
        for event in (each.event for each in log if each.event.source.startswith(SOURCE)):
            made.setdefault(name, set()).add(event.id)
            if isinstance(event.data, Opened):
                opened.setdefault(event.data.title or "", set()).add((name, event.id))
    granted = set()
    for wish in record.wishes:
        ids = wish.activity_ids
        granted |= ids
        name = min(ids, default="")
        for what in _one(record, wish, opened.get(wish.name, set()), made.get(name, set())):
            yield name, f"{wish.name}: {what}"
    for name in sorted(made.keys() - granted):
        yield name, "events of the API in the topic, and no caller was answered this activity"


def _one(record: Record, wish: Wish, opened: set[tuple[str, str]], made: set[str]) -> Iterator[str]:
    for key, answers in wish.answers.items():
        if len(set(answers)) != 1:
            yield f"the Idempotency-Key {key!r} was answered {sorted(set(answers)) or 'never'}"
    ids = wish.activity_ids
    stored = record.announced.get(wish.name, set())
    if stored != ids:
        yield f"the store knows the activities {sorted(stored)}, and its callers {sorted(ids)}"
    if len(opened) != 1 or {name for name, _ in opened} != ids:
        yield f"it was opened {len(opened)} times: {sorted(opened)}"
    told = {each for answers in wish.events for each in answers} | {event_id for _, event_id in opened}
    if made != told:
        yield f"{len(made - told)} events that nobody was answered, {len(told - made)} that nobody published"
