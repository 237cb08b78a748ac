"""The store as a command opens it: where it cannot be used, the error names it and the setting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from services.cli.errors import CommandError
from services.runtime.error_text import error_text
from services.runtime.process import delivery_rules
from services.runtime.settings import Settings, database_url
from services.store.open import open_store, safe_url
from services.store.ports import Store, StoreUnavailable, answers

ANSWER_DEADLINE: Final = 10.0
"""Seconds the database has to answer at all."""


def check_meant(settings: Settings) -> None:
    """Raise `CommandError` where the events of a real broker would go into a file that nobody has named."""
    if settings.kafka and not settings.database:
        raise CommandError(
            "LIVECARD_DATABASE is not set, though LIVECARD_KAFKA names a broker: set it to your database, "
            "such as postgresql+asyncpg://user@host/livecard; if a file on this machine is meant, say so: "
            f"LIVECARD_DATABASE={database_url(settings)}"
        )


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The store for one command; says what to do when it is not there or not migrated."""
    with named_database(settings):
        store = await open_store(
            database_url(settings), slot=0, rules=delivery_rules(settings), pool=2, must_exist=True
        )
    try:
        with named_database(settings):
            await answers(store, ANSWER_DEADLINE)
            yield store
    finally:
        await store.close()


@contextmanager
def named_database(settings: Settings) -> Iterator[None]:
    """What the store cannot do becomes a `CommandError` with its URL, without the password."""
    shown = safe_url(database_url(settings))
    try:
        yield
    except StoreUnavailable as error:
        why = error_text(error)
        if "LIVECARD_DATABASE" in why:
            raise
        where = (
            f"asked was {shown} (LIVECARD_DATABASE)"
            if settings.database
            else f"LIVECARD_DATABASE is not set, so asked was {shown}: is that the one you mean?"
        )
        raise CommandError(f"{why}; {where}") from error
