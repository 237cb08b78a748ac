"""Composition root: the stand-in for WeChat as something that starts, has a URL, and stops."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from services.runtime.clock import RealClock
from services.runtime.http import HEALTH_ROUTES, HealthAnswers
from services.runtime.ports import Chance, Clock
from services.simulator.acting import Acting
from services.simulator.behaviour import Behaviour
from services.simulator.control import Control
from services.simulator.faults import Faults
from services.simulator.memory import Memory
from services.simulator.model import WeChatModel
from services.simulator.pages import page_routes
from services.simulator.shell import Shell
from services.simulator.stream import Stream

LARGEST_BODY: Final = 1 << 20
"""Bytes of a request."""


class SimulatorServer:
    """WeChat's servers on a local port, the chat's page at `/`, and `/control`.

    `chance` decides tokens, ids and rids; `faults_file` holds fault rules and is read again on change.
    `health` answers `/healthz`, `/readyz` and `/metrics`, where it is a process of its own.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        apps: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        behaviour: Behaviour | None = None,
        accept_any_app: bool = False,
        auto_declare: bool = False,
        faults_file: Path | None = None,
        reseed: Callable[[int], Chance] = random.Random,
        health: HealthAnswers | None = None,
    ) -> None:
        behaviour = behaviour or Behaviour()
        behaviour.accept_any_app |= accept_any_app
        behaviour.auto_declare |= auto_declare
        chance = chance or random.Random()
        self.host, self.port, self.health = host, port, health
        self.model = WeChatModel(apps or {}, chance, behaviour)
        self.faults = Faults(chance)
        self.shell = Shell(self.model, self.faults, clock or RealClock(), reseed, faults_file)
        self.acting = Acting(self.shell)
        self.stream = Stream(self.shell, self.acting.means)
        self._runner: web.AppRunner | None = None

    def remember(self, path: Path) -> None:
        """Take up the cards of this file, and keep them in it from now on. Raises `MemoryFileError`."""
        memory = Memory(path)
        memory.recall(self.model)
        self.shell.memory = memory

    @property
    def url(self) -> str:
        """The base URL, once started."""
        return f"http://{self.host}:{self.port}"

    def routes(self) -> list[web.RouteDef]:
        """The page, `/control`, and everything else as WeChat answers it. Add them last."""
        wechat = web.route("*", r"/{any:(?!(?:healthz|readyz|metrics)$).*}", self.shell.answer)
        control = Control(self.shell, self.acting, self.stream)
        return [*page_routes(), *control.routes(), wechat]

    async def start(self) -> None:
        """Listen. Raises OSError for a port in use or an address that is not ours."""
        application = web.Application(client_max_size=LARGEST_BODY)
        health = [web.get(path, self._well) for path in HEALTH_ROUTES if path != "/metrics" or self.health]
        application.add_routes([*health, *self.routes()])
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port, backlog=1024).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def _well(self, request: web.Request) -> web.Response:
        found = await self.health.answer(request.path) if self.health else None
        if found is None:
            return web.json_response({"ready": True})
        headers = {"Content-Type": found.content_type}
        return web.Response(body=found.body, status=found.status, headers=headers)

    async def stop(self) -> None:
        """Let go of who hangs, drop what was to be applied later, stop listening."""
        self.stream.close()
        self.shell.release()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self.acting.close()
        if self.shell.memory is not None:
            self.shell.memory.close()
            self.shell.memory = None
