"""Prometheus: a server of our own on 127.0.0.1 with a configuration of the caller's, and promtool."""

import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from types import TracebackType
from typing import Any, Self

from scripts.engines.process import EngineError, EngineProcess, free_ports, new_folder
from scripts.patience import PATIENCE


def missing() -> str | None:
    """Say what keeps Prometheus from being started here, or None when nothing does."""
    found = shutil.which("prometheus") and shutil.which("promtool")
    return None if found else "no prometheus or promtool (Debian: prometheus)"


def promtool(*arguments: str) -> str:
    """What it prints; raise EngineError with it where it finds a fault."""
    if reason := missing():
        raise EngineError(f"the rules cannot be checked: {reason}")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"promtool {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done.stdout


class Prometheus:
    """A server that reads `prometheus.yml` of its folder; whoever starts it writes that file first."""

    def __init__(self) -> None:
        """Make the folder; `with` starts the server."""
        self.folder, self.port = new_folder("prometheus"), free_ports(1)[0]
        self.configuration = self.folder / "prometheus.yml"
        self.process = EngineProcess(self.folder, "prometheus", tied=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        if reason := missing():
            raise EngineError(f"Prometheus cannot be started: {reason}")
        command = [
            "prometheus",
            f"--config.file={self.configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        try:
            self.process.start(command, end=signal.SIGTERM)
            self.process.wait_ready(self._answers, PATIENCE)
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

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now, each with `metric` and `value`."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = self._get("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2):
                return True
        except (OSError, urllib.error.URLError):
            return False
