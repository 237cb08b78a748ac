"""The other services: several producers that send a script until the brokers have all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.kafka.producer import retire
from tests.verification.chaos.script import PRODUCERS, Sending
from tests.verification.lives.wire import cloud_event

AT_ONCE = 64
"""Records each producer waits for at a time."""
PATIENCE = 20.0
"""Seconds after which a producer that says nothing is replaced by another one."""


class Sender:
    """One producer, replaced when it fails: an idempotent one never recovers from some of its errors."""

    def __init__(self, bootstrap: str, *, idempotent: bool, linger_ms: int) -> None:
        self._options: dict[str, Any] = {
            "bootstrap_servers": bootstrap.split(","),
            "acks": "all",
            "enable_idempotence": idempotent,
            "linger_ms": linger_ms,
            "request_timeout_ms": 5000,
        }
        self.room = asyncio.Semaphore(AT_ONCE)
        self.failures = 0
        self._producer: Any = None
        self._lock = asyncio.Lock()

    async def send(self, topic: str, value: bytes, **where: object) -> None:
        """Until it was acknowledged."""
        while True:
            producer = None
            try:
                async with asyncio.timeout(PATIENCE):
                    producer = await self._present()
                    await producer.send_and_wait(topic, value, **where)
                    return
            except (KafkaError, TimeoutError, OSError):
                self.failures += 1
                await self._replace(producer)
                await asyncio.sleep(0.5)

    async def close(self) -> None:
        """Stop the present producer; without brokers it would wait for them for ever."""
        await self._replace(self._producer)

    async def _present(self) -> Any:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(**self._options)
                try:
                    await producer.start()
                except BaseException:
                    await retire(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _replace(self, producer: Any) -> None:
        async with self._lock:
            if producer is None or producer is not self._producer:
                return
            self._producer = None
        await retire(producer)


class Load:
    """Sends records at their times; each again and again until it was acknowledged."""

    def __init__(self, bootstrap: str, topic: str, sendings: Sequence[Sending]) -> None:
        self.bootstrap, self.topic, self.sendings = bootstrap, topic, sendings
        self.sent = 0

    async def run(self) -> None:
        """From the first record to the last acknowledgement."""
        # Only the first is idempotent: the others may write a record twice, and out of order.
        senders = [
            Sender(self.bootstrap, idempotent=number == 0, linger_ms=5 * number)
            for number in range(PRODUCERS)
        ]
        begin = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as group:
                for each in self.sendings:
                    await asyncio.sleep(max(0.0, begin + each.at - asyncio.get_running_loop().time()))
                    sender = senders[each.producer]
                    await sender.room.acquire()
                    group.create_task(self._send(sender, each))
        finally:
            await asyncio.gather(*(sender.close() for sender in senders), return_exceptions=True)

    async def _send(self, sender: Sender, sending: Sending) -> None:
        event = cloud_event(sending.event)
        headers: list[tuple[str, bytes]] = []
        value, key = msgspec.json.encode(event), event["subject"].encode()
        if sending.binary:
            value = msgspec.json.encode(event["data"])
            attributes = {name: each for name, each in event.items() if name != "data"}
            headers = [(f"ce_{name}", each.encode()) for name, each in attributes.items()]
            headers.append(("content-type", b"application/json"))
        try:
            await sender.send(self.topic, value, key=key, partition=sending.partition, headers=headers)
            self.sent += 1
        finally:
            sender.room.release()
