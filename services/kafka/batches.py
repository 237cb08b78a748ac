"""Messages as Kafka record batches: one partition each, accepted as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, cast

from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from services.kafka.oversized import COMPRESS_ABOVE, size
from services.kafka.ports import Message

MAX_BATCH_BYTES: Final = 256 * 1024
"""Below every topic's limit; a larger message travels in a batch of its own."""
LONGEST_REMEMBERED: Final = 512
"""Bytes of a key whose hash is kept: an activity's id has 128 characters."""
_GZIP: Final = 1


def _hashed(key: bytes) -> int:
    return cast("int", murmur2(key)) & 0x7FFFFFFF


_remembered = lru_cache(maxsize=16_384)(_hashed)


def key_hash(key: bytes) -> int:
    """The Java client's hash of a key, so that all partitioners agree; remembered since keys repeat.

    Long ones are not: a dead letter's key is whatever its producer wrote, up to a megabyte.
    """
    return _remembered(key) if len(key) <= LONGEST_REMEMBERED else _hashed(key)


def by_partition(
    messages: Iterable[Message], partitions: Sequence[int], start: int
) -> dict[int, list[Message]]:
    """Messages by partition, in order; those without a key go round, beginning at `start`."""
    found: dict[int, list[Message]] = {}
    count = len(partitions)
    if count == 1:
        return {partitions[0]: list(messages)}
    for message in messages:
        key = message.key
        if key is None:
            start += 1
            place = partitions[start % count]
        else:
            place = partitions[key_hash(key) % count]
        found.setdefault(place, []).append(message)
    return found


def build(messages: Iterable[Message], make: Callable[[], BatchBuilder]) -> list[BatchBuilder]:
    """The batches of one partition, in order."""
    batches: list[BatchBuilder] = []
    current: BatchBuilder | None = None
    for message in messages:
        if size(message) > COMPRESS_ABOVE:
            batches.append(_alone(message, _GZIP))
            current = None
            continue
        try:
            if current is not None and _append(current, message):
                continue
            fresh = make()
            _append(fresh, message)
            current = fresh
        except UnicodeEncodeError:
            fresh = _alone(message, 0)
            current = None
        batches.append(fresh)
    for batch in batches:
        batch.close()  # ready to go, and nobody else's messages join it
    return batches


def _append(batch: BatchBuilder, message: Message) -> bool:
    added = batch.append(timestamp=None, key=message.key, value=message.value, headers=list(message.headers))
    return added is not None


def _alone(message: Message, codec: int) -> BatchBuilder:
    batch = _AnyNames(codec)
    headers: Any = [(_Name(name), value) for name, value in message.headers]
    batch.append(timestamp=None, key=message.key, value=message.value, headers=headers)
    return batch


class _Name(str):
    """A header's name that may not have been UTF-8: it leaves as the bytes it came as."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        return super().encode(encoding, errors)


class _AnyNames(BatchBuilder):  # type: ignore[misc]  # aiokafka's producer has no types
    """A batch by aiokafka's Python builder: its compiled one takes no name that is not UTF-8."""

    def __init__(self, codec: int) -> None:
        super().__init__(MAX_BATCH_BYTES, codec)
        self._builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, 0, MAX_BATCH_BYTES)

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._builder.set_producer_state(producer_id, producer_epoch, base_sequence)
