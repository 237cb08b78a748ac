"""`livecard forget`: one person erased, and what was erased told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Console

from contracts.topics import Topics
from services.cli.acting import acting
from services.cli.database import opened_store
from services.cli.errors import CommandError
from services.cli.letters import Cleared, forget_letters
from services.runtime.settings import Settings
from services.transactions.forget import Forgotten, names_of
from services.transactions.forget import forget as forget_person

WORDS: Final = {
    "members": "members of activities, deleted",
    "publishers": "activities whose publisher is not named any more",
    "parked": "events that wait for their `opened`, without the person or refused",
    "outbox": "messages that wait to be published, without the person or dropped",
    "bindings": "bindings, with nickname and avatar, deleted",
    "waiting": "waits for a binding, deleted",
    "sessions": "logins, deleted",
    "answers": "answers kept for an Idempotency-Key, deleted",
    "texts": "answers of WeChat's to calls and reasons of operators, without the person",
}


async def forget(settings: Settings, out: Console, name: str, why: str) -> None:
    """Dead letters after the outbox, from which they come, and before the bindings, by which the names are
    known."""
    cleared: Cleared | None = None

    async def letters() -> str:
        nonlocal cleared
        if settings.kafka:
            cleared = await forget_letters(settings, names)
        count = cleared.erased + cleared.rewritten if cleared else 0
        return f", dead letters {count}" if count else ""

    act = acting(why)
    if not (name := name.strip()):
        raise CommandError("the OPENID is empty: it would mean whoever is not bound yet")
    async with opened_store(settings) as store:
        names = await names_of(store, name)
        done = await forget_person(store, names, act, letters)
    others = f", also known as {', '.join(names[1:])}" if names[1:] else ""
    out.print(f"{name}{others}:", markup=False)
    for line in _lines(settings, done, cleared):
        out.print(line, markup=False)


def _lines(settings: Settings, done: Forgotten, cleared: Cleared | None) -> Iterator[str]:
    for kind, count in done.counts.items():
        if count:
            yield f"{count:8} {WORDS[kind]}"
    topics = Topics(settings.topic_prefix)
    if cleared is not None and (cleared.erased or cleared.rewritten):
        yield f"{cleared.erased:8} dead letters, deleted"
        yield f"{cleared.rewritten:8} dead letters, written anew without the person"
    if not any(done.counts.values()) and not (cleared and (cleared.erased or cleared.rewritten)):
        yield "nothing names this person: is the id right?"
    if cleared is None:
        yield f"LIVECARD_KAFKA is not set, so {topics.dead} was not looked at"
    if done.calling:
        yield (
            f"{len(done.calling)} of the person's cards were being called at that moment, and what comes of "
            "it may name the person: run it again in a minute"
        )
    yield (
        f"not reached: what is on {topics.events} and {topics.changes} already, until their retention ends "
        "it; encrypted answers to an Idempotency-Key, for a day; backups; what other services and WeChat "
        "keep. An event that comes later names the person anew"
    )
