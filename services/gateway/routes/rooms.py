"""Who is who in a room: logins, bindings, and the members known there."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta

from contracts import wire
from contracts.events import LONGEST_ID, Room
from contracts.reading import plain
from services.gateway.asking import logged_in
from services.gateway.bodies import body_of, read_body
from services.gateway.cursors import PAGE, Cursor, Limit, read_cursor, write_cursor
from services.gateway.decrypt import LONGEST_DATA, NO_MEMBER, UNREADABLE, UnreadableError, open_room_info
from services.gateway.dependencies import Gateway, TheCaller, TheGateway
from services.gateway.keys import Caller
from services.gateway.once import Keep, Reply, once
from services.gateway.ownership import check_app
from services.gateway.problems import Problem, not_found, unprocessable
from services.gateway.session_keys import NO_FILE, SessionKeys, hash_of
from services.gateway.times import moment
from services.store.ports import Tx
from services.store.rooms import Binding, MemberPlace
from services.store.sessions import SessionRow
from services.transactions.bind import bind_in
from services.transactions.sessions import keep_session

LONGEST_TEXT = 1_000
"""Characters of a nickname, and of an avatar's address."""

Appid = Annotated[
    str, QueryParameter(description="The mini program whose room it is.", min_length=1, max_length=LONGEST_ID)
]
RoomId = Annotated[
    str, PathParameter(description="The room's opengid or open_single_roomid, percent-encoded.")
]
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]


class Login(msgspec.Struct, frozen=True):
    """Whose user logged in, and the code that `wx.login` gave the page."""

    appid: wire.Id
    js_code: Annotated[str, Meta(min_length=1, max_length=512)]

    def __repr__(self) -> str:
        return f"Login({self.appid})"


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """A login: `session` stands for the user for a day, and is as good as a password."""

    session: str
    openid: str
    unionid: str | None = None


class Bind(msgspec.Struct, frozen=True, rename={"encrypted_data": "encryptedData"}):
    """What `wx.getChatToolInfo` or `wx.getGroupEnterInfo` gave this user's page."""

    session: Annotated[str, Meta(min_length=1, max_length=128)]
    encrypted_data: Annotated[str, Meta(min_length=1, max_length=LONGEST_DATA)]
    iv: Annotated[str, Meta(min_length=1, max_length=64)]
    nickname: Text | None = None
    avatar_url: Text | None = None


class RoomBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The room, as an activity's `room` names it; and of which kind the chat is."""

    opengid: str | None = None
    open_single_roomid: str | None = None
    chat_type: int | None = None


class Bound(msgspec.Struct, frozen=True):
    """Who the user is, and where."""

    room: RoomBody
    group_openid: str
    openid: str


class RoomMemberBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """One person known in the room."""

    group_openid: str
    openid: str
    bound_at: str
    nickname: str | None = None
    avatar_url: str | None = None


class RoomMembersBody(msgspec.Struct, frozen=True):
    """A page of a room's members; `next` null: the last one."""

    members: list[RoomMemberBody]
    next: str | None


@post(
    "/sessions",
    status_code=201,
    opt={"scope": "rooms", "body": Login, "example": {"appid": "wx1", "js_code": "what wx.login gave"}},
    summary="Log a user in",
)
async def log_in(
    request: Request[Any, Any, Any], gateway: TheGateway, caller: TheCaller
) -> Response[Session]:
    """A code is good for one answer of WeChat's, so a page that lost ours repeats the request under its
    `Idempotency-Key`; what is kept for that is encrypted."""
    body = await body_of(request)
    keys = _keys(gateway)

    async def work(keep: Keep) -> Reply:
        login = read_body(body, Login)
        _check_plain(login.appid, "appid")
        check_app(caller, login.appid)
        user = await logged_in(gateway, login.appid, login.js_code)
        session = keys.new_session()
        name = hash_of(session)
        sealed = keys.seal(user.session_key.encode(), name.encode())
        row = SessionRow(name, login.appid, user.openid, user.unionid, sealed)

        async def last(tx: Tx) -> Reply:
            return await keep(tx, Reply.of(201, Session(session, user.openid, user.unionid)))

        return await keep_session(gateway.store, row, last)

    return await once(request, body, gateway, caller, work, seal=keys)


