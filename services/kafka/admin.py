"""Topics for `livecard init`, and whether a broker answers at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from contracts.topics import Topics, TopicSpec
from services.kafka.errors import brief
from services.kafka.options import BrokerError, kafka_options
from services.kafka.topic_settings import wrong_settings
from services.runtime.settings import Settings

__all__ = ["BrokerError", "TopicsReport", "broker_answers", "create_topics"]

DEADLINE: Final = 30.0
"""Seconds for everything that `create_topics` asks of the broker."""
ANSWER_DEADLINE: Final = 3.0
"""Seconds each address has to answer."""


class TopicsReport(msgspec.Struct, frozen=True):
    """What `create_topics` did. `warning` is set where the broker cannot create topics; `wrong` has a
    sentence for each setting that makes trouble in a topic that was there."""

    created: tuple[str, ...] = ()
    existing: tuple[str, ...] = ()
    warning: str = ""
    wrong: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """One line a topic, for people."""
        yield from (f"topic: {name} created" for name in self.created)
        yield from (f"topic: {name} is there already, left as it is" for name in self.existing)
        if self.warning:
            yield f"warning: {self.warning}"
        for each in self.wrong:
            yield f"warning: {each} (kafka-configs.sh --alter changes it)"


async def create_topics(settings: Settings) -> TopicsReport:
    """Create the missing topics of `Topics.specs` and leave the others alone.

    Raises `BrokerError`: no broker at the address, or it refused to create a topic (with its reason).
    """
    specs = Topics(settings.topic_prefix).specs(settings.partitions)
    try:
        async with asyncio.timeout(DEADLINE):
            report = await _create(settings, specs)
    except (KafkaError, OSError, TimeoutError) as error:
        raise _unreachable(settings, error) from error
    if report.warning or not report.existing:
        return report
    try:
        wrong = await wrong_settings(settings)
    except BrokerError as error:
        wrong = [str(error)]
    return msgspec.structs.replace(report, wrong=tuple(wrong))


async def _create(settings: Settings, specs: tuple[TopicSpec, ...]) -> TopicsReport:
    admin = AIOKafkaAdminClient(**kafka_options(settings))
    try:
        await admin.start()
        there = set(await admin.list_topics())
        existing = {spec.name for spec in specs if spec.name in there}
        missing = [spec for spec in specs if spec.name not in there]
        if not missing:
            return TopicsReport(existing=_names(specs, existing))
        try:
            answer = await admin.create_topics([_new(spec, settings.replication) for spec in missing])
        except AttributeError:  # how aiokafka fails on a broker without CreateTopics or a controller
            names = ", ".join(spec.name for spec in missing)
            return TopicsReport(
                existing=_names(specs, existing),
                warning=f"the broker at {settings.kafka} cannot create topics; make these yourself, "
                f"unless it makes them at first use: {names}",
            )
        existing |= _already_there(answer)
        created = {spec.name for spec in missing} - existing
        return TopicsReport(_names(specs, created), _names(specs, existing))
    finally:
        await admin.close()


def _new(spec: TopicSpec, replication: int) -> NewTopic:
    topic = NewTopic(spec.name, spec.partitions, 1, topic_configs=spec.config)
    topic.replication_factor = replication  # its constructor refuses -1 (the broker's default)
    return topic


def _names(specs: tuple[TopicSpec, ...], chosen: set[str]) -> tuple[str, ...]:
    return tuple(spec.name for spec in specs if spec.name in chosen)


def _already_there(answer: Any) -> set[str]:
    """Topics that somebody else made in the meantime; raises `BrokerError` for one that was refused."""
    found = set()
    for name, code, *rest in answer.topic_errors:
        kind = for_code(code)
        if kind is TopicAlreadyExistsError:
            found.add(name)
        elif kind is not NoError:
            why = (rest[0] if rest else None) or kind.description or kind.__name__
            raise BrokerError(f"the broker refused to create the topic {name}: {why}")
    return found


async def broker_answers(settings: Settings) -> None:
    """Return when one of the brokers at the configured addresses answers; raises `BrokerError` otherwise.

    Connects anew each time, so that no connection that is half dead answers for the broker.
    """
    options = kafka_options(settings)
    options["request_timeout_ms"] = round(ANSWER_DEADLINE * 1000)
    client = AIOKafkaClient(**options)
    try:
        async with asyncio.timeout(ANSWER_DEADLINE * (len(options["bootstrap_servers"]) + 0.5)):
            await client.bootstrap()
    except (KafkaError, OSError, TimeoutError) as error:
        raise _unreachable(settings, error) from error
    finally:
        await client.close()


def _unreachable(settings: Settings, error: BaseException) -> BrokerError:
    return BrokerError(f"no Kafka broker answers at {settings.kafka} (LIVECARD_KAFKA): {brief(error)}")
