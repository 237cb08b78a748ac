"""Whether topics that others made have the settings we count on (`contracts.topics`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from contracts.topics import Topics, TopicSpec
from services.kafka.errors import brief
from services.kafka.options import BrokerError, kafka_options
from services.runtime.settings import Settings

LOG = structlog.get_logger("livecard.bus")

EVERY: Final = 60.0
"""Seconds between two questions."""
DEADLINE: Final = 10.0
"""Seconds for the whole question."""
POLICY: Final = "cleanup.policy"
LIMIT: Final = "max.message.bytes"


class TopicWatch:
    """Asks for the settings again and again, for `/readyz` and the log; they keep nobody from work."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.warnings: list[str] = []

    async def run(self) -> None:
        """Ask until cancelled; a broker that does not tell leaves the last answer."""
        while True:
            with contextlib.suppress(Exception):  # it is best effort, and the next question is soon
                await self.check()
            await asyncio.sleep(EVERY)

    async def check(self) -> None:
        """Ask once. Raises `BrokerError`."""
        found = await wrong_settings(self._settings)
        for each in found:
            if each not in self.warnings:
                LOG.warning("a topic has a wrong setting", what=each)
        self.warnings = found


async def wrong_settings(settings: Settings) -> list[str]:
    """What is wrong with the topics that exist, a sentence for each setting; names topic and setting.

    Raises `BrokerError` where the broker does not tell.
    """
    specs = Topics(settings.topic_prefix).specs(settings.partitions)
    admin = AIOKafkaAdminClient(**kafka_options(settings))
    try:
        async with asyncio.timeout(DEADLINE):
            await admin.start()
            return await _differences(admin, specs)
    except (KafkaError, OSError, TimeoutError, AttributeError) as error:  # the last: an embedded broker
        raise BrokerError(f"the settings of the topics could not be read: {brief(error)}") from error
    finally:
        await admin.close()


async def _differences(admin: AIOKafkaAdminClient, specs: tuple[TopicSpec, ...]) -> list[str]:
    """Topics that do not exist, or that we may not look at, are passed over."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in specs]
    by_name = {spec.name: spec for spec in specs}
    found: list[str] = []
    for answer in await admin.describe_configs(asked):
        for code, _, _, name, entries in answer.resources:
            if code == 0:
                found += _wrong(by_name[name], {entry[0]: entry[1] for entry in entries})
    return found


def _wrong(spec: TopicSpec, there: Mapping[str, str]) -> Iterator[str]:
    wanted, limit = spec.config.get(LIMIT), there.get(LIMIT)
    if wanted and limit and int(limit) < int(wanted):
        yield f"topic {spec.name}: {LIMIT} is {limit} and should be at least {wanted}"
    policy = there.get(POLICY)
    if policy and policy != spec.config[POLICY]:
        yield f"topic {spec.name}: {POLICY} is {policy} and should be {spec.config[POLICY]}"
