"""Telemetry hears how long each statement took, and counts what was committed and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from services.runtime.clock import RealClock
from services.store.measured import Measure
from services.store.open import migrate, open_store
from services.store.ports import Store
from services.store.rows import Writes


class Heard:
    """What telemetry was told."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.counters: list[Mapping[str, int]] = []

    def ran(self, statement: str, seconds: float) -> None:
        assert seconds >= 0
        self.statements.append(statement)

    def counted(self, counters: Mapping[str, int]) -> None:
        self.counters.append(dict(counters))


async def fail(store: Store) -> None:
    async with store.transaction() as tx:
        await tx.write(Writes(counters={"repairs": 1}))
        raise ZeroDivisionError


async def test_what_a_transaction_counts_is_told_once_it_is_committed(store_url: str) -> None:
    """On both engines: a statement by its name, also in a transaction that fails; counters only after the
    commit, however many writes they came by."""
    await migrate(store_url)
    heard = Heard()
    store = await open_store(store_url, measure=Measure(RealClock(), heard))
    try:
        with pytest.raises(ZeroDivisionError):
            await fail(store)
        assert "counters" in heard.statements
        assert heard.counters == []
        async with store.transaction() as tx:
            await tx.write(Writes(counters={"repairs": 1, "revisions.raised": 2}))
            await tx.write(Writes(counters={"repairs": 2}))
            assert heard.counters == []
        assert heard.counters == [{"repairs": 3, "revisions.raised": 2}]
        await store.backlog()
        assert heard.statements[-1] == "backlog"
        async with store.transaction() as tx:
            await tx.now()
        assert len(heard.counters) == 1
    finally:
        await store.close()
