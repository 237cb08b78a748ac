"""Nothing in a home folder is read unless a setting names it; a user needs neither a name nor a home."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from scripts.patience import PATIENCE
from services.store.open import migrate
from tests.cli.running import livecard
from tests.e2e.line import free_port
from tests.security.elsewhere import another_user, as_another_user, log_line, nameless

RUBBISH = {
    ".postgresql/postgresql.crt": "no certificate",
    ".postgresql/postgresql.key": "no key",
    ".postgresql/root.crt": "no authority",
    ".postgresql/root.crl": "no list",
    ".pgpass": "*:*:*:*:canary-password",
    ".pg_service.conf": "[",
    ".netrc": "machine",
    ".config/livecard": "",
    ".local/state": "a file where a folder would be",
}
"""What the driver, or another library, looks for; each of them would be a failure."""

elsewhere = pytest.mark.skipif(nameless() is not None, reason=str(nameless()))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home full of what must not be read."""
    folder = tmp_path / "home"
    for name, text in RUBBISH.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    folder.chmod(0o700)
    return folder


def as_user(url: str, user: str) -> str:
    """The same database, asked for by this user, or by none."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}@{place}" if user else place))


@pytest.mark.parametrize("mode", ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=disable"])
async def test_files_in_our_own_home_are_not_read(postgres_database: str, home: Path, mode: str) -> None:
    """Neither a certificate for the database, nor a password."""
    await migrate(postgres_database)
    code, told = livecard("ledger", LIVECARD_DATABASE=postgres_database + mode, HOME=str(home))
    assert code == 0, told


@elsewhere
def test_somebody_elses_home_is_nothing_to_any_user(postgres_database: str, home: Path) -> None:
    """The database is migrated and read by a user who may not even look into HOME."""
    settings = {"LIVECARD_DATABASE": postgres_database, "HOME": str(home)}
    code, told = as_another_user("init", **settings)
    assert "is up to date" in told
    assert "LIVECARD_KAFKA is not set" in told
    code, told = as_another_user("ledger", **settings)
    assert code == 0, told
    code, told = as_another_user("ledger", LIVECARD_DATABASE=postgres_database)  # and without any HOME
    assert code == 0, told


@elsewhere
async def test_a_service_of_any_user_becomes_ready(
    kafka: str, postgres_database: str, home: Path, topic_prefix: str
) -> None:
    """It did not, for ever; asked to leave it leaves with 0."""
    await migrate(postgres_database, finish=True)
    address = f"127.0.0.1:{free_port()}"
    with another_user(
        "clock",
        HOME=str(home),
        LIVECARD_KAFKA=kafka,
        LIVECARD_DATABASE=postgres_database,
        LIVECARD_TOPIC_PREFIX=topic_prefix,
        LIVECARD_HTTP=address,
        LIVECARD_TICK="0.1",
    ) as process:
        log_line(process, "serving")
        await ready(address)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


async def ready(address: str) -> None:
    """Wait until it says so."""
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client, asyncio.timeout(PATIENCE):
        while True:
            if (await client.get(f"http://{address}/readyz")).status_code == 200:
                return
            await asyncio.sleep(0.1)  # polling a condition, bounded above


@elsewhere
@pytest.mark.parametrize("command", ["ledger", "show a-1", "gates", "redeliver a-1", "init", "up"])
def test_no_home_and_no_database_is_a_sentence(command: str) -> None:
    """It says what to set."""
    code, told = as_another_user(*command.split())
    assert code == 1
    assert told.startswith(
        "livecard: the settings are wrong\nLIVECARD_DATABASE is not set, and this user has no home"
    )
    assert "XDG_STATE_HOME" in told
    assert "Traceback" not in told


@elsewhere
def test_settings_are_listed_without_a_home() -> None:
    """There is nothing to look up there."""
    code, told = as_another_user("settings")
    assert code == 0, told


@elsewhere
@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("ledger", "{home}/.local/state/livecard/livecard.sqlite3 cannot be looked at"),
        ("up", "the folder {home}/.local/state/livecard cannot be made"),
    ],
)
def test_a_home_that_cannot_be_used_is_a_sentence(home: Path, command: str, what: str) -> None:
    """The file or its folder, and that it is a default."""
    code, told = as_another_user(command, HOME=str(home))
    assert code == 1
    assert what.format(home=home) in told
    assert "LIVECARD_DATABASE is not set" in told
    assert len(told.splitlines()) == 1


@elsewhere
def test_a_user_without_a_name_is_asked_to_give_one(postgres_url: str) -> None:
    """The driver would take that of the account."""
    code, told = as_another_user("ledger", LIVECARD_DATABASE=as_user(postgres_url, ""))
    assert code == 1
    assert "LIVECARD_DATABASE names no user" in told
    assert len(told.splitlines()) == 1
