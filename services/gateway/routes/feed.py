"""What happens to an activity while it happens: server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar import Request, Router, get
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.answers import activity_body
from services.gateway.dependencies import ActivityId, TheCaller, TheGateway
from services.gateway.feed import (
    Feed,
    NotReading,
    Stream,
    TooManyStreams,
    last_event_id,
    snapshot,
)
from services.gateway.keys import ApiKeys
from services.gateway.ownership import check_id, check_own
from services.gateway.problems import unavailable
from services.store.ports import Store, StoreUnavailable
from services.transactions.views import view_activity

MEDIA_TYPE: Final = "text/event-stream"
KEEP_ALIVE: Final = 15.0
"""Seconds without a change after which a comment is sent; so soon a revoked key is noticed, too."""
RECONNECT: Final = 2000
"""Milliseconds after which a client should come again when its stream ended."""
LAST_WORDS: Final = 1.0
"""Seconds in which a client takes what is on its way to it when its stream ends."""
TRY_AGAIN: Final = 5
"""Seconds after which to try again where no stream can be opened."""
LAST_EVENT_ID: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The `id` of the change that came last: go on after it, without a snapshot.",
    "schema": {"type": "string"},
}
EXAMPLE: Final = """retry: 2000

event: snapshot
data: {"activity_id": "966_NGiq", "state": "open", …}

event: livecard.participant.done
id: 966_NGiq:done:1a51daf56559cd681c9929c8
data: {"specversion": "1.0", "type": "livecard.participant.done", "data": {"members": ["gp-alex"]}, …}

: still here

"""
ANSWER: Final = {
    "description": "Server-sent events without an end. `event` is `snapshot` (`data`: the body of the "
    "activity's GET; no `id`), or the type of a change (`id`: the change's; `data`: its CloudEvent). "
    "A comment comes every 15 seconds in which nothing happens.",
    "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": EXAMPLE}},
}
"""Both as the API's document has them."""
HEADERS: Final = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx holds answers back without it
]


@get(
    "/{activity_id:str}/events",
    opt={"scope": "read", "headers": [LAST_EVENT_ID], "answers": {"200": ANSWER}},
    media_type=MEDIA_TYPE,
    summary="The changes of an activity, as they happen",
)
async def events(
    request: Request[Any, Any, Any], activity_id: ActivityId, caller: TheCaller, gateway: TheGateway
) -> ASGIApp:
    """Server-sent events: a `snapshot` (the body of the activity's GET), then its changes as on
    `activity.changes`, each with its `id`. Those of just before the snapshot may come again: drop them by
    their ids. With `Last-Event-ID` the stream goes on after that change and has no snapshot,
    unless it is more than an hour old or too much has happened since."""
    check_id(activity_id)
    stream = _opened(gateway.feed, activity_id, last_event_id(request.headers))
    try:
        view = await view_activity(gateway.store, activity_id, gateway.rules)
        check_own(caller, None if view is None else view.seen.card.appid)
        assert view is not None  # or it would be nobody's
        first = snapshot(msgspec.json.encode(activity_body(view))) if stream.fresh else b""
    except BaseException:
        stream.end("left")
        raise
    keys: ApiKeys = request.app.state.api_keys
    appid = view.seen.card.appid

    async def allowed() -> bool:
        """By the keys file of this moment; after an opening also by the app that opened the activity, which
        need not be the one that announced it."""
        if stream.opened and not await _still_of(appid, stream, gateway.store):
            return False
        return keys.still(caller, "read", appid)

    return EventStream(stream, first, allowed)


async def _still_of(appid: str, stream: Stream, store: Store) -> bool:
    """Whether the opened activity is this app's. Where the store is away the stream ends, too: its client
    comes again."""
    stream.opened = False
    try:
        owner = await store.owner(stream.activity_id)
    except StoreUnavailable:
        stream.end("gap")
        return False
    return owner is not None and owner.appid == appid


def _opened(feed: Feed, activity_id: str, last: str | None) -> Stream:
    try:
        return feed.open(activity_id, last)
    except NotReading:
        raise unavailable("the changes cannot be read from Kafka yet: try again", TRY_AGAIN) from None
    except TooManyStreams:
        raise unavailable("this gateway has as many streams as it may have: try again", TRY_AGAIN) from None


class EventStream:
    """The answer, as an ASGI application: it ends when the client leaves, when its stream does, or when its
    key is not `allowed` any more."""

    def __init__(self, stream: Stream, first: bytes, allowed: Callable[[], Awaitable[bool]]) -> None:
        self._stream, self._first, self._allowed = stream, first, allowed

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        writing = asyncio.create_task(self._write(send), name="stream")
        leaving = asyncio.create_task(_left(receive), name="stream-left")
        ended = asyncio.create_task(self._stream.ended.wait(), name="stream-ended")
        tasks = (writing, leaving, ended)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and isinstance(writing.exception(), TimeoutError):
                self._stream.end("slow")
            if ended.done():  # a client that does not read would hold it open
                await asyncio.wait(
                    (writing, leaving), timeout=LAST_WORDS, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            self._stream.end("left")
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if not writing.cancelled() and (error := writing.exception()) and not isinstance(error, OSError):
            raise error

    async def _write(self, send: Send) -> None:
        start: Any = {"type": "http.response.start", "status": 200, "headers": HEADERS}
        await send(start)
        await send(_body(b"retry: %d\n\n%b" % (RECONNECT, self._first)))
        while (news := await self._stream.next(KEEP_ALIVE)) is not None and await self._allowed():
            await send(_body(news or b": still here\n\n"))
        self._stream.end("revoked")  # unless it ended before
        await send(_body(b"", more=False))


def _body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _left(receive: Receive) -> None:
    """Until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


router = Router("/v1/activities", route_handlers=[events])
