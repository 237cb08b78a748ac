"""Users who logged in, in the dict store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.store.sessions import LIFE, SessionRow
from tests.verification.dict_store.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Awaitable


class SessionsTx:
    """Implements `services.store.sessions.SessionsTx`."""

    _tables: Tables

    def __init__(self) -> None:
        super().__init__()
        self._logins: list[SessionRow] = []

    if TYPE_CHECKING:

        def _step(self) -> Awaitable[None]: ...

    async def keep_session(self, row: SessionRow) -> None:
        await self._step()
        self._logins.append(row)

    def commit_sessions(self, now: int) -> None:
        """They become true."""
        for row in self._logins:
            self._tables.sessions[row.id] = row, now + LIFE


class SessionsReads(Tables):
    """Implements `services.store.sessions.SessionsStore`."""

    async def session(self, name: str) -> SessionRow | None:
        row, expires_at = self.sessions.get(name, (None, 0))
        return row if expires_at > self.clock() else None

    def prune_sessions(self, limit: int) -> int:
        """Forget those that are over, the oldest first."""
        now = self.clock()
        rows = sorted((expires_at, name) for name, (_, expires_at) in self.sessions.items())
        old = [name for expires_at, name in rows if expires_at < now][:limit]
        for name in old:
            del self.sessions[name]
        return len(old)
