"""The gateway, as far as rooms go, and the page that asks it until it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from services.store.ports import StoreUnavailable
from services.transactions.bind import bind
from tests.verification.sim.actors import Actor

if TYPE_CHECKING:
    from tests.verification.sim.script import Becomes
    from tests.verification.sim.world import World

PATIENCE: Final = 5.0
"""Seconds until a page that got no answer asks again."""


class Gateway(Actor):
    """One process, with its relay. Killed, it forgets what it was asked."""

    role = "gateway"

    def build(self) -> None:
        """One request after the other."""
        self._asked: asyncio.Queue[Becomes] = asyncio.Queue()
        self.run("gateway", self._serve())

    def ask(self, who: Becomes) -> None:
        """Somebody opened the mini program."""
        self._asked.put_nowait(who)

    async def _serve(self) -> None:
        while True:
            who = await self._asked.get()
            await self.world.port(self)
            try:
                waited = await bind(self.store, who.appid, who.room, who.openid, who.member)
            except StoreUnavailable:
                continue  # 503: the page asks again
            if waited:
                self.relay.kick()
            await self.world.port(self)  # or it dies before it answers
            self.world.pages.answered(who)


class Pages:
    """Everybody's mini program."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.unanswered: list[Becomes] = []

    def open(self, who: Sequence[Becomes]) -> None:
        """Each at his time."""
        self.unanswered = [*who]
        for each in who:
            self._world.loop.later(each.at, self._ask, each)

    def answered(self, who: Becomes) -> None:
        """He is known; now and then he opens the page once more."""
        if who in self.unanswered:
            self.unanswered.remove(who)
            if not self._world.tape.pick(4):
                self._world.loop.later(self._world.tape.share() * 10, self._world.hosts.gateway().ask, who)

    def _ask(self, who: Becomes) -> None:
        if who in self.unanswered:
            self._world.tell("a page", "asks who is", who.openid, "in", who.room)
            self._world.hosts.gateway().ask(who)
            self._world.loop.later(PATIENCE, self._ask, who)
