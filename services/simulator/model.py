"""WeChat's side as a pure model: a request and the time in, the answer's JSON out (wechat-api.md §2).

It reads no clock, draws from the chance it is given, and touches no network, so that a simulation
in virtual time can use it without a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from contracts.wechat import (
    CLEAR_QUOTA_PATH,
    CODE2SESSION_PATH,
    CREATE_ACTIVITY_ID_PATH,
    QUOTA_GET_PATH,
    RID_GET_PATH,
    SET_CHAT_TOOL_MSG_PATH,
    STABLE_TOKEN_PATH,
    TEMPLATE_IDS,
    VERSION_TYPES,
)
from services.runtime.ports import Chance
from services.simulator.behaviour import Behaviour
from services.simulator.cards import ChatCard, ChatToolMsg, Declaration
from services.simulator.counts import Counts
from services.simulator.credentials import Apps, Tokens, remaining_seconds
from services.simulator.quotas import Quotas
from services.simulator.refusals import Refusals
from services.simulator.requests import (
    ERRMSGS,
    RefusedError,
    Request,
    encode,
    new_rid,
    read_body,
    refusal_body,
    require_method,
)
from services.simulator.rooms import Rooms

OLD_TOKEN_PATH: Final = "/cgi-bin/token"  # noqa: S105 (a path, not a secret)
OLD_CLEAR_QUOTA_PATH: Final = "/cgi-bin/clear_quota"
WITHOUT_TOKEN: Final = frozenset({STABLE_TOKEN_PATH, OLD_TOKEN_PATH, CODE2SESSION_PATH, CLEAR_QUOTA_PATH})
"""Calls that carry the secret instead."""
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


class _RidWish(msgspec.Struct):
    rid: str = ""


class Given(msgspec.Struct, frozen=True):
    """An activity id that createActivityId gave out; `expires_at` in µs."""

    appid: str
    expires_at: int


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What a login code stands for; `openid` None means a blocked user (40226)."""

    appid: str
    openid: str | None
    unionid: str | None = None


def _token_of(request: Request) -> tuple[str, bool]:
    """The token that a call carries, and whether it is the cloud hosting's."""
    hosted = "cloudbase_access_token" in request.query
    return request.query.get("cloudbase_access_token" if hosted else "access_token", ""), hosted


