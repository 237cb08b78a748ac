"""What the gateway answered under an `Idempotency-Key`: the row, its statements, its primitives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from contracts.times import DAY, MINUTE

if TYPE_CHECKING:
    from services.store.sql_tx import ByName

KEPT: Final = DAY
"""µs for which an answer is kept."""
UNDER_WAY: Final = MINUTE
"""µs after which a request without an answer counts as given up: its process died."""


class RequestRow(msgspec.Struct):
    """A request under an `Idempotency-Key`. `id` is a hash of API key, method, path and that key; `digest`
    one of the body; `owner` this very attempt. `status` None: it is under way."""

    id: str
    digest: str
    owner: str
    status: int | None = None
    body: str = ""


REQUESTS: Final = {
    "claim_request": f"""
        INSERT INTO requests (id, digest, owner, status, body, started_at)
        VALUES (:id, :digest, :owner, NULL, '', {{now}})
        ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, owner = excluded.owner, status = NULL,
          body = '', started_at = excluded.started_at
        WHERE requests.started_at <= excluded.started_at - {KEPT}
          OR requests.started_at > excluded.started_at + {KEPT}
          OR (requests.status IS NULL AND requests.digest = excluded.digest
            AND (requests.started_at <= excluded.started_at - {UNDER_WAY}
              OR requests.started_at > excluded.started_at + {UNDER_WAY}))
        RETURNING id""",
    "read_request": "SELECT id, digest, owner, status, body FROM requests WHERE id = :id",
    "keep_request": """
        UPDATE requests SET status = :status, body = :body
        WHERE id = :id AND owner = :owner AND status IS NULL""",
    "release_request": "DELETE FROM requests WHERE id = :id AND owner = :owner AND status IS NULL",
}
"""A clock that was set back keeps nobody waiting: what began too far ahead counts as over, too."""

PRUNE_REQUESTS: Final = f"started_at < {{now}} - {KEPT}"


class RequestsTx(Protocol):
    """Part of `services.store.ports.Tx`."""

    async def claim_request(self, row: RequestRow) -> RequestRow | None:
        """Take this request on: None. One that was taken before: what is known of it; its row waits, locked,
        for whoever takes or answers it at the same moment. One that was given up, or is too old, is taken."""
        ...

    async def keep_request(self, row: RequestRow) -> bool:
        """Keep its answer, if this attempt still holds it."""
        ...

    async def release_request(self, row: RequestRow) -> None:
        """It came to nothing, so it may be tried again, if this attempt still holds it."""
        ...


class SqlRequests:
    """`RequestsTx` on an SQL engine."""

    _run: ByName

    async def claim_request(self, row: RequestRow) -> RequestRow | None:
        if await self._run("claim_request", id=row.id, digest=row.digest, owner=row.owner):
            return None
        ((*found,),) = await self._run("read_request", id=row.id)
        return RequestRow(*found)

    async def keep_request(self, row: RequestRow) -> bool:
        kept = await self._run.count(
            "keep_request", id=row.id, owner=row.owner, status=row.status, body=row.body
        )
        return kept == 1

    async def release_request(self, row: RequestRow) -> None:
        await self._run.count("release_request", id=row.id, owner=row.owner)
