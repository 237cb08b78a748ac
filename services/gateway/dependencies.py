"""What every route is handed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from litestar.di import NamedDependency
from litestar.params import PathParameter

from services.gateway.feed import Feed
from services.gateway.keys import Caller
from services.gateway.pauses import Pauses
from services.gateway.places import Places
from services.gateway.session_keys import SessionKeys
from services.runtime.metrics import Metrics
from services.runtime.ports import Chance, Clock, Kick
from services.runtime.settings import Settings
from services.store.ports import Store
from services.tracing.ports import Traces
from services.wechat.client import WeChatClient
from services.wechat.ports import Keepers
from statemachine.card import DeliveryRules


class Seal(Protocol):
    """Encrypts what the store may not keep in plain. `about` is bound to it and kept nowhere."""

    def seal(self, plain: bytes, about: bytes) -> str:
        """The sealed text."""
        ...

    def unseal(self, sealed: str, about: bytes) -> bytes | None:
        """What was sealed; None where the key is gone, or it is about something else."""
        ...


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts of the process, as routes take them (the dependency `gateway`)."""

    store: Store
    wechat: WeChatClient
    apps: Keepers
    clock: Clock
    chance: Chance
    relay: Kick
    settings: Settings
    metrics: Metrics
    feed: Feed
    traces: Traces | None = None
    """None: nobody draws them."""
    session_keys: SessionKeys | None = None
    """None: no sessions here."""
    pauses: Pauses = field(default_factory=Pauses)
    places: Places = field(default_factory=Places)
    rules: DeliveryRules = field(default_factory=DeliveryRules)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the gateway drains: whoever streams ends then."""


TheGateway = NamedDependency[Gateway]
"""How a route takes the parts: `gateway: TheGateway`."""
TheCaller = NamedDependency[Caller]
"""How it takes who calls: `caller: TheCaller`."""
ActivityId = Annotated[
    str, PathParameter(description="The activity's id, percent-encoded (a slash is `%2F`).")
]
"""How it takes an id of its path: `activity_id: ActivityId`. It is decoded."""
