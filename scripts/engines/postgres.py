"""PostgreSQL: a cluster of our own on 127.0.0.1, run by the user PostgreSQL insists on."""

import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.engines.process import EngineError, EngineProcess, free_ports, new_folder, remember
from scripts.patience import PATIENCE

USER = "livecard"
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def binaries() -> Path | None:
    """Return the folder with `initdb` and `postgres` of the newest version; None when there is none."""
    found: list[Path] = []
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        found.append(Path(told.stdout.strip()))
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql*/bin"):
        found += sorted(Path("/").glob(pattern), key=_version, reverse=True)
    if server := shutil.which("initdb"):
        found.append(Path(server).parent)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def _version(folder: Path) -> int:
    digits = re.search(r"(\d+)", folder.parent.name)
    return int(digits[1]) if digits else 0


def missing() -> str | None:
    """Say what keeps PostgreSQL from being started here, or None when nothing does."""
    if binaries() is None:
        return "no initdb and postgres (Debian: postgresql)"
    if os.getuid() == 0 and server_user() is None:
        return "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as"
    return None


def server_user() -> str | None:
    """Return the user to run the server as: an unprivileged one when we are root, else None (ourselves)."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)


def query(port: int, statement: str = "", *, database: str = "postgres") -> None:
    """Log in and run one statement without parameters or result; an empty one only proves that it answers.

    Raises OSError when nobody answers and EngineError when the server says no. Just enough of the protocol
    (startup, simple query) that the engines need nothing but Python.
    """
    words = b"".join(word.encode() + b"\0" for word in ("user", USER, "database", database)) + b"\0"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link, link.makefile("rb") as answer:
        link.sendall(struct.pack(">ii", len(words) + 8, 196608) + words)
        _until_ready(answer.read)
        text = statement.encode() + b"\0"
        link.sendall(b"Q" + struct.pack(">i", len(text) + 4) + text)
        _until_ready(answer.read)
        link.sendall(b"X" + struct.pack(">i", 4))


def answers(port: int) -> bool:
    """Whether one can log in, perhaps through a pooler."""
    try:
        query(port)
    except (OSError, EngineError):
        return False
    return True


def _until_ready(read: Callable[[int], bytes]) -> None:
    problem: str | None = None
    while True:
        head = read(5)
        if len(head) < 5:
            raise EngineError(problem) if problem else ConnectionError("PostgreSQL closed the connection")
        kind, size = struct.unpack(">ci", head)
        body = read(size - 4)
        if kind == b"E":
            problem = body.replace(b"\0", b" ").decode("utf-8", "replace")
        if kind == b"Z":
            if problem:
                raise EngineError(problem)
            return


class Postgres:
    """A PostgreSQL server with the superuser `livecard`, trusted on 127.0.0.1, and a database `livecard`."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        tied: bool = True,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the server; `start` starts it.

        `folder`: where data and logs live (default: a temporary one); `destroy` removes it. `tied`: it dies
        with the thread that starts it. `durable`: keep fsync and synchronous commits, for benchmarks and
        crash tests. `settings`: more server settings, they win over ours.
        """
        self.folder = folder or new_folder("postgres")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = int(remember(self.folder, "postgres", lambda: {"port": str(free_ports(1)[0])})["port"])
        self._data = self.folder / "postgres"
        self._settings = {"max_connections": "200", **({} if durable else FORGETFUL), **(settings or {})}
        self.process = EngineProcess(self.folder, "postgres", tied=tied, user=server_user())

    def url(self, database: str = USER) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+asyncpg://{USER}@127.0.0.1:{self.port}/{database}"

    @property
    def running(self) -> bool:
        """Whether the server's process runs."""
        return self.process.pid is not None

    def start(self, *, seconds: float = PATIENCE) -> Self:
        """Start the server, if it does not run, and wait until one can log in."""
        limit = time.monotonic() + seconds
        while True:
            if not self.running:
                self._launch()
            try:
                self.process.wait_ready(partial(answers, self.port), limit - time.monotonic())
                break
            except EngineError as error:
                # After kill -9 of the postmaster its orphans still hold the memory until they notice.
                if "shared memory block" not in str(error) or time.monotonic() > limit:
                    raise
                time.sleep(0.2)
        made = self.folder / "postgres.made"
        if not made.exists():
            query(self.port, f"CREATE DATABASE {USER}")
            made.touch()
        return self

    def follow(self, primary: "Postgres") -> Self:
        """Become a streaming standby of `primary`, and start; whatever data was here before is forgotten."""
        self.kill9()
        shutil.rmtree(self._data, ignore_errors=True)
        self._make_data()
        tool = (binaries() or Path()) / "pg_basebackup"
        source = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", USER)
        self._run(str(tool), *source, "-D", str(self._data), "-R", "-X", "stream", "-c", "fast", "--no-sync")
        (self.folder / "postgres.made").touch()
        return self.start()

    def promote(self) -> None:
        """Make a standby the primary; return once it is one."""
        query(self.port, "SELECT pg_promote()")

    def stop(self, *, seconds: float = 30) -> None:
        """Shut down in order (connections are cut, a checkpoint is written); the data stays."""
        self.process.send(signal.SIGINT)
        if not self.process.wait_gone(seconds):
            self.kill9()

    def kill9(self) -> None:
        """Kill the postmaster; its children notice and leave."""
        self.process.kill9()

    def restart(self, *, immediate: bool = False) -> None:
        """Stop and start. `immediate`: without a checkpoint, so that it recovers as after a crash."""
        if immediate:
            self.process.send(signal.SIGQUIT)
            self.process.wait_gone(30)
        else:
            self.stop()
        self.start()

    def destroy(self) -> None:
        """End the server and remove its data and logs."""
        self.process.send(signal.SIGQUIT)
        if not self.process.wait_gone(10):
            self.kill9()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """Start the server."""
        try:
            return self.start()
        except BaseException:
            self.destroy()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the server."""
        self.destroy()

    def _launch(self) -> None:
        if reason := missing():
            raise EngineError(f"PostgreSQL cannot be started: {reason}")
        folder = binaries()
        if not (self._data / "PG_VERSION").exists():
            self._initialise(folder / "initdb" if folder else Path("initdb"))
        values = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **self._settings,
        }
        options = [part for key, value in values.items() for part in ("-c", f"{key}={value}")]
        self.process.start([f"{folder}/postgres", "-D", str(self._data), *options], end=signal.SIGQUIT)

    def _initialise(self, initdb: Path) -> None:
        self._make_data()
        # A linguistic collation, as production has: no order made in Python may have to match one of SQL.
        common = ("-D", str(self._data), "-A", "trust", "-U", USER, "-E", "UTF8", "--no-sync")
        try:
            self._run(str(initdb), *common, "--locale-provider=icu", "--icu-locale=en", "--locale=C")
        except EngineError:  # built without ICU
            self._run(str(initdb), *common, "--locale=C")

    def _make_data(self) -> None:
        self._data.mkdir(mode=0o700, exist_ok=True)
        if user := self.process.user:
            shutil.chown(self._data, user, pwd.getpwnam(user).pw_gid)

    def _run(self, *command: str) -> None:
        """One of PostgreSQL's tools, as the server's user."""
        user = self.process.user
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        if done.returncode != 0:
            raise EngineError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
