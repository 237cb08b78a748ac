"""The dispatcher's loop: take keys, claim their cards, hand them to workers, settle (design.md §6)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog

from contracts.nudge import Nudge
from contracts.times import format_rfc3339
from services.dispatcher.look import GATE_CLOSING
from services.dispatcher.metrics import DispatcherMetrics
from services.dispatcher.permits import Permit, Permits
from services.dispatcher.queue import WorkQueue
from services.dispatcher.settler import Settler
from services.dispatcher.sweeper import Sweeper
from services.dispatcher.worker import Worker
from services.runtime.ports import SELDOM, Chance, Clock, Kick
from services.runtime.settings import Settings
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.store.rows import Gate
from services.transactions.claim import CardRules, Claimed, Claims, claim
from services.transactions.settle import Look, Settled
from services.wechat.ports import Apps, WeChat

LOG = structlog.get_logger("livecard.dispatcher")

REMEMBERED: Final = 100_000
"""Most keys in the queue; the sweep finds the others."""
SIGHT: Final = 4
"""A claim looks at so many times the keys it can take, so that ends and all apps get their turn."""
LOW_WATER: Final = 2
"""The next page of the sweep is asked for when so many times the calls in flight are left."""
GIVEN_BACK: Final = 0.05
"""Seconds until a card that was given back unsent is claimed again."""
SKIPPED: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between tries at a card whose row somebody else had locked; then the sweep finds it."""
IDLE: Final = 5.0
"""Seconds after which an idle loop shows that it is alive."""
LONGEST_WAIT: Final = 5.0
"""Seconds; cap of the delay between claims while the store is away."""


