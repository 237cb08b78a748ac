"""One service per process, and `init`."""

from __future__ import annotations

from rich.console import Console

from services.cli.database import check_meant, named_database
from services.cli.errors import CommandError
from services.kafka.admin import create_topics
from services.runtime.host import Builder, serve
from services.runtime.settings import Settings, database_url
from services.store.migrating import NEWEST
from services.store.open import migrate, safe_url


def builder(kind: str) -> Builder:
    """The composition root of a service by its command's name."""
    if kind == "lifecycle":
        from services.lifecycle.app import build as build_lifecycle

        return build_lifecycle
    if kind == "clock":
        from services.clock.app import build as build_clock

        return build_clock
    if kind == "gateway":
        from services.gateway.app import build as build_gateway

        return build_gateway
    from services.dispatcher.app import build as build_dispatcher

    return build_dispatcher


async def serve_kind(kind: str, settings: Settings) -> None:
    """One service until SIGTERM."""
    if kind == "simulator":
        from services.cli.simulator import serve_simulator

        await serve_simulator(settings)
        return
    if not settings.kafka:
        raise CommandError(
            f"LIVECARD_KAFKA is not set: `livecard {kind}` needs a broker, such as "
            "LIVECARD_KAFKA=localhost:9092 (`livecard up` runs everything on an embedded one)"
        )
    check_meant(settings)
    await serve(kind, settings, [builder(kind)])


async def init(settings: Settings, out: Console, *, finish: bool = False) -> None:
    """Migrate and create topics; warns where the broker cannot create them."""
    check_meant(settings)
    url = database_url(settings)
    with named_database(settings):
        at = await migrate(
            url, finish=finish, wait=settings.migration_wait, tell=lambda what: out.print(what, markup=False)
        )
    out.print(f"database: {safe_url(url)} is up to date", markup=False)
    if at < NEWEST:
        out.print("database: once no service of the release before runs, run `livecard init --finish`")
    if not settings.kafka:
        raise CommandError(
            "topics: LIVECARD_KAFKA is not set, so none were created; set it and run init again"
        )
    report = await create_topics(settings)
    for line in report.lines():
        out.print(line, markup=False)
