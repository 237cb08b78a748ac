"""What a process opens once and hands to every service in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from contracts.topics import Topics
from services.kafka.ports import Bus
from services.runtime.metrics import Metrics
from services.runtime.ports import Chance, Clock, Kick
from services.runtime.settings import Settings
from services.store.ports import Store
from services.transactions.claim import CardRules
from statemachine.model import Rules


class Service(Protocol):
    """One service, or one part of the process that runs like one."""

    @property
    def name(self) -> str:
        """What health, logs and metrics call it."""
        ...

    async def run(self) -> None:
        """Serve until `stop`, then finish what is in hand and return."""
        ...

    def stop(self) -> None:
        """Ask for the end: take nothing more."""
        ...

    def marks(self) -> Mapping[str, float]:
        """For each loop that must keep moving, when (monotonic seconds) it last did."""
        ...

    async def ready(self) -> str | None:
        """None when it can do its work; otherwise what it waits for, in plain words."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """Clock, chance, store, bus and what goes with them; `name` is this run of this process."""

    name: str
    settings: Settings
    clock: Clock
    chance: Chance
    store: Store
    bus: Bus
    relay: Kick
    metrics: Metrics

    @property
    def topics(self) -> Topics:
        """The topics' names."""
        return Topics(self.settings.topic_prefix)

    @property
    def rules(self) -> Rules:
        """The settings that decide states."""
        return Rules(margin=self.settings.us("expiry_margin"))

    @property
    def card_rules(self) -> CardRules:
        """The settings that decide calls."""
        return CardRules.of(self.settings)