class Dispatcher:
    """One dispatcher of one process. Everything it needs is handed in."""

    name = "dispatcher"

    def __init__(
        self,
        *,
        holder: str,
        store: Store,
        wechat: WeChat,
        apps: Apps,
        relay: Kick,
        clock: Clock,
        chance: Chance,
        settings: Settings,
        rules: CardRules,
        metrics: DispatcherMetrics,
    ) -> None:
        self._holder, self._store = holder, store
        self._relay, self._clock, self._chance = relay, clock, chance
        self._drain_time, self._rules, self._metrics = settings.drain, rules, metrics
        self.queue = WorkQueue(clock, REMEMBERED)
        self.permits = Permits(settings.in_flight, settings.in_flight_narrow, metrics)
        self._settler = Settler(
            store=store,
            rules=rules,
            clock=clock,
            chance=chance,
            metrics=metrics,
            settled=self._settled,
            given_up=self._given_up,
        )
        self._worker = Worker(
            store=store,
            wechat=wechat,
            apps=apps,
            permits=self.permits,
            clock=clock,
            chance=chance,
            settings=settings,
            rules=rules,
            metrics=metrics,
            finished=self._finished,
        )
        self._sweeper = Sweeper(
            store=store,
            wechat=wechat,
            apps=apps,
            queue=self.queue,
            permits=self.permits,
            clock=clock,
            settings=settings,
        )
        self._tasks: dict[asyncio.Task[None], float] = {}
        self._low = LOW_WATER * settings.in_flight
        self._in_hand = 0
        self._empty = asyncio.Event()
        self._stopping = asyncio.Event()
        self._skips: dict[str, int] = {}
        self._dropped = 0
        self._failures = 0
        self._waiting = ""
        self._moved = clock.monotonic()

    def nudged(self, nudges: Iterable[Nudge]) -> None:
        """Look at these activities now."""
        for nudge in nudges:
            self.queue.add(nudge.activity_id)

    def stop(self) -> None:
        """Take nothing more; what is in hand is finished, what was not sent given back."""
        self._stopping.set()
        self._worker.stopping = True
        self.queue.woken.set()

    def marks(self) -> Mapping[str, float]:
        """When each loop last moved, and when the oldest call in hand was taken up."""
        oldest = min(self._tasks.values(), default=self._clock.monotonic())
        return {
            "loop": self._moved,
            "sweep": self._sweeper.moved,
            "settler": self._settler.moved,
            "work": oldest,
        }

    async def ready(self) -> str | None:
        """The dispatcher needs the store; nudges are best effort, gates nobody's affair here."""
        if waiting := self._waiting or self._settler.waiting or self._sweeper.waiting:
            return waiting
        try:
            await self._store.ping()
        except StoreUnavailable as error:
            return str(error)
        return None

    async def run(self) -> None:
        """Dispatch until `stop`, then drain."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweeper.run(), name="sweeper")
            settler = group.create_task(self._settler.run(), name="settler")
            try:
                while not self._stopping.is_set():
                    await self._round(group)
            finally:
                self._sweeper.stop()
            await self._drain()
            self._settler.stop()
            if self._in_hand:
                settler.cancel()

    async def _round(self, group: asyncio.TaskGroup) -> None:
        """Take what there is room for; wait for news when there is none."""
        self._moved = self._clock.monotonic()
        self.queue.woken.clear()
        free = self.permits.free
        keys = self.queue.take(free, self.permits.room, SIGHT * free) if free > 0 else []
        self._tell_queue()
        if len(self.queue) <= self._low or (free > 0 and not keys):
            self._sweeper.drained()
        if keys:
            await self._claim(keys, group)
            return
        due = self.queue.next_due()
        try:
            async with asyncio.timeout(IDLE if due is None or free <= 0 else min(IDLE, due)):
                await self.queue.woken.wait()
        except TimeoutError:
            return

    async def _claim(self, keys: Sequence[str], group: asyncio.TaskGroup) -> None:
        """One transaction for many keys; the lease is counted from before it was asked for."""
        began, free, closings = self._clock.monotonic(), self.permits.free, self.permits.closings()
        try:
            claims = await claim(
                self._store,
                keys,
                holder=self._holder,
                limit=free,
                room=self.permits.rooms(),
                default_room=min(self.permits.narrow, free),
                narrow=self.permits.narrow,
                rules=self._rules,
            )
        except StoreUnavailable as error:
            for key in keys:
                self._release(key, 0.0)
            await self._wait_for_store(error)
            return
        except StoreRejected:
            if len(keys) > 1:
                for key in keys:
                    await self._claim([key], group)
                return
            LOG.exception("the store refuses a claim", activity_id=keys[0])
            self.queue.done(keys[0])
            return
        self._failures, self._waiting = 0, ""
        self._metrics.claimed(len(claims.cards))
        for gate in claims.gates:
            self.permits.gate_known(gate)
        for claimed in claims.cards:
            self._start(claimed, self.permits.take(claimed.card.appid, closings), began, group)
        self._put_back(keys, claims)

    def _put_back(self, keys: Sequence[str], claims: Claims) -> None:
        """What was not taken: crowded out, locked, later, or nothing to do."""
        taken = {claimed.card.activity_id for claimed in claims.cards}
        skipped = set(claims.skipped)
        for key in keys:
            if key in skipped:
                tries = self._skips.pop(key, 0)
                if tries < len(SKIPPED):
                    self._skips[key] = tries + 1
                    self._release(key, SKIPPED[tries])
                else:
                    self.queue.done(key)
                continue
            self._skips.pop(key, None)
            if key in taken:
                continue
            crowded = claims.crowded.get(key)
            if crowded is not None:
                self.queue.put_back(key, crowded.appid, first=crowded.end_due)
            elif key in claims.later:
                self._release(key, claims.later[key] / 1_000_000)
            else:
                self.queue.done(key)

    def _release(self, key: str, seconds: float) -> None:
        """Out of hand, to be looked at again: at once if it came in meanwhile."""
        if not self.queue.done(key):
            self.queue.add_after(key, seconds)

    def _start(self, claimed: Claimed, permit: Permit, began: float, group: asyncio.TaskGroup) -> None:
        self._in_hand += 1
        task = group.create_task(self._worker.work(claimed, permit, began))
        self._tasks[task] = self._clock.monotonic()
        task.add_done_callback(self._tasks.pop)

    def _finished(self, look: Look) -> None:
        """A slot is free again; the settler has the rest of the work."""
        self._settler.put(look)
        self.queue.woken.set()

    def _settled(self, look: Look, settled: Settled) -> None:
        """A look was written: its card is out of hand, and looked at again when it is worth it."""
        card = look.claimed.card
        if look.verdict in GATE_CLOSING:
            self.permits.closed(card.appid)
        if settled.gate is not None:
            self.permits.gate_known(settled.gate)
            if settled.gate_changed:
                _tell_gate(settled.gate, look.rid)
        self._relay.kick()
        self._given_up(look)
        if settled.next_in is not None:
            unsent = look.call is not None and look.verdict is None
            self.queue.add_after(card.activity_id, max(settled.next_in / 1_000_000, GIVEN_BACK * unsent))

    def _given_up(self, look: Look) -> None:
        self.queue.done(look.claimed.card.activity_id)
        self._in_hand -= 1
        if not self._in_hand:
            self._empty.set()

    async def _wait_for_store(self, error: StoreUnavailable) -> None:
        """Backoff with jitter: the cause is the store, the bound is its return or our end."""
        self._failures += 1
        self._waiting = str(error)
        longest = min(LONGEST_WAIT, 0.1 * 2 ** min(self._failures - 1, 10))
        seconds = longest * (0.5 + self._chance.random() / 2)
        LOG.warning("claims wait for the store", error=str(error), wait=round(seconds, 2), every=SELDOM)
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _drain(self) -> None:
        """Finish the calls in hand; what does not come back in time is left to its lease."""
        try:
            async with asyncio.timeout(self._drain_time):
                while self._in_hand:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            LOG.warning("cards left to their leases", cards=self._in_hand)
            for task in tuple(self._tasks):
                task.cancel()

    def _tell_queue(self) -> None:
        self._metrics.queue_depth(len(self.queue))
        if self.queue.dropped > self._dropped:
            self._metrics.keys_dropped(self.queue.dropped - self._dropped)
            self._dropped = self.queue.dropped


def _tell_gate(gate: Gate, rid: str) -> None:
    if not gate.reason:
        LOG.info("a gate opened: a call succeeded", appid=gate.appid)
        return
    LOG.warning(
        "a gate closed: WeChat refuses the app",
        appid=gate.appid,
        reason=gate.reason,
        until=format_rfc3339(gate.closed_until),
        errcode=gate.errcode,
        errmsg=gate.errmsg,
        rid=rid,
    )
