"""Faults that come at their time and may last."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tests.verification.sim.actors import SECRETS
from tests.verification.sim.weather import LENGTH, REFUSALS

if TYPE_CHECKING:
    from tests.verification.sim.world import World

SLOTS: Final = 4


class Spells:
    """Set up when a schedule begins."""

    def __init__(self, world: World) -> None:
        self.world = world

    def cast(self) -> None:
        """Faults that come at their time."""
        for name in ("store_outage", "broker_outage", "token_revoked", "rebalance"):
            if self.world.struck_by(name):
                self.world.loop.later(self.world.tape.share() * LENGTH, getattr(self, f"_{name}"))
        self._cast_on_wechat()
        for name in ("redeliver", "replay", "gates_opened", "quota_saved"):
            if self.world.struck_by(name):
                for _ in range(1 + self.world.tape.pick(3)):
                    at = self.world.tape.share() * LENGTH
                    self.world.loop.later(at, self.world.hosts.command, name)
        for name in ("timed_kill", "timed_pause", "drain"):
            if self.world.struck_by(name):
                for _ in range(1 + self.world.tape.pick(3)):
                    at, slot = self.world.tape.share() * (LENGTH - 1), self.world.tape.pick(SLOTS)
                    self.world.loop.later(at, self._strike, name, slot)

    def _cast_on_wechat(self) -> None:
        for name in REFUSALS:
            if self.world.struck_by(name):
                self.world.loop.later(self.world.tape.share() * (LENGTH - 10), self._refuse, name)
        for name in ("app_missing", "secret_wrong"):
            if self.world.struck_by(name):
                at = max(0.0, self.world.tape.share() * LENGTH - 10)
                appid = sorted(SECRETS)[self.world.tape.pick(len(SECRETS))]
                self.world.loop.later(at, getattr(self, f"_{name}"), appid)

    def _strike(self, name: str, slot: int) -> None:
        hosts = self.world.hosts
        for actor in hosts.actors:
            if actor.slot == slot and not (actor.process.dead or actor.process.paused or actor.stopping):
                self.world.hit(name)
                if name == "timed_kill":
                    hosts.kill(actor)
                elif name == "timed_pause":
                    hosts.pause(actor, hosts.how_long())
                else:
                    hosts.spawn(hosts.drain(actor))

    def _store_outage(self) -> None:
        self.world.tell("the store", "is away")
        self.world.store_away = self.world.loop.steps
        self._over_in(30, self._store_back)

    def _store_back(self) -> None:
        self.world.store_away = 0

    def _broker_outage(self) -> None:
        self.world.tell("the broker", "is away")
        self.world.broker.away = self.world.loop.steps
        self._over_in(20, self._broker_back)

    def _broker_back(self) -> None:
        self.world.broker.away = 0

    def _token_revoked(self) -> None:
        for appid in SECRETS:
            if self.world.model.tokens.revoke(appid):
                self.world.hit("token_revoked")

    def _rebalance(self) -> None:
        if self.world.broker.group:
            self.world.hit("rebalance")
        self.world.broker.rebalance()

    def _refuse(self, name: str) -> None:
        self.world.tell("wechat", "refuses everything:", name)
        self.world.refusing = name
        self._over_in(40, self._accept)

    def _accept(self) -> None:
        self.world.refusing = ""

    def _app_missing(self, appid: str) -> None:
        self.world.tell("the apps file", "does not name", appid)
        self._write(appid, None, "app_missing")

    def _secret_wrong(self, appid: str) -> None:
        self.world.tell("the apps file", "has a wrong secret for", appid)
        self._write(appid, "wrong", "secret_wrong")

    def _write(self, appid: str, secret: str | None, name: str) -> None:
        """Until somebody sees that it is wrong."""
        self.world.hit(name)
        secrets = {**self.world.apps_file.secrets, appid: secret}
        self.world.apps_file.write({each: known for each, known in secrets.items() if known is not None})
        self._over_in(30, lambda: self.world.apps_file.write(dict(SECRETS)))

    def _over_in(self, most: float, then: Callable[[], None]) -> None:
        """Every spell ends."""
        self.world.loop.later(1 + self.world.tape.share() * most, then)
