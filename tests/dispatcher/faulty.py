"""A store between a dispatcher and the real one that is away, slow, deaf or picky when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from services.store.ports import Store, StoreRejected, StoreUnavailable, Tx
from services.store.rows import Due, Writes
from statemachine.card import Card
from statemachine.gate import Gate


class _Tx:
    """Passes everything on, remembering whether this is a claim or a settling."""

    def __init__(self, tx: Tx, store: FaultyStore) -> None:
        self._tx, self._store = tx, store
        self.kind = ""

    async def claim_due(self, rooms: Mapping[str, int], limit: int, narrow: int) -> Due:
        self.kind = "claim"
        due = await self._tx.claim_due(rooms, limit, narrow)
        due.cards = [card for card in due.cards if card.activity_id not in self._store.locked]
        return due

    async def lock_gates(self, appids: Sequence[str], *, wait: bool) -> dict[str, Gate]:
        free = [appid for appid in appids if wait or appid not in self._store.locked_gates]
        return await self._tx.lock_gates(free, wait=wait) if free else {}

    async def lock_cards(self, activity_ids: Sequence[str]) -> list[Card]:
        self.kind = "settle"
        return await self._tx.lock_cards(activity_ids)

    async def write(self, writes: Writes) -> None:
        if self.kind == "settle" and any(card.activity_id == self._store.poison for card in writes.cards):
            raise StoreRejected("no such value fits")
        await self._tx.write(writes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


class FaultyStore:
    """`away`: nothing answers. `slow`: seconds from a claim's commit to its answer. `deaf`: so many
    settlings commit and their answer is lost. `poison`: an activity whose results are refused.
    `locked`, `locked_gates`: what somebody else has locked. `claims`: how many claims answered."""

    def __init__(self, store: Store) -> None:
        self._inner = store
        self.away = False
        self.slow = 0.0
        self.deaf = 0
        self.poison = ""
        self.locked: set[str] = set()
        self.locked_gates: set[str] = set()
        self.claims = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        self._here()
        async with self._inner.transaction() as inner:
            tx = _Tx(inner, self)
            yield tx
        self._here()
        if tx.kind == "claim":
            await asyncio.sleep(self.slow)
            self.claims += 1
        elif tx.kind == "settle" and self.deaf:
            self.deaf -= 1
            raise StoreUnavailable("the connection was cut after the commit")

    async def ping(self) -> None:
        self._here()
        await self._inner.ping()

    async def all_gates(self) -> list[Gate]:
        self._here()
        return await self._inner.all_gates()

    def _here(self) -> None:
        if self.away:
            raise StoreUnavailable("the store is away")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
