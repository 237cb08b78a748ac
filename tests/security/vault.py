"""A PostgreSQL that wants TLS and a password, or a certificate."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from scripts.engines import Postgres
from scripts.engines.postgres import query
from tests.security.authority import Authority, Pair

PASSWORD = "canary/pg:7@f%23 &?=é"
RULES = """
hostnossl all livecard 127.0.0.1/32 trust
hostssl   all careful  127.0.0.1/32 scram-sha-256
hostssl   all known    127.0.0.1/32 cert map=any
"""


@dataclass
class Vault:
    """A server that speaks TLS; the user `careful` needs the password, `known` a certificate."""

    server: Postgres
    authority: Authority
    stranger: Authority
    client: Pair

    def url(
        self, options: str = "", *, user: str = "careful", password: str = PASSWORD, host: str = ""
    ) -> str:
        """The URL, its password escaped; by default the server's certificate and name are checked."""
        options = options or f"sslmode=verify-full&sslrootcert={self.authority.file}"
        secret = f":{quote(password, safe='')}" if password else ""
        place = f"{host or 'localhost'}:{self.server.port}"
        return f"postgresql+asyncpg://{user}{secret}@{place}/livecard?{options}"


@contextmanager
def a_vault(folder: Path) -> Iterator[Vault]:
    """A server of its own; certificates go to the folder."""
    authority = Authority(folder, "authority")
    made = Postgres()
    pair, rules = authority.sign("server", hosts=("localhost",)), made.folder / "hba.conf"
    rules.write_text(RULES)
    (made.folder / "ident.conf").write_text("any livecard known\n")
    for name, source in {"cert": pair.certificate, "key": pair.key, "ca": authority.file}.items():
        shutil.copy(source, made.folder / f"{name}.pem")
    key = made.folder / "key.pem"
    key.chmod(0o600)
    if made.process.user:
        shutil.chown(key, made.process.user)
    settings = {"ssl": "on", "hba_file": str(rules), "ident_file": str(made.folder / "ident.conf")}
    settings |= {f"ssl_{name}_file": str(made.folder / f"{name}.pem") for name in ("cert", "key", "ca")}
    with Postgres(made.folder, settings=settings) as server:
        for user in ("careful", "known"):
            query(server.port, f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        yield Vault(server, authority, Authority(folder, "stranger"), authority.sign("client"))
