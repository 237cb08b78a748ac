"""The other services: several producers that send a script until the brokers have all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.chaos.script import PRODUCERS, Sending

AT_ONCE = 64
"""Records each producer waits for at a time."""


class Load:
    """Sends records at their times; each again and again until it was acknowledged."""

    def __init__(self, bootstrap: str, topic: str, sendings: Sequence[Sending]) -> None:
        self.bootstrap, self.topic, self.sendings = bootstrap, topic, sendings
        self.sent = 0
        self.refused = 0

    async def run(self) -> None:
        """From the first record to the last acknowledgement."""
        async with AsyncExitStack() as stack:
            producers = []
            for number in range(PRODUCERS):
                producer = AIOKafkaProducer(
                    bootstrap_servers=self.bootstrap.split(","),
                    acks="all",
                    enable_idempotence=number == 0,  # the others may write a record twice
                    linger_ms=5 * number,
                    request_timeout_ms=5000,
                )
                await producer.start()
                stack.push_async_callback(producer.stop)
                producers.append(producer)
            rooms = [asyncio.Semaphore(AT_ONCE) for _ in producers]
            begin = asyncio.get_running_loop().time()
            async with asyncio.TaskGroup() as group:
                for each in self.sendings:
                    await asyncio.sleep(max(0.0, begin + each.at - asyncio.get_running_loop().time()))
                    await rooms[each.producer].acquire()
                    group.create_task(self._in_room(rooms[each.producer], producers[each.producer], each))

    async def _in_room(self, room: asyncio.Semaphore, producer: AIOKafkaProducer, sending: Sending) -> None:
        try:
            await self._send(producer, sending)
        finally:
            room.release()

    async def _send(self, producer: AIOKafkaProducer, sending: Sending) -> None:
        event = sending.event
        headers: list[tuple[str, bytes]] = []
        value, key = msgspec.json.encode(event), event["subject"].encode()
        if sending.binary:
            value = msgspec.json.encode(event["data"])
            attributes = {name: each for name, each in event.items() if name != "data"}
            headers = [(f"ce_{name}", each.encode()) for name, each in attributes.items()]
            headers.append(("content-type", b"application/json"))
        while True:
            try:
                await producer.send_and_wait(
                    self.topic, value, key=key, partition=sending.partition, headers=headers
                )
            except KafkaError:
                self.refused += 1
                await asyncio.sleep(0.5)
            else:
                self.sent += 1
                return
