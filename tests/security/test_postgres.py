"""PostgreSQL behind TLS and a password: every command of ours comes in with one URL, or says why not."""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest

from scripts.engines.postgres import query
from services.store.open import migrate, open_store
from services.store.ports import StoreUnavailable
from tests.e2e.line import Line, a_line
from tests.security.vault import PASSWORD, Vault


async def encrypted(url: str) -> bool:
    """Whether the store's connection by this URL goes through TLS."""
    await migrate(url)
    store = await open_store(url)
    try:
        await store.ping()
        async with store.engine.connect() as connection:
            question = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            return bool((await connection.exec_driver_sql(question)).scalar_one())
    finally:
        await store.close()


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_the_store_and_its_migrations_come_in_through_tls(vault: Vault, mode: str) -> None:
    assert await encrypted(vault.url(f"sslmode={mode}&sslrootcert={vault.authority.file}"))


async def test_our_certificate_is_shown(vault: Vault) -> None:
    files = f"&sslcert={vault.client.certificate}&sslkey={vault.client.key}"
    options = f"ssl=verify-full&sslrootcert={vault.authority.file}{files}"
    assert await encrypted(vault.url(options, user="known", password=""))


REFUSALS: dict[str, tuple[str, dict[str, str], str]] = {
    "another authority": (
        "sslmode=verify-full&sslrootcert={stranger}",
        {},
        "the database's certificate is not accepted: ",
    ),
    "no authority at all": ("ssl=verify-full", {}, "the database's certificate is not accepted"),
    "another authority, name aside": ("sslmode=verify-ca&sslrootcert={stranger}", {}, "not accepted"),
    "authority with require": ("sslmode=require&sslrootcert={stranger}", {}, "not accepted"),
    "another host": (
        "sslmode=verify-full&sslrootcert={ca}",
        {"host": "127.0.0.1"},
        "IP address mismatch, certificate is not valid for '127.0.0.1'",
    ),
    "a wrong password": (
        "sslmode=verify-full&sslrootcert={ca}",
        {"password": "canary-wrong"},
        'password authentication failed for user "careful"',
    ),
    "no TLS": ("sslmode=disable", {}, "no encryption"),
    "a file that is not there": (
        "sslmode=verify-full&sslrootcert=/nowhere.pem",
        {},
        "LIVECARD_DATABASE: sslrootcert: cannot read /nowhere.pem: No such file or directory",
    ),
    "files without TLS": ("sslrootcert={ca}", {}, "sslrootcert is of no use without sslmode=verify-full"),
    "half a pair": (
        "sslmode=verify-full&sslrootcert={ca}&sslkey={key}",
        {},
        "LIVECARD_DATABASE: sslkey is set without LIVECARD_DATABASE: sslcert",
    ),
    "a mode that is none": ("sslmode=verify", {}, "sslmode is one of disable, allow, prefer, require"),
    "two modes": ("sslmode=verify-full&ssl=disable", {}, "which are the same"),
    "a password behind the question mark": ("password=canary-9", {}, "user:password@"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_whoever_is_not_let_in_is_told_why_without_the_password(vault: Vault, name: str) -> None:
    """In the error and in everything it came of."""
    options, more, words = REFUSALS[name]
    files = {"ca": vault.authority.file, "stranger": vault.stranger.file, "key": vault.client.key}
    url = vault.url(options.format(**files), **more)
    with pytest.raises(StoreUnavailable) as first:
        await migrate(url)
    with pytest.raises(StoreUnavailable) as second:
        await (await open_store(url)).ping()
    assert words in str(first.value)
    assert words in str(second.value)
    for error in (first.value, second.value):
        assert "canary" not in "".join(traceback.format_exception(error))


async def test_files_that_are_renewed_count_from_the_next_connection(vault: Vault, tmp_path: Path) -> None:
    """A running service need not be started again: first the authority is a stranger, then ours."""
    await migrate(vault.url())
    file = tmp_path / "ca.pem"
    shutil.copy(vault.stranger.file, file)
    store = await open_store(vault.url(f"sslmode=verify-full&sslrootcert={file}"))
    try:
        with pytest.raises(StoreUnavailable, match="certificate is not accepted"):
            await store.ping()
        shutil.copy(vault.authority.file, file)
        await store.ping()
        file.write_text("half of a certificate")
        await store.engine.dispose()
        await store.ping()  # a new connection, with what was known
        shutil.copy(vault.stranger.file, file)
        await store.engine.dispose()
        with pytest.raises(StoreUnavailable, match="certificate is not accepted"):
            await store.ping()
    finally:
        await store.close()


async def test_a_password_out_of_a_file_counts_from_the_next_connection(vault: Vault, tmp_path: Path) -> None:
    """Changed in the database and on disk while a service runs; a spoilt file leaves what was known."""
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text(f"{PASSWORD}\n", "utf-8")
    checked = f"sslmode=verify-full&sslrootcert={vault.authority.file}"
    url = vault.url(f"{checked}&passwordfile={file}", password="")
    await migrate(url)
    store = await open_store(url)
    try:
        await store.ping()
        query(vault.server.port, "ALTER ROLE careful PASSWORD 'canary-second'")
        await store.ping()  # the connection that it has
        await store.engine.dispose()
        with pytest.raises(StoreUnavailable, match="password authentication failed") as refused:
            await store.ping()
        assert "canary" not in "".join(traceback.format_exception(refused.value))
        file.write_text("canary-second\n", "utf-8")
        await store.ping()
        file.write_text("")
        await store.engine.dispose()
        await store.ping()
    finally:
        await store.close()
        query(vault.server.port, f"ALTER ROLE careful PASSWORD '{PASSWORD}'")
    with pytest.raises(StoreUnavailable, match=r"LIVECARD_DATABASE: passwordfile: .* must hold the secret"):
        await open_store(url)
    with pytest.raises(StoreUnavailable, match="holds a password and names a passwordfile: leave one out"):
        await open_store(vault.url(f"{checked}&passwordfile={file}"))


async def test_a_server_without_tls_is_not_spoken_to(vault: Vault, postgres_url: str) -> None:
    """Nobody in between can talk us out of it."""
    port = postgres_url.rpartition(":")[2].partition("/")[0]
    url = vault.url().replace(f"localhost:{vault.server.port}", f"127.0.0.1:{port}")
    with pytest.raises(StoreUnavailable, match="rejected SSL upgrade"):
        await migrate(url)


@pytest.mark.slow
async def test_the_commands_come_in_through_tls(
    vault: Vault, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """`init`, a service, `ledger`, with a password of special characters that nobody prints."""
    async with a_line(kafka, vault.url(), topic_prefix, tmp_path) as line:
        (clock,) = await line.start("clock")
        assert (await line.ledger())["balanced"]
        _, listed = await line.run("settings", "--json")
        assert "careful:***@localhost" in listed
        assert await clock.terminate() == 0
        wrong = vault.url(password="canary-wrong")
        line.settings["LIVECARD_DATABASE"] = wrong
        code, told = await line.run("ledger")
        assert (code, "password authentication failed" in told) == (1, True), told
        assert_silent(listed + told + clock.log.read_text(), line)


def assert_silent(text: str, line: Line) -> None:
    """Neither the password nor how it stands in a URL."""
    assert [each for each in ("canary", quote(PASSWORD, safe="")) if each in text] == [], line.folder
