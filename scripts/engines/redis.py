"""Redis: a server of our own on 127.0.0.1 that keeps nothing on disk, for a peer of the benchmarks."""

import shutil
import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.engines.process import EngineError, EngineProcess, free_ports, new_folder


def missing() -> str | None:
    """Say what keeps Redis from being started here, or None when nothing does."""
    return None if shutil.which("redis-server") else "no redis-server (Debian: redis-server)"


class Redis:
    """A Redis server; it dies with the thread that starts it."""

    def __init__(self, folder: Path | None = None) -> None:
        """Describe the server; `start` starts it. `folder`: where its log lives; `destroy` removes it."""
        self.folder = folder or new_folder("redis")
        self.port = free_ports(1)[0]
        self.process = EngineProcess(self.folder, "redis", tied=True)

    @property
    def url(self) -> str:
        """Where its first database is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *, seconds: float = 30) -> Self:
        """Start the server and wait until it answers."""
        if reason := missing():
            raise EngineError(f"Redis cannot be started: {reason}")
        options = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "save": ""}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process.start(["redis-server", *arguments], end=signal.SIGTERM)
        self.process.wait_ready(self._answers, seconds)
        return self

    def destroy(self) -> None:
        """End the server and remove its folder."""
        self.process.kill9()
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

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False
