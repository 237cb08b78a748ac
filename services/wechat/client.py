"""WeChat's API: one total deadline, one repeat after a token error, a verdict for everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import structlog

from contracts.wechat import (
    CREATE_ACTIVITY_ID_PATH,
    QUOTA_GET_PATH,
    SET_CHAT_TOOL_MSG_PATH,
    CreateActivityIdAnswer,
    QuotaAnswer,
    QuotaRequest,
    SetChatToolMsg,
    Status,
    Verdict,
    expiration_us,
    verdict_of,
)
from services.runtime.ports import Clock
from services.wechat.apps import AppBook
from services.wechat.ports import Answer
from services.wechat.reading import classify, read
from services.wechat.tokens import ABOUT_THE_APP, Token, TokenKeeper
from services.wechat.transport import AiohttpTransport, Limited, Transport

LOG = structlog.get_logger("livecard.wechat")

OTHERS: Final = 8
"""Exchanges at once for tokens and the like, which must not stand behind messages that hang."""

T = TypeVar("T", bound=Status)


class Created(msgspec.Struct, frozen=True):
    """A new activity id and when it dies, µs."""

    activity_id: str
    expires_at: int


class WeChatClient:
    """Implements `services.wechat.ports.WeChat`.

    `in_flight` bounds the messages under way; `deadline` (seconds, total) is for the calls that have
    none of their own; `authorities` is a PEM file of who may sign WeChat's certificate, if it is not one of
    the public list; `transport` replaces aiohttp's (the simulation's has no socket).
    """

    def __init__(
        self,
        base: str,
        apps: AppBook,
        clock: Clock,
        *,
        in_flight: int = 64,
        deadline: float = 10.0,
        authorities: str = "",
        transport: Transport | None = None,
    ) -> None:
        self._transport = transport or AiohttpTransport(base, authorities)
        self._messages = Limited(self._transport, in_flight)
        self._others = Limited(self._transport, OTHERS)
        self._tokens = TokenKeeper(self._others, apps, clock)
        self._deadline = deadline

    def __repr__(self) -> str:
        return "WeChatClient(…)"

    async def close(self) -> None:
        """Give up token fetches and close the connections."""
        await self._tokens.close()
        await self._transport.close()

    async def set_chat_tool_msg(
        self, appid: str, message: SetChatToolMsg, deadline: float, may_send: Callable[[], bool]
    ) -> Answer:
        """Change a card; see the port. A timeout after the send is unknown, before it is not sent."""
        sending = _Sending(may_send)
        try:
            async with asyncio.timeout(deadline):
                return await self._deliver(appid, msgspec.json.encode(message), sending)
        except TimeoutError:
            return sending.cut_short("no answer in time")
        except Exception as error:  # noqa: BLE001 - whatever it is, the port promises an answer
            LOG.warning("a call failed on our side", appid=appid, error=type(error).__name__)
            return sending.cut_short(type(error).__name__)

    async def _deliver(self, appid: str, body: bytes, sending: _Sending) -> Answer:
        """Send; after a token error once more with another token, if there is one (wechat-api.md §3)."""
        token = await self._tokens.get(appid)
        if not token.value:
            return _no_token(token, sent=False)
        sending.has_token = True
        answer = await self._send(token, body, sending)
        if answer.verdict is not Verdict.token:
            return answer
        fresh = await self._tokens.renew(appid, token.value)
        if fresh.verdict in ABOUT_THE_APP:
            return _no_token(fresh, sent=True)
        if not fresh.value or fresh.value == token.value:
            return answer
        again = await self._send(fresh, body, sending)
        if again.verdict is Verdict.token:
            self._tokens.refused(appid, fresh.value)
        return answer if again.verdict is None else again

    async def _send(self, token: Token, body: bytes, sending: _Sending) -> Answer:
        query = {"access_token": str(token.value)}
        got = await self._messages.exchange("POST", SET_CHAT_TOOL_MSG_PATH, query, body, sending.begin)
        return sending.over(classify(got, token.value))

    async def has_other_token(self, appid: str) -> bool:
        """Whether WeChat gives another token now than the one it refused this process last."""
        return await self._tokens.has_other(appid)

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
        if answer is None or answer.errcode != 0 or not answer.activity_id or answer.expiration_time <= 0:
            return None
        return Created(answer.activity_id, expiration_us(answer.expiration_time))

    async def _ask(
        self, appid: str, method: str, path: str, body: bytes | None, decoder: msgspec.json.Decoder[T]
    ) -> T | None:
        """An answer with data, after one repeat at most when the token was refused; None for no answer."""
        try:
            async with asyncio.timeout(self._deadline):
                token = await self._tokens.get(appid)
                if not token.value:
                    return None
                answer = await self._question(token, method, path, body, decoder)
                if answer is None or verdict_of(answer.errcode) is not Verdict.token:
                    return answer
                fresh = await self._tokens.renew(appid, token.value)
                if not fresh.value or fresh.value == token.value:
                    return answer
                return await self._question(fresh, method, path, body, decoder)
        except TimeoutError:
            return None
        except Exception as error:  # noqa: BLE001 - asking may fail in any way and then changes nothing
            LOG.warning("a question failed on our side", appid=appid, error=type(error).__name__)
            return None

    async def _question(
        self, token: Token, method: str, path: str, body: bytes | None, decoder: msgspec.json.Decoder[T]
    ) -> T | None:
        query = {"access_token": str(token.value)}
        return read(decoder, await self._others.exchange(method, path, query, body))


class _Sending:
    """How far a message has come: what a deadline that strikes now means."""

    def __init__(self, may_send: Callable[[], bool]) -> None:
        self._may_send = may_send
        self.has_token = False
        self._under_way = False
        self._answer: Answer | None = None

    def begin(self) -> bool:
        """The lease check, in one step with the send."""
        self._under_way = self._may_send()
        return self._under_way

    def over(self, answer: Answer) -> Answer:
        """This send was answered, or not begun."""
        self._under_way = False
        if answer.verdict is not None:
            self._answer = answer
        return answer

    def cut_short(self, why: str) -> Answer:
        """Unknown while a send is under way; else what the last one was answered; else not sent."""
        if self._under_way:
            return Answer(Verdict.unknown, sent=True, errmsg=why)
        verdict = Verdict.busy if self.has_token else Verdict.no_token
        return self._answer or Answer(verdict, errmsg=f"not sent: {why}")


_QUOTA: Final = msgspec.json.Decoder(QuotaAnswer, strict=False)
_CREATED: Final = msgspec.json.Decoder(CreateActivityIdAnswer, strict=False)


def _no_token(token: Token, *, sent: bool) -> Answer:
    return Answer(token.verdict, sent=sent, errcode=token.errcode, errmsg=token.errmsg, rid=token.rid)
