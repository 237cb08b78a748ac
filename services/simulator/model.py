"""WeChat's side as a pure model: a call and the time in, the answer's JSON out (wechat-api.md §2).

It reads no clock, draws from the chance it is given, and touches no network, so that a simulation
in virtual time can use it without a socket.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from contracts.wechat import (
    CLEAR_QUOTA_PATH,
    CODE2SESSION_PATH,
    CREATE_ACTIVITY_ID_PATH,
    QUOTA_GET_PATH,
    SET_CHAT_TOOL_MSG_PATH,
    STABLE_TOKEN_PATH,
    TEMPLATE_IDS,
    VERSION_TYPES,
)
from services.runtime.ports import Chance
from services.simulator.behaviour import Behaviour
from services.simulator.calls import (
    ERRMSGS,
    Call,
    RefusedError,
    encode,
    read_body,
    refusal_body,
    require_method,
)
from services.simulator.cards import Card, Declaration, Message
from services.simulator.credentials import Apps, Tokens, remaining_seconds
from services.simulator.ledger import Ledger
from services.simulator.quotas import Quotas

OLD_TOKEN_PATH: Final = "/cgi-bin/token"  # noqa: S105 (a path, not a secret)
OTHER: Final = "other"
"""What the ledger calls every path that does not exist."""
_OK: Final = b'{"errcode":0,"errmsg":"ok"}'
_TEMPLATES = {template_id: template for template, template_id in TEMPLATE_IDS.items()}
_VERSIONS = {version_type: version for version, version_type in VERSION_TYPES.items()}


class _TokenWish(msgspec.Struct):
    grant_type: str = ""
    appid: str = ""
    secret: str = ""
    force_refresh: bool = False


class _QuotaWish(msgspec.Struct):
    cgi_path: str = ""


class _ClearWish(msgspec.Struct):
    appid: str = ""
    appsecret: str = ""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What a login code stands for; `openid` None means a blocked user (40226)."""

    appid: str
    openid: str | None
    unionid: str | None = None


