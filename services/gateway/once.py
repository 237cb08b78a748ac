"""`Idempotency-Key`: a request that is repeated is answered as the first time, and done once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response

from services.gateway.dependencies import Gateway, Seal
from services.gateway.keys import Caller
from services.gateway.problems import MEDIA_TYPE, Problem
from services.store.ports import StoreRejected, StoreUnavailable, Tx
from services.store.requests import RequestRow

LOG = structlog.get_logger("livecard.gateway")

HEADER: Final = "Idempotency-Key"
LONGEST: Final = 255
"""Characters of that key."""
KEPT_PROBLEM: Final = 422
"""The one refusal that is kept: the same bytes would be refused again."""
LAST_TRY: Final = 1.0
"""Seconds in which a request that failed lets go of its key."""


class Reply(msgspec.Struct, frozen=True):
    """What a route answers; `body` is JSON, empty for none."""

    status: int
    body: bytes = b""

    @classmethod
    def of(cls, status: int, body: Any) -> Reply:
        """With this body."""
        return cls(status, msgspec.json.encode(body))

    def response(self) -> Response[Any]:
        """As Litestar sends it."""
        if not self.body:
            return Response(None, status_code=self.status)
        media_type = MEDIA_TYPE if self.status >= 400 else "application/json"
        return Response(self.body, status_code=self.status, media_type=media_type)


class Keep:
    """Keeps the reply in the transaction that does the work, so that both happen or neither.

    Call it last: `return await keep(tx, Reply.of(202, …))`. For a request without a key it does nothing.
    """

    def __init__(self, row: RequestRow | None, seal: Seal | None) -> None:
        self._row, self._seal = row, seal
        self.kept = row is None

    async def __call__(self, tx: Tx, reply: Reply) -> Reply:
        """Keep it. Raises `Problem`, and so undoes the work, where another has taken the request over."""
        if self._row is not None:
            about = self._row.id.encode()
            body = self._seal.seal(reply.body, about) if self._seal else reply.body.decode()
            if not await tx.keep_request(msgspec.structs.replace(self._row, status=reply.status, body=body)):
                raise under_way()
            self.kept = True
        return reply


Work = Callable[[Keep], Awaitable[Reply]]


class Asked(msgspec.Struct, frozen=True):
    """A request, as far as a repeat of it is known by it; `key` is its `Idempotency-Key`."""

    method: str
    path: str
    key: str | None
    body: bytes

    @classmethod
    def of(cls, request: Request[Any, Any, Any], body: bytes) -> Asked:
        """Of Litestar's. Raises `Problem` for a key that is none."""
        return cls(request.method, request.scope["path"], _key(request), body)


async def once(
    request: Request[Any, Any, Any],
    body: bytes,
    gateway: Gateway,
    caller: Caller,
    work: Work,
    *,
    seal: Seal | None = None,
) -> Response[Any]:
    """As `reply_once`, for a route."""
    return (await reply_once(Asked.of(request, body), gateway, caller, work, seal=seal)).response()


async def reply_once(
    asked: Asked, gateway: Gateway, caller: Caller, work: Work, *, seal: Seal | None = None
) -> Reply:
    """What `work` answers, or what it answered the first time to this key and these bytes.

    2xx and 422 are kept; anything else may be tried again. `work` keeps its reply by the `Keep` that it is
    handed, in its own transaction; where it has none, the reply is kept in one of its own, afterwards.
    `seal`: the reply holds a secret, so it is kept encrypted.
    """
    if asked.key is None:
        return await work(Keep(None, None))
    row = RequestRow(_id(asked, caller), hashlib.sha256(asked.body).hexdigest(), _owner(gateway))
    keep = Keep(row, seal)
    try:
        async with gateway.store.transaction() as tx:
            known = await tx.claim_request(row)
        if known is None:
            return await _first(gateway, keep, work)
    except (Exception, asyncio.CancelledError) as error:
        await asyncio.shield(asyncio.create_task(_settle(gateway, row, error), name="settle-request"))
        raise
    return _as_before(known, row, seal)


async def _first(gateway: Gateway, keep: Keep, work: Work) -> Reply:
    reply = await work(keep)
    if not keep.kept:
        async with gateway.store.transaction() as tx:
            await keep(tx, reply)
    return reply


async def _settle(gateway: Gateway, row: RequestRow, error: BaseException) -> None:
    """Keep a refusal of the data; after anything else the request may be tried again, unless its work was
    committed after all. Best effort: what is under way counts as given up after a minute."""
    with suppress(StoreUnavailable, StoreRejected, TimeoutError):
        async with asyncio.timeout(LAST_TRY), gateway.store.transaction() as tx:
            if isinstance(error, Problem) and error.status == KEPT_PROBLEM:
                body = error.encode().decode()
                await tx.keep_request(msgspec.structs.replace(row, status=error.status, body=body))
            else:
                await tx.release_request(row)


def _as_before(known: RequestRow, row: RequestRow, seal: Seal | None) -> Reply:
    """What was answered the first time. Raises `Problem`."""
    if known.digest != row.digest:
        raise Problem(422, f"this {HEADER} was used for another body within 24 hours: make a new one")
    if known.status is None:
        raise under_way()
    if seal is None or known.status == KEPT_PROBLEM or not known.body:
        return Reply(known.status, known.body.encode())
    plain = seal.unseal(known.body, row.id.encode())
    if plain is None:
        raise Problem(409, "this was answered before, and the answer can be read no more: begin anew")
    return Reply(known.status, plain)


def under_way() -> Problem:
    """409."""
    return Problem(
        409, f"a request with this {HEADER} is under way: wait for its answer", headers={"Retry-After": "1"}
    )


def _key(request: Request[Any, Any, Any]) -> str | None:
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 0 < len(key) <= LONGEST or not key.isascii() or not key.isprintable():
        raise Problem(400, f"{HEADER} must be 1 to {LONGEST} printable ASCII characters")
    return key


def _id(asked: Asked, caller: Caller) -> str:
    """One row's name: nothing of the request can be read out of it. What was answered for an app is told no
    more once the key is for other apps."""
    parts = [caller.key, sorted(caller.appids), asked.method, asked.path, asked.key]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _owner(gateway: Gateway) -> str:
    return f"{gateway.chance.getrandbits(96):024x}"
