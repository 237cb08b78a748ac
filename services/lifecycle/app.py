"""The lifecycle's composition root."""

from __future__ import annotations

from services.lifecycle.consumer import Consumer
from services.lifecycle.ingest import Ingest
from services.runtime.process import Parts, Service


def build(parts: Parts) -> list[Service]:
    """The services of a lifecycle process."""
    ingest = Ingest(
        store=parts.store,
        bus=parts.bus,
        relay=parts.relay,
        clock=parts.clock,
        chance=parts.chance,
        topics=parts.topics,
        rules=parts.rules,
        metrics=parts.metrics,
        traces=parts.traces,
    )
    return [
        Consumer(
            settings=parts.settings,
            topics=parts.topics,
            ingest=ingest,
            store=parts.store,
            clock=parts.clock,
            chance=parts.chance,
        )
    ]
