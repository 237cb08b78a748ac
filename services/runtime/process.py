"""What a process opens once and hands to every service in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from contracts.topics import Topics
from services.kafka.ports import Bus
from services.runtime.metrics import Metrics
from services.runtime.ports import Chance, Clock, Kick
from services.runtime.settings import Settings
from services.store.ports import Store
from services.tracing.ports import Traces
from statemachine.card import DeliveryRules
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


@runtime_checkable
class HasApi(Protocol):
    """A service that also answers requests, on the address of the process."""

    @property
    def asgi(self) -> Any:
        """The ASGI application."""
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
    traces: Traces | None = None

    @property
    def topics(self) -> Topics:
        """The topics' names."""
        return Topics(self.settings.topic_prefix)

    @property
    def rules(self) -> Rules:
        """The settings that decide states."""
        return state_rules(self.settings)

    @property
    def delivery_rules(self) -> DeliveryRules:
        """The settings that decide calls."""
        return delivery_rules(self.settings)


def state_rules(settings: Settings) -> Rules:
    """The settings that decide states, as their machines take them."""
    return Rules(margin=settings.us("expiry_margin"), expiring=settings.us("expiring"))


def delivery_rules(settings: Settings) -> DeliveryRules:
    """The settings that decide calls, as the delivery machine takes them."""
    return DeliveryRules(
        lease=settings.us("lease"),
        coalesce=settings.us("coalesce"),
        backoff=settings.us("backoff"),
        backoff_cap=settings.us("backoff_cap"),
        repair_after=settings.us("repair_after"),
        end_wait=settings.us("end_wait"),
        margin=settings.us("expiry_margin"),
        expiring=settings.us("expiring"),
        probe=settings.us("probe"),
        members_per_call=settings.members_per_call,
        unknown_code_attempts=settings.unknown_code_attempts,
    )