class WeChatModel:
    """Apps, tokens, quotas and cards, behind `handle`."""

    def __init__(self, apps: Mapping[str, str], chance: Chance, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self._chance = chance
        self.apps = Apps(apps, self.behaviour)
        self.reset()
        self._endpoints: dict[str, Callable[[int, Call], bytes]] = {
            SET_CHAT_TOOL_MSG_PATH: self._set_chat_tool_msg,
            STABLE_TOKEN_PATH: self._stable_token,
            OLD_TOKEN_PATH: self._old_token,
            CREATE_ACTIVITY_ID_PATH: self._create_activity_id,
            CODE2SESSION_PATH: self._code2session,
            QUOTA_GET_PATH: self._quota_get,
            CLEAR_QUOTA_PATH: self._clear_quota,
        }

    def reset(self) -> None:
        """Forget everything but the apps and the behaviour."""
        self.tokens = Tokens(self.behaviour, self._chance)
        self.quotas = Quotas()
        self.cards: dict[str, Card] = {}
        self.ledger = Ledger()
        self._created: dict[str, tuple[str, int]] = {}
        self._codes: dict[str, Session | None] = {}

    @property
    def paths(self) -> list[str]:
        """The paths that exist here."""
        return list(self._endpoints)

    def handle(self, now: int, call: Call) -> bytes:
        """Answer one call at `now` (µs), whole: it is applied, or refused and changes nothing."""
        endpoint = self._endpoints.get(call.path)
        if endpoint is None:
            return self.refuse(now, call, 40066)
        try:
            answer = endpoint(now, call)
        except RefusedError as refusal:
            self.ledger.answered(call.path, refusal.errcode)
            text = ERRMSGS[refusal.errcode]
            text = f"{text}: {refusal.detail}" if refusal.detail else text
            return refusal_body(self._chance, now, refusal.errcode, text)
        self.ledger.answered(call.path, 0)
        return answer

    def refuse(self, now: int, call: Call, errcode: int, errmsg: str = "") -> bytes:
        """Answer with `errcode` whatever the call says, changing nothing."""
        self.ledger.answered(call.path if call.path in self._endpoints else OTHER, errcode)
        return refusal_body(self._chance, now, errcode, errmsg)

    def identify(self, call: Call) -> tuple[str | None, str | None]:
        """The app id and the activity id that a call is about, as far as it can be read."""
        try:
            body = _IDENTITY.decode(call.body) if call.body else _Identity()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = _Identity()
        by_token = self.tokens.appid_of(call.query.get("access_token", ""))
        return by_token or body.appid or call.query.get("appid"), body.activity_id

    def declare(self, now: int, declaration: Declaration) -> Card:
        """What `wx.updateShareMenu` and `wx.shareAppMessageToGroup` do: the card is in the chat.

        Declared again, a card keeps what it shows. Raises ValueError for a time that is none.
        """
        expires_at = declaration.expiry()
        if expires_at is None:
            _, expires_at = self._created.get(
                declaration.activity_id, ("", now + self.behaviour.activity_lifetime)
            )
        card = self.cards.get(declaration.activity_id)
        if card is None:
            card = self.cards[declaration.activity_id] = Card(declaration, expires_at)
        else:
            card.declare(declaration, expires_at)
        return card

    def admit(self, code: str, session: Session) -> None:
        """Make `code` a login code that works once."""
        self._codes[code] = session

    def _authorized(self, now: int, call: Call) -> str:
        appid = self.tokens.check(now, call.query.get("access_token", ""))
        self.quotas.spend(now, appid, call.path)
        return appid

    def _set_chat_tool_msg(self, now: int, call: Call) -> bytes:
        appid = self._authorized(now, call)
        message = read_body(call, _MESSAGE)
        card = self.cards.get(message.activity_id) or self._undeclared(now, appid, message)
        if card.declaration.appid != appid:
            raise RefusedError(47501)
        card.check(now, message, self.behaviour)
        card.show(now, message, self.behaviour)
        return _OK

    def _undeclared(self, now: int, appid: str, message: Message) -> Card:
        """The card of an id that nobody shared here: there is one only with `auto_declare`."""
        owner, expires_at = self._created.get(
            message.activity_id, (appid, now + self.behaviour.activity_lifetime)
        )
        if not self.behaviour.auto_declare or not message.activity_id or owner != appid:
            raise RefusedError(47501)
        if message.template_id not in _TEMPLATES:
            raise RefusedError(40097, "template_id")
        if message.version_type not in _VERSIONS:
            raise RefusedError(47503)
        declaration = Declaration(
            activity_id=message.activity_id,
            appid=appid,
            template=_TEMPLATES[message.template_id],
            version=_VERSIONS[message.version_type],
            title=message.activity_id,
            expires_at=expires_at,
        )
        return self.declare(now, declaration)

    def _stable_token(self, now: int, call: Call) -> bytes:
        wish = read_body(call, _TOKEN_WISH)
        if wish.grant_type != "client_credential":
            raise RefusedError(40002)
        self.apps.check(wish.appid, wish.secret)
        self.quotas.spend(now, wish.appid, call.path)
        token = self.tokens.stable(now, wish.appid, force=wish.force_refresh)
        return encode({"access_token": token.value, "expires_in": remaining_seconds(token, now)})

    def _old_token(self, now: int, call: Call) -> bytes:
        require_method(call, "GET")
        if call.query.get("grant_type") != "client_credential":
            raise RefusedError(40002)
        appid = call.query.get("appid", "")
        self.apps.check(appid, call.query.get("secret", ""), wrong_secret=40001)
        self.quotas.spend(now, appid, call.path)
        token = self.tokens.old(now, appid)
        return encode({"access_token": token.value, "expires_in": remaining_seconds(token, now)})

    def _create_activity_id(self, now: int, call: Call) -> bytes:
        require_method(call, "GET")
        appid = self._authorized(now, call)
        activity_id = f"{self._chance.getrandbits(32)}_{self._chance.getrandbits(120):030x}"
        expires_at = now + self.behaviour.activity_lifetime
        self._created[activity_id] = (appid, expires_at)
        unit = 1_000 if self.behaviour.expiration_unit == "ms" else 1_000_000
        return encode({"activity_id": activity_id, "expiration_time": expires_at // unit})

    def _code2session(self, now: int, call: Call) -> bytes:
        require_method(call, "GET")
        query = call.query
        self.apps.check(query.get("appid", ""), query.get("secret", ""))
        self.quotas.spend(now, query["appid"], call.path)
        if query.get("grant_type") != "authorization_code":
            raise RefusedError(40002)
        code = query.get("js_code", "")
        if not code:
            raise RefusedError(41008)
        session = self._codes.get(code)
        if session is None or session.appid != query["appid"]:
            raise RefusedError(40163 if code in self._codes and session is None else 40029)
        if session.openid is None:
            raise RefusedError(40226)
        self._codes[code] = None
        key = base64.b64encode(self._chance.getrandbits(128).to_bytes(16, "big")).decode()
        answer: dict[str, Any] = {"openid": session.openid, "session_key": key}
        return encode(answer if session.unionid is None else {**answer, "unionid": session.unionid})

    def _quota_get(self, now: int, call: Call) -> bytes:
        appid = self._authorized(now, call)
        path = read_body(call, _QUOTA_WISH).cgi_path
        if path not in self._endpoints:
            raise RefusedError(40066)
        limits, used = self.quotas.limits(appid, path), self.quotas.used(now, appid, path)
        return encode(
            {
                "quota": {
                    "daily_limit": limits.daily,
                    "used": used,
                    "remain": max(0, limits.daily - used),
                },
                "rate_limit": {"call_count": limits.minute, "refresh_second": 60},
            }
        )

    def _clear_quota(self, now: int, call: Call) -> bytes:
        wish = read_body(call, _CLEAR_WISH)
        self.apps.check(wish.appid, wish.appsecret)
        self.quotas.clear(now, wish.appid, self.behaviour.quota_clears_a_month)
        return _OK


class _Identity(msgspec.Struct):
    appid: str | None = None
    activity_id: str | None = None


_MESSAGE = msgspec.json.Decoder(Message)
_TOKEN_WISH = msgspec.json.Decoder(_TokenWish)
_QUOTA_WISH = msgspec.json.Decoder(_QuotaWish)
_CLEAR_WISH = msgspec.json.Decoder(_ClearWish)
_IDENTITY = msgspec.json.Decoder(_Identity)
