"""The gateway, as far as rooms and creations go, and the page that asks it until it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from services.gateway.dependencies import Gateway as Parts
from services.gateway.once import Asked
from services.gateway.problems import Problem
from services.gateway.routes.creations import create
from services.runtime.process import delivery_rules
from services.store.ports import Store, StoreUnavailable
from services.transactions.bind import bind
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from tests.verification.sim.actors import Actor
from tests.verification.sim.wechat import SimTransport
from tests.verification.sim.wishes import CALLER, Wish

if TYPE_CHECKING:
    from tests.verification.sim.script import Becomes
    from tests.verification.sim.world import World

PATIENCE: Final = 5.0
"""Seconds until a page that got no answer asks again."""


class Uncounted:
    """Counts nothing."""

    def created(self, outcome: str) -> None:
        """Nothing."""


class Gateway(Actor):
    """One process, with its relay. Killed, it forgets what it was asked."""

    role = "gateway"

    def build(self) -> None:
        """One request after the other."""
        self._asked: asyncio.Queue[Becomes | Wish] = asyncio.Queue()
        self.parts = self._parts() if self.world.weather.wishes else None
        self.run("gateway", self._serve())

    def ask(self, who: Becomes) -> None:
        """Somebody opened the mini program."""
        self._asked.put_nowait(who)

    def wish(self, wish: Wish) -> None:
        """Somebody wants an activity."""
        self._asked.put_nowait(wish)

    def _parts(self) -> Parts:
        world, unused = self.world, cast("Any", None)
        file: Any = world.apps_file
        apps = AppBook(dict(file.secrets), file)
        wechat = WeChatClient(
            "http://wechat",
            apps,
            self.clock,
            in_flight=world.settings.in_flight,
            deadline=world.settings.call_deadline,
            transport=SimTransport(self),
        )
        return Parts(
            store=cast("Store", self.store),
            wechat=wechat,
            apps=apps,
            clock=self.clock,
            chance=self.chance,
            relay=self.relay,
            settings=world.settings,
            metrics=cast("Any", Uncounted()),
            feed=unused,
            rules=delivery_rules(world.settings),
        )

    async def _create(self, wish: Wish) -> None:
        assert self.parts is not None
        asked = Asked("POST", "/v1/activities", wish.key, msgspec.json.encode(wish.body))
        try:
            reply = await create(asked, self.parts, CALLER)
        except (StoreUnavailable, Problem):
            return  # 409 or 503: the caller asks again
        await self.world.port(self)  # or it dies before it answers
        self.world.callers.answered(wish, reply)

    async def _serve(self) -> None:
        while True:
            who = await self._asked.get()
            await self.world.port(self)
            if isinstance(who, Wish):
                await self._create(who)
                continue
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
