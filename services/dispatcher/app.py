"""The dispatcher's composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.quotas import QuotaWatch
from services.kafka.nudges import NudgeConsumer
from services.runtime.process import Parts, Service
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient

LOG = structlog.get_logger("livecard.dispatcher")


class DispatcherService:
    """A dispatcher with the nudges that wake it and the client it calls WeChat with."""

    name = "dispatcher"

    def __init__(
        self,
        dispatcher: Dispatcher,
        nudges: NudgeConsumer,
        quotas: QuotaWatch,
        wechat: WeChatClient,
        apps: AppBook,
    ) -> None:
        self._dispatcher, self._nudges, self._quotas = dispatcher, nudges, quotas
        self._wechat, self._apps = wechat, apps

    async def run(self) -> None:
        """Dispatch until stopped; nudges are best effort, so they start and end with it."""
        if not self._apps.appids():
            LOG.warning("no app is named, so every card waits: set LIVECARD_APPS_FILE, or add apps to it")
        await self._nudges.start()
        asking = asyncio.create_task(self._quotas.run(), name="quotas")
        try:
            await self._dispatcher.run()
        finally:
            asking.cancel()
            await self._nudges.stop()
            await self._wechat.close()

    def stop(self) -> None:
        """Drain."""
        self._dispatcher.stop()

    def marks(self) -> Mapping[str, float]:
        """The dispatcher's loops, and the one that polls for nudges."""
        return {**self._dispatcher.marks(), "nudges": self._nudges.moved}

    async def ready(self) -> str | None:
        """What it waits for."""
        return await self._dispatcher.ready() or self._nudges.waiting()


def build(parts: Parts) -> list[Service]:
    """The services of a dispatcher process."""
    apps = AppBook.load(parts.settings)
    wechat = WeChatClient.of(parts.settings, apps, parts.clock, parts.metrics)
    dispatcher = Dispatcher(
        holder=parts.name,
        store=parts.store,
        wechat=wechat,
        apps=apps,
        relay=parts.relay,
        clock=parts.clock,
        chance=parts.chance,
        settings=parts.settings,
        rules=parts.delivery_rules,
        metrics=parts.metrics,
        traces=parts.traces,
    )
    nudges = NudgeConsumer(
        parts.settings,
        parts.topics.dispatcher_group,
        lambda _: dispatcher.wake(),
        parts.clock,
        None if parts.traces is None else parts.traces.heard,
    )
    quotas = QuotaWatch(parts.store, wechat, apps, parts.clock, parts.settings, metrics=parts.metrics)
    return [DispatcherService(dispatcher, nudges, quotas, wechat, apps)]
