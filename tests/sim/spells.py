"""Faults that come at their time and may last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.actors import SECRETS
from tests.sim.weather import LENGTH

if TYPE_CHECKING:
    from tests.sim.world import World

SLOTS = 4


class Spells:
    """Set up when a schedule begins."""

    def __init__(self, world: World) -> None:
        self.world = world

    def cast(self) -> None:
        """Faults that come at their time."""
        for name in ("store_outage", "broker_outage", "token_revoked", "rebalance"):
            if self.world.struck_by(name):
                self.world.loop.later(self.world.tape.share() * LENGTH, getattr(self, f"_{name}"))
        for name, code in (("minute_quota", "45011"), ("daily_quota", "45009"), ("ip_refused", "40164")):
            if self.world.struck_by(name):
                self.world.loop.later(self.world.tape.share() * (LENGTH - 10), self._refuse, code, name)
        for name in ("timed_kill", "timed_pause", "drain"):
            if self.world.struck_by(name):
                for _ in range(1 + self.world.tape.pick(3)):
                    at, slot = self.world.tape.share() * (LENGTH - 1), self.world.tape.pick(SLOTS)
                    self.world.loop.later(at, self._strike, name, slot)

    def _strike(self, name: str, slot: int) -> None:
        for actor in self.world.hosts.actors:
            if actor.slot == slot and not (actor.process.dead or actor.process.paused or actor.stopping):
                if name == "timed_kill":
                    self.world.hosts.kill(actor)
                elif name == "timed_pause":
                    self.world.hosts.pause(actor, self.world.hosts.how_long())
                elif hasattr(actor, "store"):
                    self.world.hosts.spawn(self.world.hosts.drain(actor))

    def _store_outage(self) -> None:
        self.world.tell("the store", "is away")
        self.world.store_away = True
        self.world.loop.later(1 + self.world.tape.share() * 30, self._store_back)

    def _store_back(self) -> None:
        self.world.store_away = False

    def _broker_outage(self) -> None:
        self.world.tell("the broker", "is away")
        self.world.broker.away = True
        self.world.loop.later(1 + self.world.tape.share() * 20, self._broker_back)

    def _broker_back(self) -> None:
        self.world.broker.away = False

    def _token_revoked(self) -> None:
        for appid in SECRETS:
            self.world.model.tokens.revoke(appid)

    def _rebalance(self) -> None:
        self.world.broker.rebalance()

    def _refuse(self, code: str, name: str) -> None:
        self.world.tell("wechat", "refuses everything:", name)
        self.world.refusing = code
        self.world.loop.later(1 + self.world.tape.share() * 40, self._accept)

    def _accept(self) -> None:
        self.world.refusing = ""
