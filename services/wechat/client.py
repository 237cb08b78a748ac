"""WeChat's API: one total deadline, one repeat after a token error, a verdict for everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from contracts.events import LONGEST_ID
from contracts.reading import plain
from contracts.times import EARLIEST, LATEST
from contracts.wechat import (
    CODE2SESSION_PATH,
    CREATE_ACTIVITY_ID_PATH,
    QUOTA_GET_PATH,
    RID_GET_PATH,
    SET_CHAT_TOOL_MSG_PATH,
    CreateActivityIdAnswer,
    Quota,
    QuotaAnswer,
    QuotaRequest,
    RidAnswer,
    RidDetails,
    RidRequest,
    SessionAnswer,
    SetChatToolMsg,
    Verdict,
    expiration_us,
)
from services.runtime.addresses import bases as bases_of
from services.runtime.ports import Clock
from services.runtime.settings import Secret, Settings
from services.wechat.apps import AppBook
from services.wechat.hosts import Host, Hosts, Limited, connecting, named
from services.wechat.ports import Answer, Created, LoggedIn, NoWeChatMetrics, WeChatMetrics
from services.wechat.proxy import Proxy
from services.wechat.reading import Data, answered, classify
from services.wechat.support import cleaned
from services.wechat.tokens import ABOUT_THE_APP, FETCH, Token, TokenKeeper
from services.wechat.transport import AiohttpTransport, Peer, Transport

LOG = structlog.get_logger("livecard.wechat")

OTHERS: Final = 8
"""Exchanges at once for tokens and the like, which must not stand behind others that hang."""


class WeChatClient:
    """Implements `services.wechat.ports.WeChat`.

    `in_flight` bounds the messages under way, and as much what callers of the API wait for; `deadline`
    (seconds, total) is for the calls that have none of their own; `authorities` is a PEM file of who may sign
    WeChat's certificate, if it is not one of the public list; `proxy` stands between; `transport` replaces
    aiohttp's (the simulation's has no socket). `hosts` are WeChat's base URLs, separated by commas, the
    preferred one first.
    """

    def __init__(
        self,
        hosts: str,
        apps: AppBook,
        clock: Clock,
        *,
        in_flight: int = 64,
        deadline: float = 10.0,
        authorities: str = "",
        proxy: Proxy | None = None,
        transport: Transport | None = None,
        metrics: WeChatMetrics | None = None,
    ) -> None:
        peer = Peer(authorities=authorities)
        bases = bases_of(hosts) or [""]
        within = connecting(min(deadline, FETCH), len(bases))
        ways = [
            Host(named(base), transport or AiohttpTransport(base, peer, proxy, within=within))
            for base in bases
        ]
        self._hosts = Hosts(ways, clock)
        self._messages = Limited(self._hosts, in_flight)
        self._questions = Limited(self._hosts, in_flight)
        self._others = Limited(self._hosts, OTHERS)
        self._apps = apps
        self._metrics = metrics or NoWeChatMetrics()
        self._tokens = TokenKeeper(self._others, apps, clock, self._metrics)
        self._deadline = deadline

    @classmethod
    def of(
        cls, settings: Settings, apps: AppBook, clock: Clock, metrics: WeChatMetrics | None = None
    ) -> WeChatClient:
        """As the settings say. Raises `TlsError` and `SecretFileError` for files that cannot be used."""
        way = settings.wechat_proxy
        return cls(
            settings.wechat,
            apps,
            clock,
            in_flight=settings.in_flight,
            deadline=settings.call_deadline,
            authorities=settings.wechat_ca,
            proxy=Proxy(way, settings.wechat_proxy_password_file) if way else None,
            metrics=metrics,
        )

    def __repr__(self) -> str:
        return "WeChatClient(…)"

    async def close(self) -> None:
        """Give up token fetches and close the connections."""
        await self._tokens.close()
        await self._hosts.close()

    async def set_chat_tool_msg(
        self, appid: str, message: SetChatToolMsg, deadline: float, may_send: Callable[[], bool]
    ) -> Answer:
        """Change a card; see the port. A timeout after the send is unknown, before it is not sent."""
        sending = _Sending(may_send)
        try:
            async with asyncio.timeout(deadline):
                return await self._deliver(appid, message, sending)
        except TimeoutError:
            return sending.cut_short("no answer in time")
        except Exception as error:  # noqa: BLE001 - whatever it is, the port promises an answer
            about = {"activity_id": message.activity_id, "appid": appid}
            LOG.warning("a call failed on our side", **about, error=type(error).__name__)
            return sending.cut_short(type(error).__name__)

    async def _deliver(self, appid: str, message: SetChatToolMsg, sending: _Sending) -> Answer:
        """Send; after a token error once more with another token, if there is one (wechat-api.md §3)."""
        token = await self._tokens.get(appid)
        if not token.value:
            return _no_token(token, sent=False)
        sending.has_token = True
        answer = await self._send(token, message, sending)
        if answer.verdict is not Verdict.token:
            return answer
        fresh = await self._tokens.renew(appid, token.value, answer.errcode)
        if fresh.verdict in ABOUT_THE_APP:
            return _no_token(fresh, sent=True)
        if not fresh.value or fresh.value == token.value:
            return answer
        sending.renewed()
        again = await self._send(fresh, message, sending)
        if again.verdict is Verdict.token:
            self._tokens.refused(appid, fresh.value)
        return again

    async def _send(self, token: Token, message: SetChatToolMsg, sending: _Sending) -> Answer:
        query, body = token.query(), msgspec.json.encode(message)
        got = await self._messages.exchange("POST", SET_CHAT_TOOL_MSG_PATH, query, body, sending.begin)
        members = [each.group_openid for each in message.participator_info_list or ()]
        return sending.over(classify(got, token.value, members=members))

    async def has_other_token(self, appid: str) -> bool:
        """Whether WeChat gives another token now than the one it refused this process last."""
        return await self._tokens.has_other(appid)

    async def quota_left(self, appid: str) -> int | None:
        """What quota/get says remains of setChatToolMsg today; None for anything unclear."""
        quota = await self.quota(appid)
        return None if isinstance(quota, Answer) else quota.remain

    async def quota(self, appid: str) -> Quota | Answer:
        """What quota/get says of setChatToolMsg today; or why it says nothing."""
        body = msgspec.json.encode(QuotaRequest(SET_CHAT_TOOL_MSG_PATH))
        asking = _Asking("POST", QUOTA_GET_PATH, {}, body)
        answer = await self._ask(self._others, appid, asking, _QUOTA)
        if isinstance(answer, Answer):
            return answer
        if answer.quota is None:
            return Answer(Verdict.unknown, sent=True, errmsg="an answer without a quota")
        self._metrics.quota(appid, answer.quota.remain, answer.quota.daily_limit)
        return answer.quota

    async def request_of(self, appid: str, rid: str) -> RidDetails | Answer:
        """What rid/get tells of a refused call of this app's, without our secrets; or why it tells none."""
        asking = _Asking("POST", RID_GET_PATH, {}, msgspec.json.encode(RidRequest(rid)))
        answer = await self._ask(self._others, appid, asking, _RID)
        if isinstance(answer, Answer):
            return answer
        if answer.request is None:
            return Answer(Verdict.unknown, sent=True, errmsg="an answer without a request")
        return cleaned(answer.request, str(self._apps.secret(appid) or ""))

    async def create_activity_id(
        self, appid: str, *, openid: str = "", unionid: str = ""
    ) -> Created | Answer:
        """A new id of the app's; see the port."""
        given = {name: text for name, text in (("openid", openid), ("unionid", unionid)) if text}
        asking = _Asking("GET", CREATE_ACTIVITY_ID_PATH, given, None)
        answer = await self._ask(self._questions, appid, asking, _CREATED)
        if isinstance(answer, Answer):
            return answer
        expires_at = expiration_us(answer.expiration_time)
        if not (_is_id(answer.activity_id) and EARLIEST <= expires_at <= LATEST):
            return Answer(Verdict.unknown, sent=True, errmsg="an answer without an id")
        return Created(answer.activity_id, expires_at)

    async def code2session(self, appid: str, js_code: str) -> LoggedIn | Answer:
        """Who logged in; see the port. It goes with the app's secret, and needs no token."""
        secret = self._apps.secret(appid)
        if secret is None:
            return Answer(Verdict.misconfigured, errmsg="no secret is configured for this app")
        query = {
            "appid": appid,
            "secret": str(secret),
            "js_code": js_code,
            "grant_type": "authorization_code",
        }
        try:
            async with asyncio.timeout(self._deadline):
                got = await self._questions.exchange("GET", CODE2SESSION_PATH, query, None)
                answer = answered(_LOGGED_IN, got, secret, js_code)
        except TimeoutError:
            return _LATE
        except Exception as error:  # noqa: BLE001 - asking may fail in any way
            return _failed(appid, error)
        if isinstance(answer, Answer):
            return answer
        if not _is_id(answer.openid) or not answer.session_key:
            return Answer(Verdict.unknown, sent=True, errmsg="an answer without a user")
        return LoggedIn(answer.openid, Secret(answer.session_key), answer.unionid or None)

    async def _ask(
        self, exchanges: Limited, appid: str, asking: _Asking, decoder: msgspec.json.Decoder[Data]
    ) -> Data | Answer:
        """An answer with data, after one repeat at most when the token was refused; or why there is none."""
        try:
            async with asyncio.timeout(self._deadline):
                token = await self._tokens.get(appid)
                if not token.value:
                    return _no_token(token, sent=False)
                answer = await self._question(exchanges, token, asking, decoder)
                if not isinstance(answer, Answer) or answer.verdict is not Verdict.token:
                    return answer
                fresh = await self._tokens.renew(appid, token.value, answer.errcode)
                if fresh.verdict in ABOUT_THE_APP:
                    return _no_token(fresh, sent=True)
                if not fresh.value or fresh.value == token.value:
                    return answer
                answer = await self._question(exchanges, fresh, asking, decoder)
                if isinstance(answer, Answer) and answer.verdict is Verdict.token:
                    self._tokens.refused(appid, fresh.value)
                return answer
        except TimeoutError:
            return _LATE
        except Exception as error:  # noqa: BLE001 - asking may fail in any way and then changes nothing
            return _failed(appid, error)

    async def _question(
        self, exchanges: Limited, token: Token, asking: _Asking, decoder: msgspec.json.Decoder[Data]
    ) -> Data | Answer:
        query = {**token.query(), **asking.query}
        got = await exchanges.exchange(asking.method, asking.path, query, asking.body)
        return answered(decoder, got, token.value)


