"""One producer and its rules: batches in order per partition, bounded waiting, renewal after failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed, UnknownTopicOrPartitionError

from contracts.topics import MAX_DEAD_BYTES
from services.kafka.batches import MAX_BATCH_BYTES, build, by_partition
from services.kafka.errors import brief
from services.kafka.ports import BusUnavailable, Message, TooLarge

LOG = structlog.get_logger("livecard.bus")

CLOSE_DEADLINE: Final = 5.0
"""Seconds a producer gets to close before it is left behind."""
STUCK_ROUNDS: Final = 4
"""So many publications in a row without an answer to the first: the producer is renewed, which
begins at the configured addresses again (the brokers may have moved)."""


class Publisher:
    """A producer made on first use. Publications to one topic take turns.

    A publication that runs out of time leaves its batches with the producer, which goes on trying
    (idempotent: without doubling them); the next one to that topic waits for their fate first, so
    they never pile up and order holds.
    """

    def __init__(self, options: Mapping[str, Any], *, idempotent: bool, deadline: float) -> None:
        self._options = dict(options)
        self._idempotent, self._deadline = idempotent, deadline
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._turns: dict[str, asyncio.Lock] = {}
        self._open: dict[str, list[asyncio.Future[Any]]] = {}
        self._stuck = 0
        self._next = 0
        self._closing: set[asyncio.Task[None]] = set()

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """All of them acknowledged, or `BusUnavailable` within the deadline."""
        if not messages:
            return
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._deadline), self._turns.setdefault(topic, asyncio.Lock()):
                producer = await self._connected()
                await self._settle(topic)
                partitions = sorted(await producer.partitions_for(topic))
                await self._send(producer, topic, messages, partitions)
                self._stuck = 0
        except TimeoutError:
            self._stuck += 1
            if producer is not None and self._stuck >= STUCK_ROUNDS:
                self._renew(producer)
            raise BusUnavailable(
                f"Kafka at {self._where} did not acknowledge {topic} within {self._deadline:g} s"
            ) from None
        except (KafkaError, OSError) as error:
            # What an idempotent producer was refused leaves a gap in its sequence: it is spent.
            if producer is not None and self._open.pop(topic, None) is not None:
                self._renew(producer)
            kind = TooLarge if isinstance(error, MessageSizeTooLargeError) else BusUnavailable
            raise kind(f"Kafka at {self._where} did not take {topic}: {_explain(error)}") from error

    @property
    def _where(self) -> str:
        return ",".join(self._options["bootstrap_servers"])

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._options,
                    acks="all" if self._idempotent else 1,
                    enable_idempotence=self._idempotent,
                    max_batch_size=MAX_BATCH_BYTES,
                    max_request_size=MAX_DEAD_BYTES,
                    linger_ms=0,
                )
                try:
                    await producer.start()
                except BaseException:
                    self._leave(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _settle(self, topic: str) -> None:
        """Wait until the batches of an earlier publication have their fate, whatever it is."""
        if left := self._open.get(topic):
            await asyncio.wait(left)
            failed = [error for future in left if (error := future.exception())]
            if failed:
                raise failed[0]
            del self._open[topic]

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, messages: Sequence[Message], partitions: Sequence[int]
    ) -> None:
        """Round after round: every partition's next batch, then their acknowledgements."""
        self._next += len(messages)
        make: Callable[[], Any] = producer.create_batch
        queues = [
            (partition, build(part, make))
            for partition, part in by_partition(messages, partitions, self._next).items()
        ]
        for turn in range(max(len(batches) for _, batches in queues)):
            open_ = self._open[topic] = []
            for partition, batches in queues:
                if turn < len(batches):
                    sent = await producer.send_batch(batches[turn], topic, partition=partition)
                    sent.add_done_callback(_seen)
                    open_.append(sent)
            await self._settle(topic)

    def _renew(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
            self._open.clear()
            self._stuck = 0
            LOG.warning("making a new Kafka producer after a failure")
            self._leave(producer)

    def _leave(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(retire(producer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def answers(self) -> None:
        """Ask the broker for its metadata; raises `BusUnavailable` when it does not answer in time."""
        try:
            async with asyncio.timeout(self._deadline):
                producer = await self._connected()
                await producer.client.fetch_all_metadata()
        except (KafkaError, OSError, TimeoutError) as error:
            raise BusUnavailable(f"Kafka at {self._where} does not answer: {_explain(error)}") from error

    async def close(self) -> None:
        """Flush what is under way, within a few seconds."""
        if self._producer is not None:
            self._leave(self._producer)
            self._producer = None
        if self._closing:
            await asyncio.wait(self._closing)


def _explain(error: BaseException) -> str:
    if isinstance(error, UnknownTopicOrPartitionError):
        return "the topic does not exist (`livecard init` makes it)"
    if isinstance(error, MessageSizeTooLargeError):
        return "a message is larger than the topic's max.message.bytes"
    return brief(error)


async def retire(producer: AIOKafkaProducer) -> None:
    """Stop a producer, within seconds also when no broker answers any more; never raises."""
    stopping = asyncio.ensure_future(producer.stop())
    done, _ = await asyncio.wait([stopping], timeout=CLOSE_DEADLINE)
    if done:
        with contextlib.suppress(Exception):  # whatever it died of, it is gone
            stopping.result()
        return
    sender = producer._sender.sender_task  # noqa: SLF001  # nothing public ends a sender that waits for ever
    for task in (stopping, sender):
        if task is not None:
            task.cancel()
    await asyncio.wait([task for task in (stopping, sender) if task is not None], timeout=CLOSE_DEADLINE)
    _give_up(producer._message_accumulator)  # noqa: SLF001  # its flush would wait for ever, too
    with contextlib.suppress(Exception):
        await producer.client.close()


def _seen(sent: asyncio.Future[Any]) -> None:
    """Whoever waits for it hears of its failure; where nobody does any more, asyncio need not complain."""
    if not sent.cancelled():
        sent.exception()


def _give_up(accumulator: Any) -> None:
    """Fail what is under way, for whoever still waits for it."""
    accumulator.fail_all(ProducerClosed())
    batches = chain(*accumulator._batches.values())  # noqa: SLF001  # nothing public names them
    for batch in (*batches, *accumulator._pending_batches):  # noqa: SLF001  # the same
        _seen(batch.future)
        _seen(batch._drain_waiter)  # noqa: SLF001  # nobody else would look at it
