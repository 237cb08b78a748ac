"""WeChat's stand-in as `up`, `demo` and `livecard simulator` run it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path

import structlog

from services.runtime.settings import Settings
from services.simulator.app import SimulatorServer
from services.wechat.apps import AppBook

LOG = structlog.get_logger("livecard")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


class SimulatorService:
    """Its health: it has nothing to wait for."""

    name = "simulator"

    async def run(self) -> None:
        """The HTTP server runs it."""

    def stop(self) -> None:
        """The HTTP server stops it."""

    def marks(self) -> Mapping[str, float]:
        """No loop of its own."""
        return {}

    async def ready(self) -> str | None:
        """Always."""
        return None


def simulator_server(settings: Settings, host: str, port: int, apps: AppBook | None) -> SimulatorServer:
    """A stand-in that knows the apps configured, or any when none is; no page need share the cards."""
    faults = Path(settings.simulator_faults) if settings.simulator_faults else None
    server = SimulatorServer(
        host,
        port,
        apps=apps.secrets() if apps else {},
        accept_any_app=apps is None,
        auto_declare=True,
        faults_file=faults,
    )
    server.shell.read_faults_file()
    return server


def warn_about(server: SimulatorServer, host: str, faults: str) -> None:
    """Tell, once it serves, who can reach it, and what is wrong with its file of faults."""
    if not is_loopback(host):
        LOG.warning("other machines can reach the simulator, and it obeys whoever does", host=host)
    if server.shell.file_error:
        LOG.warning("the file of faults cannot be used", path=faults, error=server.shell.file_error)
    elif faults and not Path(faults).exists():
        LOG.warning("the file of faults does not exist; it is read once it does", path=faults)