class _Asking(msgspec.Struct, frozen=True):
    """A call that returns data; the token is added to its query."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes | None


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

    def renewed(self) -> None:
        """There is another token: that the old one was refused says nothing any more."""
        self._answer = None

    def cut_short(self, why: str) -> Answer:
        """Unknown while a send is under way; else what the last one was answered; else not sent."""
        if self._under_way:
            return Answer(Verdict.unknown, sent=True, errmsg=why)
        verdict = Verdict.busy if self.has_token else Verdict.no_token
        return self._answer or Answer(verdict, errmsg=f"not sent: {why}")


_QUOTA: Final = msgspec.json.Decoder(QuotaAnswer, strict=False)
_RID: Final = msgspec.json.Decoder(RidAnswer, strict=False)
_CREATED: Final = msgspec.json.Decoder(CreateActivityIdAnswer, strict=False)
_LOGGED_IN: Final = msgspec.json.Decoder(SessionAnswer, strict=False)


_LATE: Final = Answer(Verdict.busy, errmsg="no answer in time")


def _failed(appid: str, error: Exception) -> Answer:
    """Our own mistake. A question changes nothing that counts, so it may be asked again."""
    LOG.warning("a question failed on our side", appid=appid, error=type(error).__name__)
    return Answer(Verdict.busy, errmsg=type(error).__name__)


def _is_id(text: str) -> bool:
    """Whether it can be what WeChat calls an id (design.md §4): whatever answers may say anything."""
    return 0 < len(text) <= LONGEST_ID and plain(text)


def _no_token(token: Token, *, sent: bool) -> Answer:
    return Answer(token.verdict, sent=sent, errcode=token.errcode, errmsg=token.errmsg, rid=token.rid)
