"""One engine process: started in a folder, found again by its pid file, stopped or killed, its log kept."""

import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FOLDER_PREFIX = "livecard-engines-"


class EngineError(RuntimeError):
    """An engine is missing, did not start, or does not answer; the text says what to do."""


def free_ports(count: int) -> list[int]:
    """Return `count` distinct ports of 127.0.0.1 that nobody listens on.

    Below the ephemeral range: a client that reconnects to a stopped engine could otherwise be given that very
    port as its own and connect to itself.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 30_000), 10_000):
        with socket.socket() as probe:
            # As servers do, so that a connection in TIME_WAIT does not make a port look taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise EngineError(f"no {count} free ports between 20000 and 30000")


def new_folder(name: str) -> Path:
    """Make a temporary folder for engines that live as long as this process; remove what dead ones left."""
    root = Path(tempfile.gettempdir())
    for old in root.glob(f"{FOLDER_PREFIX}{os.getuid()}-*-*"):
        owner = old.name.removeprefix(f"{FOLDER_PREFIX}{os.getuid()}-").split("-")[0]
        if owner.isdigit() and not _exists(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getuid()}-{os.getpid()}-{name}-"))
    folder.chmod(0o711)  # PostgreSQL's own user passes through when we are root
    return folder


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _command_of(pid: int) -> str:
    """Return the command line of a process, empty when it is gone or a zombie."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            return ""
    command = ["ps", "-o", "stat=,command=", "-ww", "-p", str(pid)]
    line = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return "" if line.startswith("Z") else line


class EngineProcess:
    """A process that belongs to a folder.

    `tied`: it dies with the thread that started it (Linux), so that a killed test run leaves nothing behind;
    otherwise it outlives us and a later `EngineProcess` of the same folder and name finds it.
    """

    def __init__(self, folder: Path, name: str, *, tied: bool, user: str | None = None) -> None:
        """Remember where the process lives; nothing is started. `user`: run as this user (needs root)."""
        self.folder, self.name, self.tied, self.user = folder, name, tied, user
        self.log = folder / f"{name}.log"
        self._pid_file = folder / f"{name}.pid"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process's id while it runs, else None; a stale pid file counts for nothing."""
        if self._child is not None:
            return self._child.pid if self._child.poll() is None else None
        try:
            pid = int(self._pid_file.read_text("ascii"))
        except (OSError, ValueError):
            return None
        return pid if str(self.folder) in _command_of(pid) else None

    def code(self) -> int | None:
        """Return the exit code of a process that we started, once it has ended; else None."""
        return self._child.poll() if self._child is not None else None

    def start(
        self, command: Sequence[str], *, end: signal.Signals, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `command`, which must mention the folder, with its output appended to the log.

        `end` is the signal a tied process gets when its parent dies.
        """
        setpriv = shutil.which("setpriv") if self.tied else None
        tie = [setpriv, "--pdeathsig", end.name.removeprefix("SIG"), "--"] if setpriv else []
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*tie, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C at the terminal is for us; we then stop the engines in order
                user=self.user,
                group=pwd.getpwnam(self.user).pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
            )
        self._pid_file.write_text(str(self._child.pid), "ascii")

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process still runs."""
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def wait_gone(self, seconds: float) -> bool:
        """Wait until the process has ended; False when it has not after `seconds`."""
        if self._child is not None:
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                return False
        else:
            limit = time.monotonic() + seconds
            while self.pid is not None:
                if time.monotonic() > limit:
                    return False
                time.sleep(0.05)
        self._pid_file.unlink(missing_ok=True)
        return True

    def kill9(self) -> None:
        """Kill it as the out-of-memory killer would, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.wait_gone(10)

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready()`; raise EngineError with the end of the log when it ends or takes too long."""
        limit = time.monotonic() + seconds
        while not ready():
            if self.pid is None:
                raise EngineError(f"{self.name} ended while starting:\n{self.log_tail()}")
            if time.monotonic() > limit:
                raise EngineError(f"{self.name} was not ready after {seconds:g} s:\n{self.log_tail()}")
            time.sleep(0.05)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the log, with the log's place."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join([f"({self.log})", *text.splitlines()[-lines:]])


def remember(folder: Path, name: str, make: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Return the facts noted under `name` in the folder (ports, ids), making them the first time."""
    note = folder / f"{name}.json"
    if note.exists():
        facts: dict[str, str] = json.loads(note.read_text("utf-8"))
        return facts
    facts = make()
    note.write_text(json.dumps(facts), "utf-8")
    return facts
