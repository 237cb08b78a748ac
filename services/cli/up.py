"""`livecard up`: every service in one process, with embedded parts for what is not set."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import msgspec
from rich.console import Console

from contracts.topics import Topics
from services.cli.database import check_meant, named_database
from services.cli.embedded_simulator import connect, openings_of, remember, simulator_server, warn_about
from services.cli.errors import CommandError
from services.cli.key import key_to_try
from services.cli.processes import builder
from services.cli.session_key import session_key_to_try
from services.gateway.app import build as build_gateway
from services.gateway.keys import ApiKeys
from services.kafka.admin import create_topics
from services.kafka.embedded import EmbeddedKafka
from services.runtime.host import Builder, serve
from services.runtime.http import AddressError, split_address
from services.runtime.settings import PREFIX, Settings, database_url
from services.simulator.app import SimulatorServer
from services.store.open import migrate, open_store, safe_url
from services.store.sql import SqlStore
from services.wechat.apps import AppBook

SIMULATED_APPS = '{"wx1": "simulated"}'
"""The mini program of the README's examples, where no app is configured."""
KINDS = ("lifecycle", "clock", "dispatcher")


def builders(keys: ApiKeys | None = None) -> list[Builder]:
    """Every service's composition root; `keys` are those of the API, if not a file's."""
    return [*(builder(kind) for kind in KINDS), partial(build_gateway, keys=keys)]


@asynccontextmanager
async def embedded(
    settings: Settings, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[tuple[Settings, SimulatorServer | None]]:
    """Settings with nothing left to set: Kafka, store, WeChat are there, migrated and with topics."""
    kafka: EmbeddedKafka | None = None
    simulator: SimulatorServer | None = None
    store: SqlStore | None = None
    try:
        if not settings.kafka:
            _embeddable(settings)
            topics = Topics(settings.topic_prefix)
            kafka = EmbeddedKafka()
            names = [topics.events, topics.nudges, topics.changes, topics.dead]
            settings = msgspec.structs.replace(settings, kafka=kafka.start(names))
        if not environ.get(PREFIX + "WECHAT"):
            if not settings.apps and not settings.apps_file:
                settings = msgspec.structs.replace(settings, apps=SIMULATED_APPS)
            host, port = split_address(settings.simulator_http, "LIVECARD_SIMULATOR_HTTP")
            simulator = simulator_server(settings, host, port, AppBook.load(settings))
            try:
                await simulator.start()
            except OSError as error:
                raise AddressError(
                    f"the simulator cannot listen on {settings.simulator_http}: {error.strerror}; "
                    "is another livecard running? Stop it, or set LIVECARD_SIMULATOR_HTTP"
                ) from None
            warn_about(simulator, host, settings.simulator_faults)
            settings = msgspec.structs.replace(
                settings, wechat=simulator.url, wechat_proxy="", wechat_proxy_password_file=""
            )
        with named_database(settings):
            await migrate(database_url(settings), finish=True)  # everything in one process: no other release
        if not settings.session_key_file:
            settings = msgspec.structs.replace(settings, session_key_file=session_key_to_try())
        if simulator is not None:
            remember(settings, simulator)
            store = await open_store(database_url(settings), pool=1)
            simulator.shell.source = openings_of(store)
        if kafka is None:
            await create_topics(settings)
        yield settings, simulator
    finally:
        if simulator is not None:
            await simulator.stop()
        if store is not None:
            await store.close()
        if kafka is not None:
            kafka.stop()


def _embeddable(settings: Settings) -> None:
    """Raise `CommandError` where a broker is asked for that the embedded one is not."""
    if settings.kafka_security != "PLAINTEXT":
        raise CommandError(
            f"LIVECARD_KAFKA_SECURITY={settings.kafka_security} is set but LIVECARD_KAFKA is not, and the "
            "embedded broker speaks PLAINTEXT only: set LIVECARD_KAFKA to your broker, or unset "
            "LIVECARD_KAFKA_SECURITY and what goes with it"
        )


async def up(settings: Settings, out: Console) -> None:
    """Serve everything until SIGTERM, after telling where everything is."""
    check_meant(settings)
    async with embedded(settings) as (ready, simulator):
        kafka = "" if settings.kafka else "  (embedded; its records live as long as this process)"
        apps = AppBook.load(ready).appids()
        key = "" if ready.api_keys_file else key_to_try()
        keys = ApiKeys.single(key, "up", apps) if key else None
        rows = {
            "Kafka": ready.kafka + kafka,
            "store": safe_url(database_url(ready)),
            "WeChat": ready.wechat + ("  (the simulator)" if simulator else ""),
            "apps": ", ".join(apps),
            "API key": key or ready.api_keys_file,
        }

        def serving(url: str) -> None:
            where = {
                "health, metrics": f"{url}/readyz  {url}/metrics",
                "API": f"{url}/v1  {url}/openapi.json",
                "console": f"{url}/console  (sign in with an API key)",
            }
            for name, text in {**where, **rows}.items():
                out.print(f"{name:>16}  {text}", markup=False)
            if simulator is not None:
                connect(simulator, settings, url, key)
                out.print(f"\nsee the chat:      {simulator.url}  (open it in a browser)", markup=False)
            event = f"LIVECARD_KAFKA={ready.kafka} livecard send events.json"
            out.print(f"send it an event:  {event}", markup=False)
            out.print("Ctrl-C drains and stops.", markup=False)

        await serve("up", ready, builders(keys), serving)