class WeChatModel:
    """Apps, tokens, quotas and cards, behind `handle`.

    `versions` tells by card when it changed last, counted by `version`; `era` counts the resets.
    """

    def __init__(self, apps: Mapping[str, str], chance: Chance, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self._chance = chance
        self.apps = Apps(apps, self.behaviour)
        self.version = self.era = 0
        self.reset()
        self._endpoints: dict[str, Callable[[int, Request], bytes]] = {
            SET_CHAT_TOOL_MSG_PATH: self._set_chat_tool_msg,
            STABLE_TOKEN_PATH: self._stable_token,
            OLD_TOKEN_PATH: self._old_token,
            CREATE_ACTIVITY_ID_PATH: self._create_activity_id,
            CODE2SESSION_PATH: self._code2session,
            QUOTA_GET_PATH: self._quota_get,
            CLEAR_QUOTA_PATH: self._clear_quota,
            OLD_CLEAR_QUOTA_PATH: self._clear_quota_by_token,
            RID_GET_PATH: self._rid_get,
        }

    def reset(self) -> None:
        """Forget everything but the apps and the behaviour."""
        self.tokens = Tokens(self.behaviour, self._chance)
        self.quotas = Quotas()
        self.cards: dict[str, ChatCard] = {}
        self.counts = Counts()
        self.refusals = Refusals()
        self.given: dict[str, Given] = {}
        self.changed: dict[str, None] = {}
        self.versions: dict[str, int] = {}
        self.era += 1
        self.rooms = Rooms(self._chance)
        self._codes: dict[str, Session | None] = {}

    def handle(self, now: int, request: Request) -> bytes:
        """Answer one request at `now` (µs), whole: it is applied, or refused and changes nothing."""
        endpoint = self._endpoints.get(request.path)
        if endpoint is None:
            return self.refuse(now, request, 40066)
        try:
            answer = endpoint(now, request)
        except RefusedError as refusal:
            self.counts.answered(request.path, refusal.errcode)
            text = ERRMSGS[refusal.errcode]
            text = f"{text}: {refusal.detail}" if refusal.detail else text
            return self._refused(now, request, refusal.errcode, text)
        self.counts.answered(request.path, 0)
        return answer

    def refuse(self, now: int, request: Request, errcode: int, errmsg: str = "") -> bytes:
        """Answer with `errcode` whatever the request says, changing nothing."""
        self.counts.answered(request.path if request.path in self._endpoints else OTHER, errcode)
        return self._refused(now, request, errcode, errmsg)

    def _refused(self, now: int, request: Request, errcode: int, errmsg: str) -> bytes:
        rid = new_rid(self._chance, now)
        answer = refusal_body(rid, errcode, errmsg)
        appid, _ = self.identify(request)
        self.refusals.keep(now, rid, appid, request, answer)
        return answer

    def identify(self, request: Request) -> tuple[str | None, str | None]:
        """The app id and the activity id that a request is about, as far as it can be read."""
        try:
            body = _IDENTITY.decode(request.body) if request.body else _Identity()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = _Identity()
        by_token = self.tokens.appid_of(_token_of(request)[0])
        return by_token or body.appid or request.query.get("appid"), body.activity_id

    def declare(self, now: int, declaration: Declaration) -> ChatCard:
        """What `wx.updateShareMenu` and `wx.shareAppMessageToGroup` do: the card is in the chat.

        Declared again, a card keeps what it shows. Raises ValueError for a time that is none.
        """
        expires_at = declaration.expiry()
        if expires_at is None:
            expires_at = self._given(now, declaration.activity_id, declaration.appid).expires_at
        return self._put(now, declaration, expires_at, shared=True)

    def learn(self, now: int, declaration: Declaration) -> None:
        """What livecard's own store says about a card; nothing where a page has shared it.

        `expires_at` is a number; the id's own counts, where it was given out here.
        """
        card = self.cards.get(declaration.activity_id)
        if card is not None and (card.shared or card.declaration == declaration):
            return
        expires_at = declaration.expiry()
        assert expires_at is not None
        given = self.given.get(declaration.activity_id)
        self._put(now, declaration, given.expires_at if given else expires_at, shared=False)

    def _put(self, now: int, declaration: Declaration, expires_at: int, *, shared: bool) -> ChatCard:
        card = self.cards.get(declaration.activity_id)
        if card is None:
            card = self.cards[declaration.activity_id] = ChatCard(declaration, expires_at, shared, now)
        else:
            card.declare(declaration, expires_at, shared=shared)
        self._touch(declaration.activity_id)
        return card

    def _touch(self, activity_id: str) -> None:
        """It is to be kept, and whoever watches has not seen it so."""
        self.changed[activity_id] = None
        self.version += 1
        self.versions[activity_id] = self.version

    def _given(self, now: int, activity_id: str, appid: str) -> Given:
        """Whose id this is and when it dies; one not given out here is the asking app's, from now."""
        return self.given.get(activity_id) or Given(appid, now + self.behaviour.activity_lifetime)

    def admit(self, code: str, session: Session) -> str:
        """Make `code`, a new one if it is empty, a login code that works once. Its user logs in now, so what
        pages are given from here on opens with the session key that the code is exchanged for."""
        code = code or f"{self._chance.getrandbits(128):032x}"
        if session.openid is not None:
            self.rooms.log_in(session.appid, session.openid)
        self._codes[code] = session
        return code

    def _caller(self, now: int, request: Request) -> str:
        value, hosted = _token_of(request)
        return self.tokens.check(now, value, hosted=hosted)

    def _authorized(self, now: int, request: Request) -> str:
        appid = self._caller(now, request)
        self.quotas.spend(now, appid, request.path)
        return appid

    def _set_chat_tool_msg(self, now: int, request: Request) -> bytes:
        appid = self._authorized(now, request)
        message = read_body(request, _MESSAGE)
        card = self.cards.get(message.activity_id) or self._undeclared(now, appid, message)
        if card.declaration.appid != appid:
            raise RefusedError(47501)
        card.check(now, message, self.behaviour)
        card.show(now, message, self.behaviour)
        self._touch(message.activity_id)
        return _OK

    def _undeclared(self, now: int, appid: str, message: ChatToolMsg) -> ChatCard:
        """The card of an id that nobody shared here: there is one only with `auto_declare`."""
        given = self._given(now, message.activity_id, appid)
        if not self.behaviour.auto_declare or not message.activity_id or given.appid != appid:
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
        )
        return self._put(now, declaration, given.expires_at, shared=False)

    def _stable_token(self, now: int, request: Request) -> bytes:
        wish = read_body(request, _TOKEN_WISH)
        if wish.grant_type != "client_credential":
            raise RefusedError(40002)
        self.apps.check(wish.appid, wish.secret, request.address)
        self.quotas.spend(now, wish.appid, request.path)
        token = self.tokens.stable(now, wish.appid, force=wish.force_refresh)
        return encode({"access_token": token.value, "expires_in": remaining_seconds(token, now)})

    def _old_token(self, now: int, request: Request) -> bytes:
        require_method(request, "GET")
        if request.query.get("grant_type") != "client_credential":
            raise RefusedError(40002)
        appid = request.query.get("appid", "")
        self.apps.check(appid, request.query.get("secret", ""), request.address, wrong_secret=40001)
        self.quotas.spend(now, appid, request.path)
        token = self.tokens.old(now, appid)
        return encode({"access_token": token.value, "expires_in": remaining_seconds(token, now)})

    def _create_activity_id(self, now: int, request: Request) -> bytes:
        require_method(request, "GET")
        appid = self._authorized(now, request)
        activity_id = f"{self._chance.getrandbits(32)}_{self._chance.getrandbits(120):030x}"
        expires_at = now + self.behaviour.activity_lifetime
        self.given[activity_id] = Given(appid, expires_at)
        self.changed[activity_id] = None
        unit = 1_000 if self.behaviour.expiration_unit == "ms" else 1_000_000
        return encode({"activity_id": activity_id, "expiration_time": expires_at // unit})

    def _code2session(self, now: int, request: Request) -> bytes:
        require_method(request, "GET")
        query = request.query
        self.apps.check(query.get("appid", ""), query.get("secret", ""), request.address)
        self.quotas.spend(now, query["appid"], request.path)
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
        key = self.rooms.session_key(session.appid, session.openid)
        answer: dict[str, Any] = {"openid": session.openid, "session_key": key}
        return encode(answer if session.unionid is None else {**answer, "unionid": session.unionid})

    def _quota_get(self, now: int, request: Request) -> bytes:
        appid = self._authorized(now, request)
        path = read_body(request, _QUOTA_WISH).cgi_path
        if path not in self._endpoints:
            raise RefusedError(76021)
        if path in WITHOUT_TOKEN:
            raise RefusedError(76022)
        limits, used = self.quotas.limits(appid, path), self.quotas.used(now, appid, path)
        return encode(
            {
                "errcode": 0,
                "errmsg": "ok",
                "quota": {
                    "daily_limit": limits.daily,
                    "used": used,
                    "remain": max(0, limits.daily - used),
                },
                "rate_limit": {"call_count": limits.minute, "refresh_second": 60},
            }
        )

    def _clear_quota(self, now: int, request: Request) -> bytes:
        """In the body or as query parameters: SDKs do both."""
        require_method(request, "POST")
        if request.body:
            wish = read_body(request, _CLEAR_WISH)
        else:
            wish = _ClearWish(request.query.get("appid", ""), request.query.get("appsecret", ""))
        self.apps.check(wish.appid, wish.appsecret, request.address)
        self.quotas.clear(now, wish.appid, self.behaviour.quota_clears_a_month)
        return _OK

    def _clear_quota_by_token(self, now: int, request: Request) -> bytes:
        appid = self._caller(now, request)
        if read_body(request, _CLEAR_WISH).appid != appid:
            raise RefusedError(40013)
        self.quotas.clear(now, appid, self.behaviour.quota_clears_a_month)
        return _OK

    def _rid_get(self, now: int, request: Request) -> bytes:
        appid = self._authorized(now, request)
        asked = self.refusals.tell(appid, read_body(request, _RID_WISH).rid)
        return encode({"errcode": 0, "errmsg": "ok", "request": asked})


class _Identity(msgspec.Struct):
    appid: str | None = None
    activity_id: str | None = None


_MESSAGE = msgspec.json.Decoder(ChatToolMsg)
_TOKEN_WISH = msgspec.json.Decoder(_TokenWish)
_QUOTA_WISH = msgspec.json.Decoder(_QuotaWish)
_CLEAR_WISH = msgspec.json.Decoder(_ClearWish)
_RID_WISH = msgspec.json.Decoder(_RidWish)
_IDENTITY = msgspec.json.Decoder(_Identity)
