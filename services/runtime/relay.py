"""The outbox relay: what transactions left for Kafka, in order, at least once (design.md §5)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import structlog

from contracts.changes import CONTENT_TYPE
from contracts.records import decode_record
from contracts.topics import Topics
from services.kafka.oversized import fitted, publish_letters
from services.kafka.ports import Bus, BusUnavailable, Message
from services.runtime.backoff import wait_after
from services.runtime.ports import SELDOM, Chance, Clock
from services.runtime.settings import Settings
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.store.rows import CHANGES, DEAD, EVENTS, PAGE_SIZE, OutboxRow

LOG = structlog.get_logger("livecard.relay")

GATHER: Final = 0.05
"""Seconds for which a kicked relay gathers what else comes: one change costs as much as a hundred."""
PAGE: Final = 2000
"""Rows read, published and deleted together."""
FIRST_WAIT: Final = 0.2
"""Seconds after a first failure, doubled up to `LONGEST_WAIT`."""
LONGEST_WAIT: Final = 5.0
"""Seconds between tries while the store or the broker is away."""
RELEASE_DEADLINE: Final = 3.0
"""Seconds for giving the shards back at the end; their leases run out anyway."""

_HEADERS: Final = (("content-type", CONTENT_TYPE.encode()),)


class RelayMetrics(Protocol):
    """What the relay tells telemetry."""

    def published(self, topic: str, rows: int) -> None:
        """Rows acknowledged by the broker; `topic` by role (`changes`, `dead`, `events`)."""
        ...

    def relay_failed(self) -> None:
        """A round failed; it will be repeated."""
        ...


class SilentRelay:
    """Tells nobody."""

    def published(self, topic: str, rows: int) -> None:
        """Nothing."""

    def relay_failed(self) -> None:
        """Nothing."""


class Relay:
    """One per process. Holds shards by lease, so that one process at a time relays an activity.

    Order: rows of an activity are read by seq and published a page at a time, a page only after the
    one before was acknowledged. A relay that lost its lease unawares repeats, but never overtakes:
    what it publishes late begins with rows that others published already.
    """

    name = "relay"

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        clock: Clock,
        chance: Chance,
        settings: Settings,
        topics: Topics,
        owner: str,
        metrics: RelayMetrics | None = None,
        page: int = PAGE,
    ) -> None:
        self._store, self._bus = store, bus
        self._clock, self._chance = clock, chance
        self._poll, self._lease = settings.relay_poll, settings.relay_lease
        self._topics = {CHANGES: topics.changes, DEAD: topics.dead, EVENTS: topics.events}
        self._owner, self._page = owner, page
        self._metrics: RelayMetrics = metrics or SilentRelay()
        self._shards: list[int] = []
        self._held_until = float("-inf")
        self._renew_at = float("-inf")
        self._wake = asyncio.Event()
        self._stopping = self._more = False
        self._waiting: str | None = None
        self._moved = clock.monotonic()

    def kick(self) -> None:
        """Look at the outbox now rather than at the next poll."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the page in hand, publish what else is there, give the shards back."""
        self._stopping = True
        self._wake.set()

    def marks(self) -> Mapping[str, float]:
        """When the loop last went round."""
        return {"relay": self._moved}

    async def ready(self) -> str | None:
        """None unless the store took no round; its output topics need not exist (design.md §7)."""
        return self._waiting

    async def run(self) -> None:
        """Relay until `stop`; neither a store nor a broker that is away ends it."""
        failures = 0
        while True:
            stopping = self._stopping
            self._wake.clear()
            try:
                while await self.round() and self._more:
                    self._moved = self._clock.monotonic()
                failures, wait, self._waiting = 0, self._poll, None
            except (BusUnavailable, StoreUnavailable, StoreRejected) as error:
                failures, wait = self._failed(failures)
                self._waiting = None if isinstance(error, BusUnavailable) else str(error)
                LOG.warning(
                    "changes wait in the outbox", error=str(error), again_in=round(wait, 1), every=SELDOM
                )
            except Exception:
                failures, wait = self._failed(failures)
                LOG.exception("unexpected failure of the relay", again_in=round(wait, 1), every=SELDOM)
            self._moved = self._clock.monotonic()
            if stopping:
                break
            await self._rest(wait, ignore_kicks=failures > 0)
        await self._release()

    async def round(self) -> int:
        """One page: read, publish, delete. Answers how many rows it was."""
        await self._hold()
        if not self._shards:
            return 0
        rows = await self._store.outbox(self._shards, self._page)
        self._more = self._cut_short(rows)
        if not rows or not self._holds():
            return 0
        refused: BusUnavailable | None = None
        for role, each in _by_role(rows).items():
            self._moved = self._clock.monotonic()
            try:
                await self._publish(role, [_message(row) for row in each])
            except BusUnavailable as error:
                refused = error  # the other topic need not wait, nor what it took be published again
                continue
            self._metrics.published(role, len(each))
            await self._store.delete_outbox([row.seq for row in each])
        if refused is not None:
            raise refused
        return len(rows)

    async def _publish(self, role: str, messages: Sequence[Message]) -> None:
        if role == DEAD:
            await publish_letters(self._bus, self._topics[role], messages)
        else:
            await self._bus.publish(self._topics[role], messages)

    def _cut_short(self, rows: Sequence[OutboxRow]) -> bool:
        """Whether more may wait: a page ends by its rows or by its bytes (a character has up to 4)."""
        return len(rows) == self._page or 4 * sum(len(row.body) for row in rows) >= PAGE_SIZE

    async def _hold(self) -> None:
        """Renew the lease when a third of it is gone. It counts from before it was asked for."""
        asked = self._clock.monotonic()
        if asked < self._renew_at:
            return
        self._shards = await self._store.lease_shards(self._owner, round(self._lease * 1_000_000))
        self._held_until = asked + self._lease
        self._renew_at = asked + self._lease / 3

    def _holds(self) -> bool:
        """By the monotonic clock, whether what was read may still be published by us."""
        return self._clock.monotonic() < self._held_until

    def _failed(self, failures: int) -> tuple[int, float]:
        self._metrics.relay_failed()
        failures += 1
        return failures, wait_after(failures, FIRST_WAIT, LONGEST_WAIT, self._chance.random())

    async def _rest(self, seconds: float, *, ignore_kicks: bool) -> None:
        """Wait for the next poll or a kick; after a failure a kick does not shorten the wait."""
        try:
            async with asyncio.timeout(seconds):
                while ignore_kicks and not self._stopping:
                    await self._wake.wait()
                    self._wake.clear()
                if not ignore_kicks:
                    await self._wake.wait()
                    if not self._stopping:
                        await asyncio.sleep(GATHER)
        except TimeoutError:
            pass

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(RELEASE_DEADLINE):
                await self._store.release_shards(self._owner)
        except (StoreUnavailable, StoreRejected, TimeoutError) as error:
            LOG.info("the shards were not given back: their leases run out", error=str(error))


def _by_role(rows: Sequence[OutboxRow]) -> dict[str, list[OutboxRow]]:
    """The rows of each topic, in order."""
    roles: dict[str, list[OutboxRow]] = {}
    for row in rows:
        roles.setdefault(row.topic, []).append(row)
    return roles


def _message(row: OutboxRow) -> Message:
    if row.topic == DEAD:
        record = decode_record(row.body)
        return fitted(Message(record.key, record.value, record.headers))
    return Message(row.activity_id.encode(), row.body.encode(), _HEADERS)