@post(
    "/rooms/bind",
    status_code=200,
    opt={"scope": "rooms", "body": Bind, "problems": (404,)},
    summary="Bind a user to a member of a room",
)
async def bind(request: Request[Any, Any, Any], gateway: TheGateway, caller: TheCaller) -> Response[Bound]:
    """This openid is this group_openid in this room of this app; what waited for that is published now."""
    body = await body_of(request)

    async def work(keep: Keep) -> Reply:
        said = read_body(body, Bind)
        for path in ("nickname", "avatar_url"):
            if "\x00" in (getattr(said, path) or ""):
                raise unprocessable(path, "expected a text without the character U+0000")
        row, session_key = await _session(gateway, caller, said.session)
        try:
            info = open_room_info(session_key, said.encrypted_data, said.iv, row.appid)
        except UnreadableError:
            raise Problem(422, UNREADABLE) from None
        if info.group_openid is None:
            raise Problem(422, NO_MEMBER)
        room = Room(opengid=info.opengid, open_single_roomid=info.open_single_roomid)
        room_body = RoomBody(info.opengid, info.open_single_roomid, info.chat_type)
        reply = Reply.of(200, Bound(room_body, info.group_openid, row.openid))
        async with gateway.store.transaction() as tx:
            who = (row.openid, info.group_openid, said.nickname, said.avatar_url)
            await bind_in(tx, row.appid, room, *who)
            return await keep(tx, reply)

    answer = await once(request, body, gateway, caller, work)
    gateway.relay.kick()
    return answer


@get(
    "/rooms/{room_id:str}/members",
    opt={"scope": "rooms", "problems": (422,)},
    summary="The members known in a room",
)
async def room_members(
    *,
    room_id: RoomId,
    appid: Appid,
    gateway: TheGateway,
    caller: TheCaller,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> RoomMembersBody:
    """By group_openid; those who were bound."""
    check_app(caller, appid)
    of = f"room members {appid} {room_id}"
    after = MemberPlace(*(read_cursor(of, cursor, tuple[str, str]) or ("", "")))
    legal = len(room_id) <= LONGEST_ID and plain(room_id)
    found = await gateway.store.room_members(appid, room_id, after, limit + 1) if legal else []
    if not found and cursor is None:
        raise not_found("nobody is known in a room of this id")
    shown = found[:limit]
    place = (shown[-1].group_openid, shown[-1].openid) if len(found) > limit else None
    return RoomMembersBody([_member(each) for each in shown], place and write_cursor(of, place))


async def _session(gateway: Gateway, caller: Caller, session: str) -> tuple[SessionRow, str]:
    """The session and its key. Raises `Problem`: 404 for one of another's app, 401 for one that is over."""
    row = await gateway.store.session(hash_of(session))
    if row is None:
        raise _over()
    if not caller.owns(row.appid):
        raise not_found("none of this key's apps has such a session")
    key = _keys(gateway).unseal(row.session_key, row.id.encode())
    if key is None:
        raise _over()
    return row, key.decode()


def _over() -> Problem:
    return Problem(401, "this session is over: call wx.login, and POST /v1/sessions with its code")


def _keys(gateway: Gateway) -> SessionKeys:
    if gateway.session_keys is None or not gateway.session_keys.usable:
        raise Problem(409, NO_FILE)
    return gateway.session_keys


def _check_plain(text: str, path: str) -> None:
    if not plain(text):
        raise unprocessable(path, "expected a text without control characters")


def _member(binding: Binding) -> RoomMemberBody:
    return RoomMemberBody(
        binding.group_openid, binding.openid, moment(binding.bound_at), binding.nickname, binding.avatar_url
    )


router = Router("/v1", route_handlers=[log_in, bind, room_members])
