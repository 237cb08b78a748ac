"""PgBouncer: a pooler of our own on 127.0.0.1, in front of a PostgreSQL."""

import pwd
import shutil
import signal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from scripts.engines.postgres import USER, answers, server_user
from scripts.engines.process import EngineError, EngineProcess, free_ports, new_folder
from scripts.patience import PATIENCE

Mode = Literal["session", "transaction"]
_SERVER = "/usr/sbin/pgbouncer"


def binary() -> str | None:
    """Return the program; Debian puts it where only root looks."""
    return shutil.which("pgbouncer") or (_SERVER if Path(_SERVER).exists() else None)


def missing() -> str | None:
    """Say what keeps PgBouncer from being started here, or None when nothing does."""
    return None if binary() else "no pgbouncer (Debian: pgbouncer)"


class PgBouncer:
    """A pooler with its default settings but for its mode, for every database of the server on this port.

    `sessions`: of the server, for each database and user.
    """

    def __init__(self, server: int, mode: Mode, *, sessions: int = 20) -> None:
        """Describe it; `start` starts it."""
        self.folder, self.port = new_folder("pgbouncer"), free_ports(1)[0]
        self.process = EngineProcess(self.folder, "pgbouncer", tied=True, user=server_user())
        users = self.folder / "users.txt"
        users.write_text(f'"{USER}" ""\n')
        self._configuration = self.folder / "pgbouncer.ini"
        self._configuration.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\npool_mode = {mode}\n"
            f"default_pool_size = {sessions}\nmax_client_conn = 500\n"
        )
        if user := self.process.user:
            for path in (self.folder, users, self._configuration):
                shutil.chown(path, user, pwd.getpwnam(user).pw_gid)

    def __enter__(self) -> Self:
        """Start it and wait until one can log in to the server through it."""
        if reason := missing():
            raise EngineError(f"PgBouncer cannot be started: {reason}")
        try:
            self.process.start([binary() or "", str(self._configuration)], end=signal.SIGINT)
            self.process.wait_ready(partial(answers, self.port), PATIENCE)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it."""
        self.process.kill9()
        shutil.rmtree(self.folder, ignore_errors=True)
