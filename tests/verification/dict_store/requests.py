"""The dict store's answers under an `Idempotency-Key`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import msgspec

from services.store.requests import KEPT, UNDER_WAY, RequestRow

if TYPE_CHECKING:
    from tests.verification.dict_store.tables import Tables


class RequestEntry(msgspec.Struct):
    """A row of `requests`."""

    row: RequestRow
    started_at: int

    def over(self, row: RequestRow, now: int) -> bool:
        """Whether a new attempt takes its place."""
        age = abs(now - self.started_at)
        given_up = self.row.status is None and self.row.digest == row.digest and age >= UNDER_WAY
        return age >= KEPT or given_up


class MemoryRequests:
    """`services.store.requests.RequestsTx` in dicts; `changed_requests` become true with the commit."""

    _tables: Tables
    _now: Callable[[], int]
    changed_requests: dict[str, RequestEntry | None]

    @abstractmethod
    async def _lock(self, key: Hashable) -> None:
        """`MemoryTx`'s."""

    @abstractmethod
    async def _step(self) -> None:
        """`MemoryTx`'s."""

    def _request(self, name: str) -> RequestEntry | None:
        if name in self.changed_requests:
            return self.changed_requests[name]
        return self._tables.requests.get(name)

    async def claim_request(self, row: RequestRow) -> RequestRow | None:
        await self._step()
        await self._lock(("request", row.id))
        entry, now = self._request(row.id), self._now()
        if entry is not None and not entry.over(row, now):
            return msgspec.structs.replace(entry.row)
        self.changed_requests[row.id] = RequestEntry(msgspec.structs.replace(row, status=None, body=""), now)
        return None

    async def keep_request(self, row: RequestRow) -> bool:
        if (entry := await self._own_request(row)) is None:
            return False
        self.changed_requests[row.id] = RequestEntry(msgspec.structs.replace(row), entry.started_at)
        return True

    async def release_request(self, row: RequestRow) -> None:
        if await self._own_request(row) is not None:
            self.changed_requests[row.id] = None

    async def _own_request(self, row: RequestRow) -> RequestEntry | None:
        await self._step()
        await self._lock(("request", row.id))
        entry = self._request(row.id)
        return entry if entry and entry.row.owner == row.owner and entry.row.status is None else None
