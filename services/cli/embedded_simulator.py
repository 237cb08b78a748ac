"""WeChat's stand-in as `up`, `demo` and `livecard simulator` run it."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast

import structlog

from contracts.wechat import Template, Version
from services.cli.database import named_database
from services.cli.errors import CommandError
from services.runtime.secret_file import SecretFileError, read_secret
from services.runtime.settings import Settings, database_url, state_folder
from services.simulator.app import SimulatorServer
from services.simulator.cards import Choose, Declaration
from services.simulator.memory import MemoryFileError
from services.simulator.shell import Source
from services.store.open import open_store
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.store.rows import OpenedActivity
from services.store.url import parse_url
from services.wechat.apps import AppBook

LOG = structlog.get_logger("livecard")

LATEST: Final = 100
"""Activities opened last that the page learns of at a time; it shows fewer."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


class SimulatorService:
    """Its health: it has nothing to wait for."""

    name = "simulator"

    async def run(self) -> None:
        """The HTTP server runs it."""

    def stop(self) -> None:
        """The HTTP server stops it."""

    def marks(self) -> Mapping[str, float]:
        """No loop of its own."""
        return {}

    async def ready(self) -> str | None:
        """Always."""
        return None


def remember(settings: Settings, simulator: SimulatorServer) -> None:
    """Keep the cards over a restart, as the store does. Raises `CommandError`."""
    try:
        path = memory_file(settings)
    except RuntimeError:  # PostgreSQL, and no home folder
        LOG.warning("there is no state folder, so the simulator forgets its cards: set XDG_STATE_HOME")
        return
    if path is not None:
        try:
            simulator.remember(path)
        except MemoryFileError as error:
            raise CommandError(str(error)) from None


def memory_file(settings: Settings) -> Path | None:
    """Where the simulator keeps its cards: as set, else beside the SQLite file; for PostgreSQL in the state
    folder, one for each database. None for a database in memory."""
    if settings.simulator_cards:
        return Path(settings.simulator_cards)
    url = parse_url(database_url(settings))
    if url.get_backend_name() != "sqlite":
        where = f"{url.host}:{url.port}/{url.database}"
        return state_folder() / f"simulator-{hashlib.sha256(where.encode()).hexdigest()[:12]}.sqlite3"
    if not url.database or url.database.startswith((":memory:", "file:")):
        return None
    return Path(url.database).with_suffix(".simulator.sqlite3")


@asynccontextmanager
async def informed(settings: Settings, simulator: SimulatorServer) -> AsyncIterator[None]:
    """A process of its own keeps its cards in the file that is named, and knows what the database that is
    named says of them. Raises `CommandError`."""
    if settings.simulator_cards:
        remember(settings, simulator)
    if not settings.database:
        yield
        return
    with named_database(settings):
        store = await open_store(settings.database, pool=1)
    if not settings.simulator_cards:
        LOG.warning(
            "the simulator forgets at its end who is done: set LIVECARD_SIMULATOR_CARDS to a file of its own"
        )
    simulator.shell.source = openings_of(store)
    try:
        yield
    finally:
        await store.close()


def openings_of(store: Store) -> Source:
    """What the store knows of cards that no page has shared with the simulator."""

    async def ask(activity_id: str | None) -> Sequence[Declaration]:
        try:
            found = await store.openings(LATEST, activity_id)
        except (StoreUnavailable, StoreRejected):
            return ()
        return [_declaration(each) for each in reversed(found)]

    return ask


def _declaration(opened: OpenedActivity) -> Declaration:
    return Declaration(
        activity_id=opened.activity_id,
        appid=opened.appid,
        template=cast("Template", opened.template),
        version=cast("Version", opened.version),
        title=opened.title,
        publisher=opened.publisher,
        choose=cast("Choose", opened.choose),
        participants=opened.listed,
        expires_at=opened.expires_at,
    )


def simulator_server(settings: Settings, host: str, port: int, apps: AppBook | None) -> SimulatorServer:
    """A stand-in that knows the apps configured, or any when none is; no page need share the cards."""
    faults = Path(settings.simulator_faults) if settings.simulator_faults else None
    server = SimulatorServer(
        host,
        port,
        apps=apps.secrets() if apps else {},
        accept_any_app=apps is None,
        auto_declare=True,
        faults_file=faults,
    )
    server.shell.read_faults_file()
    return server


def connect(simulator: SimulatorServer, settings: Settings, url: str = "", key: str = "") -> None:
    """Let the page's buttons go through a gateway: this one with this key, else as set. Raises
    `CommandError`."""
    url, file = url or settings.simulator_gateway, settings.simulator_key_file
    if not key and file:
        try:
            key = read_secret(Path(file)).decode("ascii", "replace").strip()
        except SecretFileError as error:
            raise CommandError(f"LIVECARD_SIMULATOR_KEY_FILE: {error}") from None
    if url and key:
        simulator.acting.through(url, key)


def warn_about(server: SimulatorServer, host: str, faults: str) -> None:
    """Tell, once it serves, who can reach it, and what is wrong with its file of faults."""
    if not is_loopback(host):
        LOG.warning("other machines can reach the simulator, and it obeys whoever does", host=host)
    if server.shell.file_error:
        LOG.warning("the file of faults cannot be used", path=faults, error=server.shell.file_error)
    elif faults and not Path(faults).exists():
        LOG.warning("the file of faults does not exist; it is read once it does", path=faults)
