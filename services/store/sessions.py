"""Users who logged in: their rows, the statements over them, and what the engines promise (design.md §8)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from contracts.times import DAY

if TYPE_CHECKING:
    from services.store.sql_tx import ByName

LIFE: Final = DAY
"""µs from a login to the end of its session."""


class SessionRow(msgspec.Struct, frozen=True):
    """One login. `id` is the hash of what the caller holds; `session_key` is sealed, and the gateway alone
    opens it."""

    id: str
    appid: str
    openid: str
    unionid: str | None
    session_key: str

    def __repr__(self) -> str:
        return f"SessionRow({self.appid})"


class SessionsTx(Protocol):
    """Part of `services.store.ports.Tx`."""

    async def keep_session(self, row: SessionRow) -> None:
        """Keep it for a day from now."""
        ...


class SessionsStore(Protocol):
    """Part of `services.store.ports.Store`."""

    async def session(self, name: str) -> SessionRow | None:
        """The session with this hash, unless it is over."""
        ...


_COLUMNS: Final = "id, appid, openid, unionid, session_key"
"""In the order of `SessionRow`'s fields."""

SESSIONS: Final = {
    "keep_session": f"""
        INSERT INTO sessions ({_COLUMNS}, created_at, expires_at)
        VALUES (:id, :appid, :openid, :unionid, :session_key, {{now}}, {{now}} + {LIFE})""",
    "session": f"SELECT {_COLUMNS} FROM sessions WHERE id = :id AND expires_at > {{now}}",
}

PRUNE_SESSIONS: Final = "expires_at < {now}"


class SqlSessionsTx:
    """`SessionsTx` on an SQL engine."""

    _run: ByName

    async def keep_session(self, row: SessionRow) -> None:
        await self._run("keep_session", **msgspec.structs.asdict(row))


class SqlSessions:
    """`SessionsStore` on an SQL engine."""

    @abstractmethod
    def _reading(self, *, alone: bool = True) -> AbstractAsyncContextManager[ByName]:
        """`SqlStore`'s."""

    async def session(self, name: str) -> SessionRow | None:
        async with self._reading() as run:
            rows: Sequence[Any] = await run("session", id=name)
            return SessionRow(*rows[0]) if rows else None
