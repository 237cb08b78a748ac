"""However long an outage, the next try is never further away than the cap: every loop, in virtual time.

What keeps trying is the real code; what is away is in the test's hand. `outage` goes up to two hours.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaConnectionError
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from contracts.topics import Topics
from services.clock import clock as timers
from services.clock.clock import TimerClock
from services.dispatcher import dispatcher as claims
from services.dispatcher import settler
from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.metrics import NoMetrics
from services.dispatcher.settler import Settler
from services.kafka import nudges
from services.kafka.nudges import NudgeConsumer
from services.kafka.ports import BusUnavailable
from services.lifecycle import consumer, ingest
from services.lifecycle.consumer import Consumer
from services.lifecycle.ingest import Ingest
from services.runtime import relay
from services.runtime.backoff import wait_after
from services.runtime.metrics import Metrics
from services.runtime.process import delivery_rules
from services.runtime.relay import Relay
from services.runtime.settings import Settings
from services.store.ports import StoreUnavailable
from statemachine.card import DeliveryRules
from statemachine.model import Rules
from tests.dispatcher.world import BASE, VirtualLoop
from tests.lifecycle.support import record
from tests.verification.dict_store.store import MemoryStore

SETTINGS = Settings(kafka="127.0.0.1:9", apps='{"wx1": "s"}')


class Outage:
    """Something that answers again `lasts` seconds after the beginning; knows when it was asked."""

    def __init__(self, lasts: float) -> None:
        self.lasts = lasts
        self.asked: list[float] = []
        self.over = asyncio.Event()

    def ask(self, error: Exception) -> None:
        """Note the time; raise `error` while it lasts."""
        now = asyncio.get_running_loop().time()
        self.asked.append(now)
        if now < self.lasts:
            raise error
        self.over.set()

    def monotonic(self) -> float:
        """The clock of everybody here."""
        return asyncio.get_running_loop().time()

    def wall(self) -> int:
        """The same, for people."""
        return BASE + round(self.monotonic() * 1_000_000)


class AwayStore(MemoryStore):
    """The dict store, away for a while."""

    def __init__(self, outage: Outage) -> None:
        super().__init__(outage.wall)
        self._outage = outage

    def transaction(self) -> Any:
        return self._away()

    @asynccontextmanager
    async def _away(self) -> Any:
        self._outage.ask(StoreUnavailable("away"))
        async with super().transaction() as tx:
            yield tx

    async def lease_shards(self, owner: str, lease: int) -> list[int]:
        self._outage.ask(StoreUnavailable("away"))
        return await super().lease_shards(owner, lease)


class AwayBus:
    """A bus that is away for a while."""

    def __init__(self, outage: Outage | None) -> None:
        self._outage = outage

    async def publish(self, _topic: str, _messages: Any) -> None:
        if self._outage is not None:
            self._outage.ask(BusUnavailable("away"))

    def nudge(self, _topic: str, _messages: Any, _headers: Any = None) -> None:
        """Taken."""

    def kick(self) -> None:
        """Heard."""


class _Apps:
    def names(self, _appid: str) -> bool:
        return True

    def appids(self) -> list[str]:
        return ["wx1"]

    def refresh(self) -> set[str]:
        return set()


async def lifecycle_store(outage: Outage, chance: random.Random) -> None:
    """A batch in hand."""
    await an_ingest(AwayStore(outage), None, outage, chance).take([record(1, b"")])


async def lifecycle_broker(outage: Outage, chance: random.Random) -> None:
    """A dead letter in hand."""
    await an_ingest(MemoryStore(outage.wall), outage, outage, chance).take([record(1, b"")])


def an_ingest(store: Any, bus: Outage | None, outage: Outage, chance: random.Random) -> Ingest:
    return Ingest(
        store=store,
        bus=AwayBus(bus),
        relay=AwayBus(None),
        clock=outage,
        chance=chance,
        topics=Topics(),
        rules=Rules(),
    )


async def lifecycle_group(outage: Outage, chance: random.Random) -> None:
    """Joining the consumer group."""

    class Joining:
        def __init__(self, *_: Any) -> None:
            self.broken = None

        async def start(self) -> None:
            outage.ask(KafkaConnectionError("away"))
            await asyncio.Event().wait()

        async def stop(self, _patience: float) -> None:
            """Left."""

    store = MemoryStore(outage.wall)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consumer, "Subscription", Joining)
        await Consumer(
            settings=SETTINGS,
            topics=Topics(),
            ingest=an_ingest(store, None, outage, chance),
            store=store,
            clock=outage,
            chance=chance,
        ).run()


async def clock_store(outage: Outage, chance: random.Random) -> None:
    """The timers' loop."""
    await TimerClock(
        store=AwayStore(outage),
        bus=AwayBus(None),
        relay=AwayBus(None),
        clock=outage,
        chance=chance,
        settings=SETTINGS,
        rules=Rules(),
        metrics=Metrics(),
    ).run()


