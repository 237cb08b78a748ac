"""Names and settings of topics and consumer groups (design.md §4)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

MAX_EVENT_BYTES: Final = 1_048_588
"""Kafka's default limit of a record batch, which the input topic keeps."""
MAX_DEAD_BYTES: Final = 2 * MAX_EVENT_BYTES
"""For the dead letters' topic and its producer: the original plus our headers must fit."""

_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,200}")
_DAY_MS = 86_400_000


class TopicSpec(msgspec.Struct, frozen=True):
    """What `livecard init` creates; `config` in Kafka's own names."""

    name: str
    partitions: int
    config: dict[str, str]


class Topics(msgspec.Struct, frozen=True):
    """Every name with the prefix `LIVECARD_TOPIC_PREFIX`; raises ValueError where Kafka forbids it."""

    prefix: str = ""

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError("a topic prefix has at most 200 characters out of A-Z a-z 0-9 . _ -")

    @property
    def events(self) -> str:
        return f"{self.prefix}activity.events"

    @property
    def nudges(self) -> str:
        return f"{self.prefix}card.nudges"

    @property
    def changes(self) -> str:
        return f"{self.prefix}activity.changes"

    @property
    def dead(self) -> str:
        return f"{self.prefix}activity.events.dead"

    @property
    def lifecycle_group(self) -> str:
        return f"{self.prefix}livecard-lifecycle"

    @property
    def dispatcher_group(self) -> str:
        return f"{self.prefix}livecard-dispatcher"

    def specs(self, partitions: int = 8) -> tuple[TopicSpec, ...]:
        """All four topics, in the order in which `init` creates them."""
        keep = {"cleanup.policy": "delete"}
        return (
            TopicSpec(
                self.events,
                partitions,
                {**keep, "retention.ms": str(7 * _DAY_MS), "max.message.bytes": str(MAX_EVENT_BYTES)},
            ),
            TopicSpec(self.nudges, partitions, {**keep, "retention.ms": str(3_600_000)}),
            TopicSpec(self.changes, partitions, {**keep, "retention.ms": str(7 * _DAY_MS)}),
            TopicSpec(
                self.dead,
                1,
                {**keep, "retention.ms": str(30 * _DAY_MS), "max.message.bytes": str(MAX_DEAD_BYTES)},
            ),
        )
