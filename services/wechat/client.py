"""WeChat's API over httpx: one total deadline, one repeat after a token error, a verdict for everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import httpx
import msgspec

from contracts.wechat import (
    CREATE_ACTIVITY_ID_PATH,
    QUOTA_GET_PATH,
    SET_CHAT_TOOL_MSG_PATH,
    CreateActivityIdAnswer,
    QuotaAnswer,
    QuotaRequest,
    SendAnswer,
    SetChatToolMsg,
    Verdict,
    expiration_us,
    rid_of,
    verdict_of_answer,
)
from services.ports import Clock
from services.wechat.apps import AppBook
from services.wechat.ports import Answer
from services.wechat.tokens import Token, TokenKeeper
from services.wechat.transport import Connections, Exchange

ERRMSG_LENGTH = 500
"""Characters of an `errmsg` that are kept."""
NOT_SENT = Answer(None)


T = TypeVar("T")


class Created(msgspec.Struct, frozen=True):
    """A new activity id and when it dies, µs."""

    activity_id: str
    expires_at: int


class WeChatClient:
    """Implements `services.wechat.ports.WeChat`.

    `in_flight` bounds connections; `transport` replaces httpx's (the simulation's has no socket).
    """

    def __init__(
        self,
        base: str,
        apps: AppBook,
        clock: Clock,
        *,
        in_flight: int = 64,
        deadline: float = 10.0,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._connections = Connections(base, in_flight, transport)
        self._tokens = TokenKeeper(self._connections, apps, clock)
        self._deadline = deadline

    def __repr__(self) -> str:
        return "WeChatClient(…)"

    async def close(self) -> None:
        """Close connections and give up fetches."""
        await self._tokens.close()
        await self._connections.close()

    async def set_chat_tool_msg(
        self, appid: str, message: SetChatToolMsg, deadline: float, may_send: Callable[[], bool]
    ) -> Answer:
        """Change a card; see the port. A timeout after the send is unknown, before it is not sent."""
        body = msgspec.json.encode(message)
        sending = _Sending(may_send)
        try:
            async with asyncio.timeout(deadline):
                answer, token = await self._send(appid, body, sending)
                if answer.verdict is not Verdict.token or token is None:
                    return answer
                # Once more with another token, if there is one (wechat-api.md §3).
                self._tokens.drop(appid, token.value)
                again = await self._tokens.get(appid)
                if not again.value or again.value == token.value:
                    return answer
                sending.under_way = False
                repeated, _ = await self._send(appid, body, sending)
                return answer if repeated.verdict is None else repeated
        except TimeoutError:
            if sending.under_way:
                return Answer(Verdict.unknown, sent=True, errmsg="no answer in time")
            return Answer(Verdict.busy, errmsg="no token in time")

    async def _send(self, appid: str, body: bytes, sending: _Sending) -> tuple[Answer, Token | None]:
        token = await self._tokens.get(appid)
        if not token.value:
            return _no_token(token), None
        if not sending.begin():
            return NOT_SENT, token
        query = {"access_token": str(token.value)}
        got = await self._connections.exchange("POST", SET_CHAT_TOOL_MSG_PATH, query, body)
        return _classify(got), token

    async def quota_left(self, appid: str) -> int | None:
        """What quota/get says remains of setChatToolMsg today; None for anything unclear."""
        body = msgspec.json.encode(QuotaRequest(SET_CHAT_TOOL_MSG_PATH))
        answer = await self._ask(appid, "POST", QUOTA_GET_PATH, body, _QUOTA)
        if answer is None or answer.errcode != 0 or answer.quota is None:
            return None
        return answer.quota.remain

    async def create_activity_id(self, appid: str) -> Created | None:
        """A new id of the app's; None when WeChat gave none. An id is never used twice, so try again."""
        answer = await self._ask(appid, "GET", CREATE_ACTIVITY_ID_PATH, None, _CREATED)
        if answer is None or answer.errcode != 0 or not answer.activity_id:
            return None
        return Created(answer.activity_id, expiration_us(answer.expiration_time))

    async def _ask(
        self, appid: str, method: str, path: str, body: bytes | None, decoder: msgspec.json.Decoder[T]
    ) -> T | None:
        try:
            async with asyncio.timeout(self._deadline):
                token = await self._tokens.get(appid)
                if not token.value:
                    return None
                got = await self._connections.exchange(method, path, {"access_token": str(token.value)}, body)
        except TimeoutError:
            return None
        try:
            return decoder.decode(got.body) if got.status == 200 else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


class _Sending:
    """Whether the message itself may be on its way."""

    def __init__(self, may_send: Callable[[], bool]) -> None:
        self._may_send = may_send
        self.under_way = False

    def begin(self) -> bool:
        """The lease check and the send are one step: nothing is awaited in between."""
        self.under_way = self._may_send()
        return self.under_way


_ANSWER = msgspec.json.Decoder(SendAnswer)
_QUOTA = msgspec.json.Decoder(QuotaAnswer)
_CREATED = msgspec.json.Decoder(CreateActivityIdAnswer)


def _no_token(token: Token) -> Answer:
    return Answer(token.verdict, errcode=token.errcode, errmsg=token.errmsg, rid=token.rid)


def _classify(got: Exchange) -> Answer:
    """Only a refused connection, HTTP 429 or an errcode is known (design.md §6, wechat-api.md §4)."""
    if got.refused:
        return Answer(Verdict.busy, errmsg="connection refused")
    if got.status == 0:
        return Answer(Verdict.unknown, sent=True, errmsg=got.why)
    errcode, errmsg = None, got.why or f"HTTP {got.status}"
    if got.status == 200 and not got.why:
        try:
            read = _ANSWER.decode(got.body)
            errcode, errmsg = read.errcode, read.errmsg[:ERRMSG_LENGTH]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            errmsg = "an unreadable answer"
    verdict = verdict_of_answer(got.status, errcode)
    return Answer(verdict, sent=True, errcode=errcode, errmsg=errmsg, rid=rid_of(errmsg) or "")