async def dispatcher_claims(outage: Outage, chance: random.Random) -> None:
    """Claims; the gatekeeper, which asks at its own pace, does so once."""
    dispatcher = Dispatcher(
        holder="d",
        store=AwayStore(outage),
        wechat=None,  # type: ignore[arg-type]  # nothing is ever called
        apps=_Apps(),
        relay=AwayBus(None),
        clock=outage,
        chance=chance,
        settings=msgspec.structs.replace(SETTINGS, sweep=100_000.0),
        rules=delivery_rules(SETTINGS),
        metrics=NoMetrics(),
    )
    await dispatcher.run()


async def dispatcher_settler(outage: Outage, chance: random.Random) -> None:
    """Results in hand."""

    async def settle(*_: Any) -> list[Any]:
        outage.ask(StoreUnavailable("away"))
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settler, "settle", settle)
        each = Settler(
            store=MemoryStore(outage.wall),
            rules=DeliveryRules(),
            clock=outage,
            chance=chance,
            metrics=NoMetrics(),
            settled=lambda *_: None,
            given_up=lambda *_: None,
        )
        patch.setattr(each, "_tell", lambda *_: None)
        each.put(None)  # type: ignore[arg-type]  # nobody looks into it
        await each.run()


async def dispatcher_nudges(outage: Outage, _chance: random.Random) -> None:
    """Joining the nudges' group."""

    class Joining(NudgeConsumer):
        async def _serve(self, options: dict[str, Any]) -> None:
            assert options
            outage.ask(KafkaConnectionError("away"))
            await asyncio.Event().wait()

    each = Joining(SETTINGS, "g", lambda _: None, outage)
    await each.start()
    try:
        await asyncio.Event().wait()
    finally:
        await each.stop()


async def relay_store(outage: Outage, chance: random.Random) -> None:
    """The outbox, unreadable."""
    store = AwayStore(outage)
    await Relay(
        store=store,
        bus=AwayBus(None),
        clock=outage,
        chance=chance,
        settings=SETTINGS,
        topics=Topics(),
        owner="r",
    ).run()


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 0.2), (2, 0.4), (3, 0.8), (5, 3.2), (6, 5.0), (11, 5.0), (10_000, 5.0)]
)
def test_a_wait_doubles_up_to_the_cap_and_is_from_half_to_all_of_that(failures: int, longest: float) -> None:
    """The first failure waits `first`; no outage is too long to be reckoned with."""
    waits = [wait_after(failures, 0.2, 5.0, jitter) for jitter in (0.0, 0.5, 1.0)]
    assert waits == pytest.approx([longest / 2, longest * 3 / 4, longest])


CASES: list[tuple[Callable[[Outage, random.Random], Awaitable[None]], float, float]] = [
    (lifecycle_store, ingest.LONGEST_WAIT, ingest.FIRST_WAIT),
    (lifecycle_broker, ingest.LONGEST_WAIT, ingest.FIRST_WAIT),
    (lifecycle_group, consumer.LONGEST_WAIT, consumer.FIRST_WAIT),
    (clock_store, timers.LONGEST_WAIT, timers.FIRST_WAIT),
    (dispatcher_claims, claims.LONGEST_WAIT, claims.FIRST_WAIT),
    (dispatcher_settler, settler.LONGEST_WAIT, settler.FIRST_WAIT),
    (dispatcher_nudges, nudges.WAIT, nudges.WAIT),
    (relay_store, relay.LONGEST_WAIT, relay.FIRST_WAIT),
]


@pytest.mark.parametrize(("trying", "cap", "first"), CASES, ids=lambda case: getattr(case, "__name__", None))
@given(lasts=st.floats(0.01, 7_200.0), seed=st.integers(0, 2**32))
@examples(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_next_try_is_never_further_away_than_the_cap(
    trying: Callable[[Outage, random.Random], Awaitable[None]],
    cap: float,
    first: float,
    lasts: float,
    seed: int,
) -> None:
    """From one try to the next, and from the return to the first that succeeds; nor does it hammer."""

    async def watch() -> list[float]:
        outage = Outage(lasts)
        trial = asyncio.ensure_future(trying(outage, random.Random(seed)))
        waiting = asyncio.create_task(outage.over.wait())
        await asyncio.wait([trial, waiting], timeout=lasts + 10 * cap, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        trial.cancel()
        with suppress(asyncio.CancelledError):
            await trial
        return outage.asked

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        asked = runner.run(watch())
    slack = 1.0  # a loop's own step between two tries
    assert asked[-1] >= lasts, "it gave up"
    assert asked[-1] - lasts <= cap + slack
    assert all(after - before <= cap + slack for before, after in pairwise(asked))
    assert len(asked) <= 2 * lasts / cap + 10 + lasts / max(first, cap / 2)
