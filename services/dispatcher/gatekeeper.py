"""Opens gates that need not stay closed, closes those of unknown apps, and minds what an old release left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from contracts.wechat import Verdict
from services.runtime.ports import SELDOM, Clock
from services.runtime.process import state_rules
from services.runtime.settings import Settings
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.transactions.gates import close_gates_of_unknown
from services.transactions.schedule import schedule
from services.wechat.ports import Apps, WeChat
from statemachine.gate import UNKNOWN_APP, Gate

LOG = structlog.get_logger("livecard.dispatcher")

TOKEN_EVERY: Final = 2.0
"""Seconds between questions for another token, while WeChat hands out one that it refuses (design.md §6)."""
PAGE: Final = 500
"""Most cards in one transaction."""


class Gatekeeper:
    """Looks at the gates every `sweep` seconds. It asks WeChat in the background: no round waits for it."""

    def __init__(
        self,
        *,
        store: Store,
        wechat: WeChat,
        apps: Apps,
        clock: Clock,
        settings: Settings,
        opened: Callable[[], None],
    ) -> None:
        self._store, self._wechat, self._apps, self._clock = store, wechat, apps, clock
        self._every, self._quota_every = settings.sweep, settings.quota_probe
        self._rules = state_rules(settings)
        self._opened = opened
        self._stopping = asyncio.Event()
        self._asked: dict[tuple[str, str], float] = {}
        self._asking: asyncio.Task[None] | None = None
        self.waiting = ""
        self.moved = clock.monotonic()

    async def run(self) -> None:
        """The first round at once; then one every `sweep` seconds until `stop`."""
        try:
            while not self._stopping.is_set():
                try:
                    await self.round()
                    self.waiting = ""
                except (StoreUnavailable, StoreRejected) as error:
                    self.waiting = str(error)
                    LOG.warning("the gates could not be looked at", error=str(error), every=SELDOM)
                self.moved = self._clock.monotonic()
                try:
                    async with asyncio.timeout(self._every):
                        await self._stopping.wait()
                except TimeoutError:
                    continue
        finally:
            if self._asking is not None:
                self._asking.cancel()

    def stop(self) -> None:
        """Finish the round in hand and return."""
        self._stopping.set()

    async def round(self) -> None:
        """Once: the apps file, the gates, the cards of the release before."""
        renewed, known = set(self._apps.refresh()), set(self._apps.appids())
        gates = await self._store.all_gates()
        strangers = [gate.appid for gate in gates if gate.reason != UNKNOWN_APP and gate.appid not in known]
        for appid in await close_gates_of_unknown(self._store, strangers, known):
            LOG.warning("the apps file does not name this app; its cards wait", appid=appid)
        closed = [gate for gate in gates if gate.reason and gate.appid in known]
        await self._open([gate.appid for gate in closed if gate.reason == UNKNOWN_APP], UNKNOWN_APP)
        for reason in (Verdict.misconfigured.value, Verdict.blocked.value):
            mended = [gate.appid for gate in closed if gate.reason == reason and gate.appid in renewed]
            await self._open(mended, reason)
        while await schedule(self._store, PAGE, self._rules) == PAGE:
            self.moved = self._clock.monotonic()
        self._ask(closed)

    async def _open(self, appids: Sequence[str], reason: str) -> None:
        if appids and (opened := await self._store.open_gates(appids, reason)):
            LOG.info("gates opened", appids=opened, reason=reason)
            self._opened()

    def _ask(self, gates: Sequence[Gate]) -> None:
        """Ask WeChat about the gates that a question may open, each as often as it may be asked."""
        now = self._clock.monotonic()
        every = {Verdict.daily_limit.value: self._quota_every, Verdict.token.value: TOKEN_EVERY}
        askable = [(gate.appid, gate.reason) for gate in gates if gate.reason in every]
        self._asked = {key: self._asked.get(key, now) for key in askable}
        due = [key for key in askable if now - self._asked[key] >= every[key[1]]]
        if due and (self._asking is None or self._asking.done()):
            self._asked |= dict.fromkeys(due, now)
            self._asking = asyncio.create_task(self._questions(due), name="gate-questions")

    async def _questions(self, gates: Sequence[tuple[str, str]]) -> None:
        for appid, reason in gates:
            if reason == Verdict.token.value:
                better = await self._wechat.has_other_token(appid)
            else:
                better = bool(await self._wechat.quota_left(appid))
            if not better:
                continue
            try:
                await self._open([appid], reason)
            except (StoreUnavailable, StoreRejected) as error:
                LOG.warning("a gate could not be opened", appid=appid, error=str(error), every=SELDOM)
