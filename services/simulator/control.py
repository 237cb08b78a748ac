"""`/control/…`: declare cards, read the chat, make faults. For tests and people; WeChat has no such paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web

from contracts.times import SECOND
from services.simulator.acting import Acting, CloseWish, CompleteWish, OpenWish
from services.simulator.cards import Declaration
from services.simulator.model import Session
from services.simulator.rooms import PageWish, RoomWish
from services.simulator.shell import JSON, Shell
from services.simulator.sites import same_site
from services.simulator.stream import Stream

Wish = TypeVar("Wish")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AppsWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Apps to add, or whose secret to change."""

    apps: dict[str, str]


class TokensWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose tokens to kill, or to make one for."""

    appid: str


class QuotaWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of a path for one app, or for every app; what is absent stays."""

    path: str
    appid: str | None = None
    daily: Annotated[int, msgspec.Meta(ge=0)] | None = None
    minute: Annotated[int, msgspec.Meta(ge=0)] | None = None


class AddressesWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The addresses from which an app's secret is taken; null: any."""

    appid: str
    addresses: tuple[str, ...] | None


class TimeWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds by which WeChat's clock jumps ahead (or back)."""

    advance: float


class CodeWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A login code that works once (a new one if none is named); without an openid its user is blocked."""

    appid: str
    code: str = ""
    openid: str | None = None
    unionid: str | None = None


class Control:
    """The handlers; each answers JSON, 400 with `error` for a body it cannot use, 404 for the unknown."""

    def __init__(self, shell: Shell, acting: Acting, stream: Stream) -> None:
        self._shell = shell
        self._acting = acting
        self._stream = stream

    def routes(self) -> list[web.RouteDef]:
        """Everything under `/control`; nothing of it is for a page of another site."""
        return [
            web.route(route.method, route.path, same_site(route.handler), **route.kwargs)
            for route in self._routes()
        ]

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/control/stream", self._stream.serve),
            web.post("/control/livecard/open", _guarded(self._open)),
            web.post("/control/livecard/complete", _guarded(self._complete)),
            web.post("/control/livecard/close", _guarded(self._close)),
            web.get("/control/activities", self._list),
            web.post("/control/activities", _guarded(self._declare)),
            web.get("/control/activities/{activity_id:.+}", self._show),
            web.get("/control/ledger", self._ledger),
            web.post("/control/reset", self._reset),
            web.post("/control/time", _guarded(self._time)),
            web.post("/control/tokens/revoke", _guarded(self._revoke)),
            web.post("/control/tokens/cloudbase", _guarded(self._host)),
            web.post("/control/quota", _guarded(self._quota)),
            web.post("/control/apps", _guarded(self._apps)),
            web.post("/control/addresses", _guarded(self._addresses)),
            web.post("/control/codes", _guarded(self._codes)),
            web.get("/control/rooms", self._list_rooms),
            web.post("/control/rooms", _guarded(self._put_room)),
            web.post("/control/page", _guarded(self._page)),
            web.get("/control/behaviour", self._behaviour),
            web.post("/control/behaviour", _guarded(self._behave)),
            web.get("/control/faults", self._faults),
            web.post("/control/faults", _guarded(self._put_faults)),
            web.delete("/control/faults", self._lift_faults),
            web.route("*", "/control/{any:.*}", self._unknown),
        ]

    async def _open(self, request: web.Request) -> web.Response:
        status, answer = await self._acting.open(await _wish(request, OpenWish))
        return _json(answer, status)

    async def _complete(self, request: web.Request) -> web.Response:
        status, answer = await self._acting.complete(await _wish(request, CompleteWish))
        return _json(answer, status)

    async def _close(self, request: web.Request) -> web.Response:
        status, answer = await self._acting.close_activity(await _wish(request, CloseWish))
        return _json(answer, status)

    async def _list(self, request: web.Request) -> web.Response:
        """All cards, newest first; `?limit=` keeps the first so many."""
        await self._shell.learn()
        model, now = self._shell.model, self._shell.now()
        limit = request.query.get("limit", "")
        cards = list(model.cards.values())[::-1][: int(limit) if limit.isdecimal() else None]
        return _json(
            {"now": now, "total": len(model.cards), "activities": [card.view(now) for card in cards]}
        )

    async def _declare(self, request: web.Request) -> web.Response:
        """One declaration, or a list of them."""
        declarations = await _wish(request, Declaration | list[Declaration])
        if isinstance(declarations, Declaration):
            declarations = [declarations]
        now = self._shell.now()
        for declaration in declarations:
            declaration.expiry()
        for declaration in declarations:
            self._shell.model.declare(now, declaration)
        self._shell.changed()
        return _json({"declared": [declaration.activity_id for declaration in declarations]}, status=201)

    async def _show(self, request: web.Request) -> web.Response:
        activity_id = request.match_info["activity_id"]
        await self._shell.learn(activity_id)
        card = self._shell.model.cards.get(activity_id)
        if card is None:
            return _json({"error": "no such activity"}, status=404)
        return _json(card.view(self._shell.now()))

    async def _ledger(self, _request: web.Request) -> web.Response:
        model = self._shell.model
        ledger = model.counts.view(model.cards.values())
        return _json({**ledger, "pending_late": self._shell.pending_late})

    async def _reset(self, _request: web.Request) -> web.Response:
        """Forget cards, tokens, quotas, rooms, logins, counts, faults and the time offset; apps and behaviour
        stay."""
        self._shell.reset()
        return _json({})

    async def _time(self, request: web.Request) -> web.Response:
        wish = await _wish(request, TimeWish)
        self._shell.offset += round(wish.advance * SECOND)
        return _json({"now": self._shell.now(), "offset": self._shell.offset})

    async def _revoke(self, request: web.Request) -> web.Response:
        wish = await _wish(request, TokensWish)
        return _json({"revoked": self._shell.model.tokens.revoke(wish.appid)})

    async def _host(self, request: web.Request) -> web.Response:
        """What the cloud hosting writes into its token file."""
        wish = await _wish(request, TokensWish)
        token = self._shell.model.tokens.hosted(self._shell.now(), wish.appid)
        return _json({"cloudbase_access_token": token.value}, status=201)

    async def _quota(self, request: web.Request) -> web.Response:
        wish = await _wish(request, QuotaWish)
        limits = self._shell.model.quotas.limit(wish.appid, wish.path, daily=wish.daily, minute=wish.minute)
        return _json(limits)

    async def _apps(self, request: web.Request) -> web.Response:
        wish = await _wish(request, AppsWish)
        for appid, secret in wish.apps.items():
            self._shell.model.apps.put(appid, secret)
        return _json({"apps": self._shell.model.apps.names()})

    async def _addresses(self, request: web.Request) -> web.Response:
        wish = await _wish(request, AddressesWish)
        self._shell.model.apps.allow(wish.appid, wish.addresses)
        return _json({})

    async def _codes(self, request: web.Request) -> web.Response:
        wish = await _wish(request, CodeWish)
        session = Session(appid=wish.appid, openid=wish.openid, unionid=wish.unionid)
        return _json({"code": self._shell.model.admit(wish.code, session)}, status=201)

    async def _list_rooms(self, _request: web.Request) -> web.Response:
        return _json({"rooms": self._shell.model.rooms.view()})

    async def _put_room(self, request: web.Request) -> web.Response:
        self._shell.model.rooms.put(await _wish(request, RoomWish))
        return _json({}, status=201)

    async def _page(self, request: web.Request) -> web.Response:
        """What `wx.getChatToolInfo` and its like give the page of one user."""
        wish = await _wish(request, PageWish)
        model = self._shell.model
        code = model.admit("", Session(appid=wish.appid, openid=wish.openid)) if wish.login else None
        given = model.rooms.tell(self._shell.now(), wish)
        return _json(msgspec.structs.replace(given, js_code=code))

    async def _behaviour(self, _request: web.Request) -> web.Response:
        return _json(self._shell.model.behaviour)

    async def _behave(self, request: web.Request) -> web.Response:
        wishes = await _wish(request, dict[str, Any])
        self._shell.model.behaviour.change(wishes)
        return _json(self._shell.model.behaviour)

    async def _faults(self, _request: web.Request) -> web.Response:
        self._shell.read_faults_file()
        return _json({"rules": self._shell.faults.view(), "file_error": self._shell.file_error})

    async def _put_faults(self, request: web.Request) -> web.Response:
        ids = self._shell.put_faults(await request.read())
        self._shell.changed()
        return _json({"ids": ids}, status=201)

    async def _lift_faults(self, request: web.Request) -> web.Response:
        """`?id=` lifts one rule, without it all are lifted."""
        lifted = self._shell.faults.remove(request.query.get("id"))
        self._shell.changed()
        return _json({"lifted": lifted})

    async def _unknown(self, request: web.Request) -> web.Response:
        return _json({"error": f"no such control: {request.method} {request.path}"}, status=404)


def _json(answer: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), status=status, headers=JSON)


async def _wish(request: web.Request, kind: Any) -> Any:
    return msgspec.json.decode(await request.read(), type=kind)


def _guarded(handler: Handler) -> Handler:
    """A body that cannot be used is answered 400 with what is wrong and where."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (msgspec.DecodeError, ValueError) as error:
            return _json({"error": str(error)}, status=400)

    return guarded
