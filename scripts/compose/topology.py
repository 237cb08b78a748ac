"""Starts the services of docker-compose.yml as processes, in its order, and stops them in the other."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from scripts.compose.described import FILE, Described, read, rounds
from scripts.engines import EngineError, Kafka, Postgres
from scripts.engines.process import EngineProcess, free_ports
from scripts.patience import PATIENCE

LIVECARD: Final = Path(sys.executable).with_name("livecard")
NOT_HERE: Final = frozenset({"grafana"})
"""What Debian has no package of."""
ENGINES: Final = frozenset({"kafka", "postgres"})
"""Started by `scripts.engines`, on ports of their own."""
LEAVING: Final = 30.0
"""Seconds that a service has for draining: compose's `stop_grace_period`."""


class Topology:
    """What the file describes, in a folder of this machine."""

    def __init__(
        self, folder: Path, *, given: Mapping[str, str] | None = None, ports_as_published: bool = True
    ) -> None:
        """Nothing is started. `given`: variables that win over the file's; with LIVECARD_KAFKA and
        LIVECARD_DATABASE among them those engines are used, and none is started. `ports_as_published`: those
        of the file; otherwise free ones."""
        self.folder, self.given = folder, dict(given or {})
        known = read()
        self.left_out = sorted(name for name in known if _absent(name))
        self.services = {name: each for name, each in known.items() if name not in self.left_out}
        self.kafka = None if "LIVECARD_KAFKA" in self.given else Kafka(folder / "kafka")
        self.postgres = None if "LIVECARD_DATABASE" in self.given else Postgres(folder / "postgres")
        self.addresses = self._addresses(as_published=ports_as_published)
        self.processes: dict[str, EngineProcess] = {}

    def _addresses(self, *, as_published: bool) -> dict[str, str]:
        """Name and port in compose's network → address here."""
        found = {}
        for name, each in self.services.items():
            if name in ENGINES:
                continue
            free = dict(zip(each.published, free_ports(max(1, len(each.published))), strict=False))
            for inside, outside in each.published.items():
                found[f"{name}:{inside}"] = f"127.0.0.1:{outside if as_published else free[inside]}"
        if self.kafka:
            found["kafka:9092"] = self.kafka.bootstrap
        if self.postgres:
            found["postgres:5432"] = f"127.0.0.1:{self.postgres.port}"
        return found

    def address(self, name: str) -> str:
        """Where a service that is asked over HTTP answers."""
        asked = self.services[name].asked
        if asked is None:
            raise KeyError(name)
        return self.addresses[f"{name}:{asked[0]}"]

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service, with the addresses and folders of this machine."""
        each = self.services[name]
        here = {key: self.here(each, value) for key, value in each.environment.items()}
        if each.asked and "LIVECARD_HTTP" in here:
            here["LIVECARD_HTTP"] = self.address(name)
        return here | self.given

    def here(self, each: Described, text: str) -> str:
        """A value of the file, or a file beside it, as it has to be on this machine."""
        for inside in each.volumes:
            text = re.sub(rf"(?<![\w/]){re.escape(inside)}(?![\w-])", str(self._mounted(each, inside)), text)
        for there, address in self.addresses.items():
            text = re.sub(rf"(?<![\w.-]){re.escape(there)}(?!\d)", address, text)
        return text

    def _mounted(self, each: Described, inside: str) -> Path:
        """A volume is a folder of ours; a folder beside the file is copied, since addresses in it differ."""
        what = each.volumes[inside]
        folder = self.folder / "volumes" / what.removeprefix("./").replace("/", "-")
        if what.startswith("./") and not folder.exists():
            shutil.copytree(FILE.parent / what, folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def start(self, tell: Callable[[str], None] = lambda _: None) -> Self:
        """Start all, each after what it waits for. Raises `EngineError`."""
        for together in rounds(self.services):
            for name in together:
                self._launch(name)
            for name in together:
                self._await(name)
                tell(name)
        return self

    def run(self, name: str, *arguments: str, feed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """One `livecard` command with a service's variables: `docker compose run --rm NAME …`."""
        command = self._command(name, *arguments)
        environment = {**os.environ, **self.environment(name)}
        return subprocess.run(command, env=environment, input=feed, capture_output=True, check=False)

    def stop(self) -> dict[str, int | None]:
        """Ask all to leave, the last to come first; each one's exit code, None if it had to be killed."""
        codes = {}
        for name, process in reversed(self.processes.items()):
            process.send(signal.SIGTERM)
            codes[name] = process.code() if process.wait_gone(LEAVING) else None
            process.kill9()
        self.processes.clear()
        for engine in (self.kafka, self.postgres):
            if engine:
                engine.destroy()
        return codes

    def __enter__(self) -> Self:
        """Start all."""
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all."""
        self.stop()

    def _launch(self, name: str) -> None:
        each = self.services[name]
        if name in ENGINES:
            engine = self.kafka if name == "kafka" else self.postgres
            if engine:
                engine.start()
            return
        process = self.processes[name] = EngineProcess(self.folder, name, tied=True)
        command = self._command(name, *each.command) if each.ours else self._foreign(name)
        process.start(command, end=signal.SIGTERM, environment=self.environment(name))

    def _command(self, name: str, *arguments: str) -> list[str]:
        """As in its container, no variable of ours counts that the file does not set."""
        known = self.environment(name)
        stray = [key for key in os.environ if key.startswith("LIVECARD_") and key not in known]
        return ["env", *(part for key in stray for part in ("-u", key)), str(LIVECARD), *arguments]

    def _foreign(self, name: str) -> list[str]:
        """Somebody else's program, with the files that are mounted for it."""
        each = self.services[name]
        for inside, what in each.volumes.items():
            if what.startswith("./"):
                for file in sorted(self._mounted(each, inside).rglob("*.yml")):
                    file.write_text(self.here(each, file.read_text("utf-8")), "utf-8")
        listen = f"--web.listen-address={self.address(name)}"
        return [name, *(self.here(each, part) for part in each.command), listen]

    def _await(self, name: str) -> None:
        """Until it is healthy, or done, as its health check has it."""
        each, process = self.services[name], self.processes.get(name)
        if process is None:
            return
        if each.ends:
            if not process.wait_gone(PATIENCE) or process.code() != 0:
                raise EngineError(f"{name} failed:\n{process.log_tail()}")
        elif each.asked:
            process.wait_ready(partial(answers, f"http://{self.address(name)}{each.asked[1]}"), PATIENCE)


def answers(url: str) -> bool:
    """Whether it says 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def _absent(name: str) -> bool:
    return name in NOT_HERE or (name == "prometheus" and shutil.which(name) is None)
