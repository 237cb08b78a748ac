"""The dispatcher's loop: claim what is due, call, settle; many at once (design.md §6)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf
from typing import Final

import structlog

from contracts.times import format_rfc3339
from services.dispatcher.caller import Caller
from services.dispatcher.gatekeeper import Gatekeeper
from services.dispatcher.limiter import Limiter, Permit
from services.dispatcher.metrics import DispatcherMetrics
from services.dispatcher.outage import Outage
from services.dispatcher.settler import Settler
from services.runtime.backoff import wait_after
from services.runtime.ports import SELDOM, Chance, Clock, Kick
from services.runtime.settings import Settings
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.tracing.ports import Traces
from services.transactions.claim import Claims, claim
from services.transactions.settle import Settled
from services.wechat.ports import Apps, WeChat
from statemachine.card import DeliveryRules
from statemachine.gate import CLOSING, Gate
from statemachine.step import Claimed, Result

LOG = structlog.get_logger("livecard.dispatcher")

IDLE: Final = 5.0
"""Seconds after which an idle loop shows that it is alive."""
FIRST_WAIT: Final = 0.1
"""Seconds after a first failure, doubled up to `LONGEST_WAIT`."""
LONGEST_WAIT: Final = 5.0
"""Seconds between claims while the store is away."""
A_LITTLE: Final = 0.001
"""Seconds by which the database's clock and a timer may differ: too early a claim finds nothing."""


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
        rules: DeliveryRules,
        metrics: DispatcherMetrics,
        traces: Traces | None = None,
    ) -> None:
        self._holder, self._store, self._apps = holder, store, apps
        self._relay, self._clock, self._chance = relay, clock, chance
        self._poll, self._drain_time = settings.sweep, settings.drain
        self._rules, self._metrics = rules, metrics
        self.limiter = Limiter(settings.in_flight, settings.in_flight_narrow, clock, chance, metrics)
        self._caller = Caller(
            wechat=wechat,
            limiter=self.limiter,
            clock=clock,
            chance=chance,
            settings=settings,
            metrics=metrics,
            traces=traces,
        )
        self._outage = Outage(store, clock)
        self._settler = Settler(
            store=store,
            rules=rules,
            clock=clock,
            chance=chance,
            metrics=metrics,
            settled=self._settled,
            given_up=self._given_up,
        )
        self._gatekeeper = Gatekeeper(
            store=store,
            wechat=wechat,
            apps=apps,
            clock=clock,
            settings=settings,
            opened=self.wake,
        )
        self._tasks: dict[asyncio.Task[None], float] = {}
        self._in_hand = 0
        self._empty, self._sooner, self._stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._hungry = False
        self._ended = 0
        self._next_at = 0.0
        self._failures = 0
        self._waiting = ""
        self._moved = clock.monotonic()

    def wake(self) -> None:
        """Something may be due: claim now rather than at the next poll."""
        self._claim_at(-inf)

    def stop(self) -> None:
        """Take nothing more; what is in hand is finished, what was not sent given back."""
        self._stopping.set()
        self._caller.stopping = True
        self._sooner.set()

    def marks(self) -> Mapping[str, float]:
        """When each loop last moved, and when the oldest call in hand was taken up."""
        oldest = min(self._tasks.values(), default=self._clock.monotonic())
        return {
            "loop": self._moved,
            "gates": self._gatekeeper.moved,
            "settler": self._settler.moved,
            "work": oldest,
        }

    async def ready(self) -> str | None:
        """The dispatcher needs the store; nudges are best effort, gates nobody's affair here."""
        if waiting := self._waiting or self._settler.waiting or self._gatekeeper.waiting:
            return waiting
        try:
            await self._store.ping()
        except StoreUnavailable as error:
            return str(error)
        return None

    async def run(self) -> None:
        """Dispatch until `stop`, then drain."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gatekeeper.run(), name="gates")
            settler = group.create_task(self._settler.run(), name="settler")
            try:
                while not self._stopping.is_set():
                    await self._round(group)
            finally:
                self._gatekeeper.stop()
            await self._drain()
            self._settler.stop()
            if self._in_hand:
                settler.cancel()

    async def _round(self, group: asyncio.TaskGroup) -> None:
        """Claim what there is room for; where that was not all that is due, go on when a slot is free."""
        self._moved = self._clock.monotonic()
        self._next_at = inf  # what is heard of during the claim counts, for the claim may not have seen it
        free, ended = self.limiter.free, self._ended
        rooms = self.limiter.rooms(self._apps.appids())
        try:
            claims = await claim(
                self._store,
                rooms,
                holder=self._holder,
                limit=free,
                narrow=self.limiter.narrow,
                rules=self._rules,
            )
        except (StoreUnavailable, StoreRejected) as error:
            await self._wait_for_store(error)
            return
        self._failures, self._waiting = 0, ""
        self._start(claims, group)
        self._hungry = claims.filled(rooms, self.limiter.narrow)
        if (free and claims.found >= free) or (self._hungry and self._ended > ended):
            return
        self._claim_at(self._next(claims.next_in))
        await self._rest()

    def _start(self, claims: Claims, group: asyncio.TaskGroup) -> None:
        """One task a card; the lease is counted from before the claim was asked for."""
        self._metrics.claimed(len(claims.cards))
        for activity_id, why in claims.postponed.items():
            LOG.error(
                "a card cannot be claimed and is postponed: please report this",
                activity_id=activity_id,
                error=why,
            )
        if claims.found > len(claims.cards):
            self._relay.kick()  # some needed no call: what became of them is in the outbox
        for claimed in claims.cards:
            permit = self.limiter.take(claimed.card.appid, claimed.passage.generation, self._moved)
            self._in_hand += 1
            task = group.create_task(self._work(claimed, permit, self._moved))
            self._tasks[task] = self._moved
            task.add_done_callback(self._tasks.pop)

    async def _work(self, claimed: Claimed, permit: Permit, began: float) -> None:
        result = await self._caller.call(claimed, permit, began)
        self._settler.put(result)
        self._ended += 1
        if self._hungry:
            self.wake()
        await self._outage.saw(result)

    def _next(self, next_in: int | None) -> float:
        """When to claim again unless woken: what is due next, the end of a pause, the poll."""
        waits = [min(self._poll, IDLE)]
        if next_in is not None:
            waits.append(next_in / 1_000_000 + A_LITTLE)
        if (pause := self.limiter.next_pause_end()) is not None:
            waits.append(pause)
        return self._clock.monotonic() + max(0.0, min(waits))

    def _claim_at(self, at: float) -> None:
        """Claim then, or earlier."""
        if at < self._next_at:
            self._next_at = at
            self._sooner.set()

    async def _rest(self) -> None:
        """Until the next claim; whatever brings that forward is heard."""
        while not self._stopping.is_set():
            seconds = self._next_at - self._clock.monotonic()
            if seconds <= 0:
                return
            self._sooner.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._sooner.wait()
            except TimeoutError:
                continue

    def _settled(self, result: Result, settled: Settled) -> None:
        """A result was written: its card is out of hand, and due again when the store says so."""
        gate = settled.gate
        if result.verdict in CLOSING:
            self.limiter.closed(result.claimed.card.appid, gate.generation if gate is not None else 0)
        if gate is not None:
            _tell_gate(gate, result)
        if gate is not None or result.verdict in CLOSING:
            self.wake()
        self._relay.kick()
        self._over()
        if settled.next_in is not None:
            later = settled.next_in / 1_000_000 + A_LITTLE if settled.next_in else 0.0
            self._claim_at(self._clock.monotonic() + later)

    def _given_up(self, result: Result) -> None:
        """The store refuses this result: its card is left to its lease."""
        if result.verdict in CLOSING:
            self.limiter.closed(result.claimed.card.appid)
            self.wake()
        self._over()

    def _over(self) -> None:
        self._in_hand -= 1
        if not self._in_hand:
            self._empty.set()

    async def _wait_for_store(self, error: StoreUnavailable | StoreRejected) -> None:
        """Backoff with jitter: the cause is the store, the bound is its return or our end."""
        self._failures += 1
        self._waiting = str(error)
        seconds = wait_after(self._failures, FIRST_WAIT, LONGEST_WAIT, self._chance.random())
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


def _tell_gate(gate: Gate, result: Result) -> None:
    """`activity_id`: the card to whose call this was the answer."""
    activity_id = result.claimed.card.activity_id
    if not gate.reason:
        LOG.info("a gate opened: WeChat lets the app in", activity_id=activity_id, appid=gate.appid)
        return
    LOG.warning(
        "a gate closed: WeChat refuses the app",
        activity_id=activity_id,
        appid=gate.appid,
        reason=gate.reason,
        until=format_rfc3339(gate.closed_until),
        errcode=gate.errcode,
        errmsg=gate.errmsg,
        rid=result.rid,
    )
