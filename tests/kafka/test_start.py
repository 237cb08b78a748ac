"""A client's start that is cut short leaves nothing open."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.metadata import MetadataRequest

from services.kafka.options import kafka_options
from services.runtime.settings import Settings


async def test_a_start_that_is_cancelled_leaves_no_connection_behind(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka forgets the one it asks for the brokers when it is cancelled meanwhile."""
    asked: asyncio.Future[AIOKafkaConnection] = asyncio.get_running_loop().create_future()
    send = AIOKafkaConnection.send

    def held(self: AIOKafkaConnection, request: object, *args: object, **options: object) -> object:
        if isinstance(request, MetadataRequest) and not asked.done():
            asked.set_result(self)
        return send(self, request, *args, **options)

    monkeypatch.setattr(AIOKafkaConnection, "send", held)
    producer = AIOKafkaProducer(**kafka_options(Settings(kafka=kafka)))
    starting = asyncio.create_task(producer.start())
    connection = await asked
    assert connection.connected()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await producer.stop()
    assert not connection.connected()
