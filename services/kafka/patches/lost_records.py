"""Resets of a position that nobody asked for: aiokafka 0.14 makes them silently, so we let it tell.

When retention has deleted records that were not read, the broker refuses the offset, and the fetcher goes
on at `auto_offset_reset` with a line of its log at INFO. Both offsets are known to `TopicPartitionState`
only, so they are kept there. Upstream's talk of these resets, with that line as their only trace:
https://github.com/aio-libs/aiokafka/issues/718; the wish for a signal, in the library it came from:
https://github.com/dpkp/kafka-python/issues/988. This goes once aiokafka tells the consumer of such a reset,
with the partition, the offset that was refused and the one it goes on at.
"""

from __future__ import annotations

import functools
from typing import Any

from aiokafka.consumer.subscription_state import TopicPartitionState

_await_reset, _reset_to = TopicPartitionState.await_reset, TopicPartitionState.reset_to


@functools.wraps(_await_reset)
def _remembering(self: Any, strategy: int) -> None:
    if self.has_valid_position:
        self.refused = self.position
    _await_reset(self, strategy)


@functools.wraps(_reset_to)
def _telling(self: Any, position: int) -> None:
    _reset_to(self, position)
    refused = self.__dict__.pop("refused", None)
    if refused is not None:
        self.__dict__.setdefault("jumps", []).append((refused, position))


def install() -> None:
    """Let every consumer of this process keep such resets; safe to call again."""
    TopicPartitionState.await_reset, TopicPartitionState.reset_to = _remembering, _telling


def jumps(state: Any) -> list[tuple[int, int]]:
    """Resets of this partition since the last question: (the offset that was refused, where it went on)."""
    found: list[tuple[int, int]] = state.__dict__.pop("jumps", [])
    return found
