"""What a producer has under way when a publication runs out of time, and what comes after it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, ProducerClosed

from scripts.patience import PATIENCE
from services.kafka import producer as lane_module
from services.kafka.ports import BusUnavailable, Message
from services.kafka.producer import Lane, retire

OPTIONS = {"bootstrap_servers": ["127.0.0.1:1"]}


class Wire:
    """The broker's side of a producer: what was sent, to be acknowledged by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[asyncio.Future[None]] = []

        async def nothing(_: AIOKafkaProducer) -> None:
            return None

        async def partitions_for(_: AIOKafkaProducer, topic: str) -> set[int]:
            return {0}

        async def send_batch(_: AIOKafkaProducer, *batch: Any, **where: Any) -> asyncio.Future[None]:
            self.sent.append(asyncio.get_running_loop().create_future())
            return self.sent[-1]

        for made_of in (nothing, partitions_for, send_batch):
            name = "start" if made_of is nothing else made_of.__name__
            monkeypatch.setattr(AIOKafkaProducer, name, made_of)


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


async def publish(lane: Lane, text: str, topic: str = "t") -> None:
    await lane.publish(topic, [Message(b"key", text.encode())])


async def test_nothing_overtakes_what_is_still_under_way(wire: Wire) -> None:
    """What ran out of time stays with the producer; the next one to that topic waits for its fate."""
    lane = Lane(OPTIONS, idempotent=False, deadline=0.05)
    for text in ("one", "two"):
        with pytest.raises(BusUnavailable, match="did not acknowledge t within"):
            await publish(lane, text)
    assert len(wire.sent) == 1
    with pytest.raises(BusUnavailable):
        await publish(lane, "another topic's", "u")
    assert len(wire.sent) == 2
    wire.sent[0].set_result(None)
    with pytest.raises(BusUnavailable):
        await publish(lane, "three")
    assert len(wire.sent) == 3
    await lane.close()


async def test_what_was_refused_meanwhile_is_told_to_the_next(wire: Wire) -> None:
    """An idempotent producer that was refused a batch leaves a gap: it is not used again."""
    lane = Lane(OPTIONS, idempotent=True, deadline=0.05)
    with pytest.raises(BusUnavailable, match="did not acknowledge"):
        await publish(lane, "one")
    spent = lane._producer
    wire.sent[0].set_exception(KafkaTimeoutError())
    with pytest.raises(BusUnavailable, match="did not take t"):
        await publish(lane, "two")
    assert len(wire.sent) == 1
    with pytest.raises(BusUnavailable, match="did not acknowledge"):
        await publish(lane, "three")
    assert len(wire.sent) == 2
    assert lane._producer is not spent
    await lane.close()


async def test_a_producer_that_is_left_behind_leaves_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has under way when no broker answers is failed with it, and nobody waits for it any more."""
    monkeypatch.setattr(lane_module, "CLOSE_DEADLINE", 0.05)
    producer: Any = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1")
    producer._sender._sender_task = asyncio.create_task(asyncio.Event().wait())
    batch = producer.create_batch()
    batch.append(key=None, value=b"v", timestamp=None)
    under_way = await producer._message_accumulator.add_batch(batch, TopicPartition("t", 0), 1)
    await retire(producer)
    with pytest.raises(ProducerClosed):
        await under_way
    left = asyncio.all_tasks() - {asyncio.current_task()}
    _, waiting = await asyncio.wait(left, timeout=PATIENCE) if left else (left, left)
    assert not waiting
