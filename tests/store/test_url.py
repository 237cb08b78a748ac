"""What may stand in `LIVECARD_DATABASE`."""

from __future__ import annotations

import re

import pytest

from services.store.open import open_store
from services.store.ports import StoreUnavailable
from services.store.url import parse_url, safe_url
from tests.engines.support import sibling

START = "postgresql+asyncpg://"


@pytest.mark.parametrize(
    "url",
    [
        f"{START}me:secret@/db?host=a:1&host=b:2",
        f"{START}me:secret@/db?host=a:1,b:2",
        f"{START}me:secret@/db?host=a,b&port=1,2",
        f"{START}me:secret@a:1,b:2/db",
    ],
)
def test_several_hosts_are_written_as_libpq_or_as_sqlalchemy_takes_them(url: str) -> None:
    parsed = parse_url(url)
    assert (parsed.username, parsed.password, parsed.database) == ("me", "secret", "db")
    assert parsed.query == {"host": ("a:1", "b:2")}
    assert "secret" not in safe_url(url)


def test_the_port_of_a_host_without_one_is_postgresqls() -> None:
    assert parse_url(f"{START}me@a,b/db?sslmode=require").query == {
        "host": ("a:5432", "b:5432"),
        "sslmode": "require",
    }
    assert parse_url(f"{START}me@/db?host=a,b&port=7").query == {"host": ("a:7", "b:7")}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"{START}me:secret@/db?host=a,b,c&port=1,2", "one port, or one for each"),
        (f"{START}me:secret@/db?host=a:one,b:2", "a:one:5432 is no host:port"),
        (f"{START}me:secret@a:one/db", "not an SQLAlchemy URL"),
        (f"{START}me:secret@a/db?statement_cash_size=0", "knows no option statement_cash_size"),
        ("mysql://me:secret@a/db", "speaks postgresql+asyncpg://"),
    ],
)
def test_what_cannot_work_is_told_without_the_password(url: str, said: str) -> None:
    with pytest.raises(StoreUnavailable, match=re.escape(said)) as told:
        parse_url(url)
    assert "secret" not in str(told.value)


@pytest.mark.postgres
async def test_of_several_hosts_one_that_answers_is_enough(postgres_database: str) -> None:
    rest = sibling(postgres_database, "")
    user, _, place = rest.removeprefix(START).rstrip("/").rpartition("@")
    name = postgres_database.rpartition("/")[2]
    store = await open_store(f"{START}{user}@127.0.0.1:1,{place}/{name}")
    try:
        with pytest.raises(StoreUnavailable, match="not migrated"):
            await store.ping()
    finally:
        await store.close()
