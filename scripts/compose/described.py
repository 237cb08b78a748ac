"""docker-compose.yml as far as it says what runs: commands, variables, order, volumes, ports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

import yaml

FILE: Final = Path(__file__).resolve().parents[2] / "docker-compose.yml"
_URL: Final = re.compile(r"http://127\.0\.0\.1:(\d+)(/[^'\"\s]*)")


@dataclass(frozen=True)
class Described:
    """One service of the file."""

    name: str
    ours: bool
    """Whether it runs our image."""
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    """Services that it waits for, and for what of theirs."""
    published: dict[int, int] = field(default_factory=dict)
    """Port in the container → port of this machine."""
    volumes: dict[str, str] = field(default_factory=dict)
    """Folder in the container → name of a volume, or a folder beside the file that begins with `./`."""
    asked: tuple[int, str] | None = None
    """Port and path that its health check asks, if it asks over HTTP."""

    @property
    def ends(self) -> bool:
        """Whether it does something and is done."""
        return self.asked is None and self.ours


def read(path: Path = FILE) -> dict[str, Described]:
    """Every service by its name."""
    services = yaml.safe_load(path.read_text("utf-8"))["services"]
    return {name: _described(name, service) for name, service in services.items()}


def rounds(services: Mapping[str, Described]) -> list[list[str]]:
    """The order of starting: what stands in one list starts together, once what came before is ready."""
    graph = TopologicalSorter({name: set(each.needs) & set(services) for name, each in services.items()})
    graph.prepare()
    order = []
    while graph.is_active():
        ready = sorted(graph.get_ready())
        order.append(ready)
        graph.done(*ready)
    return order


def _described(name: str, service: Mapping[str, Any]) -> Described:
    ports = [port.split(":") for port in service.get("ports", [])]
    volumes = [volume.split(":") for volume in service.get("volumes", [])]
    asked = _URL.search(" ".join(service.get("healthcheck", {}).get("test", [])))
    return Described(
        name=name,
        ours="build" in service,
        command=list(service.get("command", [])),
        environment={key: str(value) for key, value in service.get("environment", {}).items()},
        needs={other: on["condition"] for other, on in service.get("depends_on", {}).items()},
        published={int(inside): int(outside) for _, outside, inside in ports},
        volumes={inside: what for what, inside, *_ in volumes},
        asked=(int(asked[1]), asked[2]) if asked else None,
    )
