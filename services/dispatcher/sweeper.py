"""The sweep: finds what no nudge named, closes dead books, opens gates that need not be closed."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from contracts.wechat import Verdict
from services.dispatcher.permits import Permits
from services.dispatcher.queue import WorkQueue
from services.runtime.ports import SELDOM, Clock
from services.runtime.settings import Settings
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.store.rows import Gate
from services.transactions.claim import expire
from services.transactions.gates import UNKNOWN_APP
from services.wechat.ports import Apps, WeChat

LOG = structlog.get_logger("livecard.dispatcher")

PAGE_PER_CALL: Final = 16
"""A page of the sweep is so many times the calls in flight."""
PER_APP: Final = 8
"""An app's part of a page is so many times the calls in flight."""
EXPIRE: Final = 500
"""Most dead books closed in one transaction."""
SOONEST: Final = 0.05
"""Seconds between sweeps, at least, while there is more than one page to do."""


class Sweeper:
    """Feeds the queue every `sweep` seconds, and at once while there is more than it was given."""

    def __init__(
        self,
        *,
        store: Store,
        wechat: WeChat,
        apps: Apps,
        queue: WorkQueue,
        permits: Permits,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._store, self._wechat, self._apps = store, wechat, apps
        self._queue, self._permits, self._clock, self._settings = queue, permits, clock, settings
        self._limit = PAGE_PER_CALL * settings.in_flight
        self._per_app = PER_APP * settings.in_flight
        self._more = False
        self._again = asyncio.Event()
        self._stopping = False
        self._probed: dict[str, float] = {}
        self._probe: asyncio.Task[None] | None = None
        self._full_at = clock.monotonic()
        self.waiting = ""
        self.moved = clock.monotonic()

    async def run(self) -> None:
        """The first sweep at once; then every `sweep` seconds until `stop`."""
        try:
            while not self._stopping:
                try:
                    await self._round()
                    self.waiting = ""
                except (StoreUnavailable, StoreRejected) as error:
                    self.waiting = str(error)
                    LOG.warning("the sweep failed; the next one is due soon", error=str(error), every=SELDOM)
                self.moved = self._clock.monotonic()
                await self._rest()
        finally:
            if self._probe is not None:
                self._probe.cancel()

    def stop(self) -> None:
        """Finish the sweep in hand and return."""
        self._stopping = True
        self._again.set()

    def drained(self) -> None:
        """The queue has little left to take: if the last page was not the last, sweep again."""
        if self._more:
            self._more = False
            self._again.set()

    async def _round(self) -> None:
        now = self._clock.monotonic()
        full = now >= self._full_at
        if full:
            self._full_at = now + self._settings.sweep
            await self.gates()
            while await expire(self._store, EXPIRE) == EXPIRE:
                self.moved = self._clock.monotonic()
        await self.sweep(resort=full)

    async def sweep(self, *, resort: bool = True) -> int:
        """One page of cards that are behind or doubted; how many of them were news."""
        page = await self._store.candidates(self._limit, self._per_app)
        news = sum(self._queue.add(key, resort=resort) for key in page)
        self._more = news > 0 and len(page) >= min(self._limit, self._per_app)
        return news

    async def gates(self) -> None:
        """Open what the apps file names again, ask for quota, let permits know of closings."""
        renewed = set(self._apps.refresh())
        gates = [gate for gate in await self._store.all_gates() if gate.reason]
        for gate in gates:
            self._permits.gate_known(gate)
        known = set(self._apps.appids())
        named = [gate.appid for gate in gates if gate.reason == UNKNOWN_APP and gate.appid in known]
        await self._open(named, UNKNOWN_APP)
        mended = [
            gate.appid
            for gate in gates
            if gate.reason == Verdict.misconfigured.value and gate.appid in renewed
        ]
        await self._open(mended, Verdict.misconfigured.value)
        self._probe_quotas(gates)

    async def _open(self, appids: list[str], reason: str) -> None:
        if appids and (opened := await self._store.open_gates(appids, reason)):
            LOG.info("gates opened", appids=opened, reason=reason)

    def _probe_quotas(self, gates: list[Gate]) -> None:
        """Ask in the background, one app after the other, so that no sweep waits for WeChat."""
        now = self._clock.monotonic()
        used_up = [gate.appid for gate in gates if gate.reason == Verdict.daily_limit.value]
        self._probed = {appid: self._probed.get(appid, now) for appid in used_up}
        due = [appid for appid in used_up if now - self._probed[appid] >= self._settings.quota_probe]
        if due and (self._probe is None or self._probe.done()):
            self._probed |= dict.fromkeys(due, now)
            self._probe = asyncio.create_task(self._ask_quotas(due), name="quota-probe")

    async def _ask_quotas(self, appids: list[str]) -> None:
        for appid in appids:
            left = await self._wechat.quota_left(appid)
            if left is None or left <= 0:
                continue
            try:
                await self._open([appid], Verdict.daily_limit.value)
            except (StoreUnavailable, StoreRejected) as error:
                LOG.warning("a gate could not be opened; the next probe tries", appid=appid, error=str(error))
            else:
                self._again.set()

    async def _rest(self) -> None:
        if self._again.is_set():
            self._again.clear()
            await asyncio.sleep(min(SOONEST, self._settings.sweep))
            return
        try:
            async with asyncio.timeout(max(0.0, self._full_at - self._clock.monotonic())):
                await self._again.wait()
        except TimeoutError:
            return
        self._again.clear()
        if not self._stopping:
            await asyncio.sleep(min(SOONEST, self._settings.sweep))
