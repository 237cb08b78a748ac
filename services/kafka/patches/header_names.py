"""Header names that are not UTF-8: aiokafka 0.14 cannot read past them, so we teach it to.

Its parser raises in the middle of a record batch, and the records around the broken one are lost or
the partition stands still. Here such a batch is read again by aiokafka's Python parser with names
decoded by `surrogateescape`, which loses nothing; all others are read as before.

We found no issue of upstream's about it. This goes once both of aiokafka's parsers read every name: decoded
by `surrogateescape`, or left as bytes (then whoever reads headers here decodes them).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, SupportsIndex

import aiokafka.consumer.fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

_UNREADABLE = (UnicodeDecodeError, aiokafka.errors.CorruptRecordException)


class _Slice(bytes):
    """Bytes that decode whatever they hold."""

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)


class _Buffer(bytearray):
    """What the parser cuts its pieces from."""

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        got = super().__getitem__(index)
        return _Slice(got) if isinstance(index, slice) else got


class _AnyNameBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final for speed only
    _buffer: bytearray | memoryview

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        if not isinstance(self._buffer, _Buffer):
            self._buffer = _Buffer(self._buffer)


class FallbackBatch:
    """A record batch: aiokafka's fast parser reads to the first broken header, its Python parser the rest."""

    def __init__(self, fast: Any, raw: memoryview) -> None:
        self._fast, self._raw = fast, raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fast, name)

    def __next__(self) -> Any:
        return next(self._fast)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._fast:
                read += 1
                yield record
        except _UNREADABLE:
            pass
        else:
            return
        yield from islice(_AnyNameBatch(bytearray(self._raw)), read, None)


class FallbackRecords(_MemoryRecordsPy):  # type: ignore[misc]  # final for speed only
    """What the fetcher makes of an answer: its record batches, one after the other."""

    def next_batch(self, *_: int) -> Any:
        raw = self._next_slice
        fast = super().next_batch()
        return FallbackBatch(fast, raw) if raw is not None and isinstance(fast, DefaultRecordBatch) else fast


def install() -> None:
    """Let every consumer of this process read header names that are not UTF-8; safe to call again."""
    aiokafka.consumer.fetcher.MemoryRecords = FallbackRecords
