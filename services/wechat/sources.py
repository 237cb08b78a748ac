"""Where an app's access token comes from: `stable_token`, a company's token service, or a file of WeChat's
cloud hosting (wechat-api.md §3, §9)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import structlog

from contracts.wechat import STABLE_TOKEN_PATH, StableTokenRequest, TokenAnswer, Verdict, verdict_of_token
from services.runtime.ports import SELDOM, Clock
from services.runtime.secret_file import SecretFileError, read_secret
from services.runtime.settings import Secret
from services.runtime.tls import TlsError
from services.wechat.apps import AppBook
from services.wechat.entries import App
from services.wechat.hosts import Limited
from services.wechat.reading import LARGEST_ERRCODE, errmsg_and_rid, read
from services.wechat.transport import AiohttpTransport, Exchange, Peer

LOG = structlog.get_logger("livecard.wechat")

MARGIN: Final = 60.0
"""Seconds before its end at which a token is fetched anew; the platform renews in the last 5 minutes."""
UNSAID: Final = 60.0
"""Seconds for which a company's token is kept whose service does not say how long it lives."""
LONGEST: Final = 7_200.0
"""Seconds that a token of WeChat's lives at most; a service that says more is believed as far."""
REREAD: Final = 10.0
"""Seconds after which the cloud hosting's file is read again."""
STALE: Final = 30 * 60
"""Seconds after which its token is over; it is renewed every 10 minutes."""
LONGEST_TOKEN: Final = 2_048
"""Characters; WeChat asks us to allow 512."""

STABLE: Final = "stable_token"
SERVICE: Final = "token_url"
HOSTED: Final = "cloudbase_token_file"

ABOUT_THE_APP: Final = frozenset(
    {Verdict.minute_limit, Verdict.daily_limit, Verdict.misconfigured, Verdict.blocked, Verdict.address}
)
"""What a refused fetch can say; never anything about a card. Any other is just no token."""


class Token(msgspec.Struct, frozen=True):
    """A token until `until` (monotonic seconds), sent as `name`, or (empty `value`) why there is none."""

    value: Secret = Secret("")
    until: float = 0.0
    verdict: Verdict = Verdict.ok
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""
    name: str = "access_token"
    source: str = STABLE
    since: float = 0.0
    """Monotonic seconds at which it was got."""

    def query(self) -> dict[str, str]:
        """How it goes along with a call."""
        return {self.name: str(self.value)}


def no_token(why: str) -> Token:
    """None this time. The message was not sent, so whatever became of the fetch, it is safe to retry."""
    return Token(verdict=Verdict.no_token, errmsg=f"no token: {why}")


def wrong(why: str) -> Token:
    """None before somebody changes something."""
    return Token(verdict=Verdict.misconfigured, errmsg=f"no token: {why}")


class Sources:
    """Gets a token from where the apps file says."""

    def __init__(self, exchanges: Limited, apps: AppBook, clock: Clock) -> None:
        self._exchanges, self._apps, self._clock = exchanges, apps, clock
        self._services: dict[tuple[str, str], AiohttpTransport] = {}

    async def fetch(self, appid: str) -> Token:
        """One token, or why there is none. Whatever the library raises goes through."""
        app = self._apps.app(appid)
        if app is None:
            return Token(verdict=Verdict.misconfigured, errmsg="no secret is configured for this app")
        if app.entry.token_url:
            return await self._from_service(appid, app)
        if app.entry.cloudbase_token_file:
            return self._from_file(appid, Path(app.entry.cloudbase_token_file))
        return await self._stable(appid, app)

    async def close(self) -> None:
        """Close the connections to token services."""
        services, self._services = list(self._services.values()), {}
        for each in services:
            await each.close()

    async def _stable(self, appid: str, app: App) -> Token:
        secret, began = app.secret, self._clock.monotonic()
        if secret is None:
            return Token(verdict=Verdict.misconfigured, errmsg="no secret is configured for this app")
        body = msgspec.json.encode(StableTokenRequest(appid=appid, secret=str(secret)))
        got = await self._exchanges.exchange("POST", STABLE_TOKEN_PATH, {}, body)
        answer = read(_ANSWER, got)
        if answer is None:
            return no_token(got.why or "an unreadable answer")
        if answer.errcode != 0:
            return _refused(answer, secret)
        if not answer.access_token or answer.expires_in <= 0:
            return no_token("an answer without one")
        return _lasting(answer, began, STABLE)

    async def _from_service(self, appid: str, app: App) -> Token:
        """A GET with the service's own credential; it answers as WeChat does."""
        entry, key, began = app.entry, app.token_key, self._clock.monotonic()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        try:
            service = self._service(appid, entry.token_url, entry.token_ca)
        except TlsError as error:
            return wrong(str(error))
        got = await service.exchange("GET", "", {}, None, headers)
        answer = read(_ANSWER, got)
        if answer is None:
            return _no_answer(got)
        if answer.errcode != 0:
            return _refused(answer, key)
        if not _plausible(answer.access_token) or answer.expires_in < 0:
            return no_token("the token service answers without one")
        return _lasting(answer, began, SERVICE)

    def _service(self, appid: str, url: str, authorities: str) -> AiohttpTransport:
        known = self._services.get((url, authorities))
        if known is None:
            peer = Peer("the token service's", authorities, f"token_ca of {appid}")
            known = self._services[url, authorities] = AiohttpTransport(str(url), peer)
        return known

    def _from_file(self, appid: str, path: Path) -> Token:
        """The token that the cloud hosting writes for us. Who may read the file is the platform's affair."""
        now = self._clock.monotonic()
        try:
            text = read_secret(path, guarded=False).decode("ascii", "replace").strip()
            age = self._clock.wall() / 1_000_000 - path.stat().st_mtime
        except (SecretFileError, OSError) as error:
            return no_token(f"{HOSTED}: {error}")
        if not _plausible(text):
            return no_token(f"{HOSTED}: {path} holds no token")
        if age > STALE:
            LOG.warning(
                "the cloud hosting has not renewed its token file for longer than a token lives",
                appid=appid,
                path=str(path),
                minutes=round(age / 60),
                every=SELDOM,
            )
        return Token(Secret(text), now + REREAD, name="cloudbase_access_token", source=HOSTED, since=now)


def _lasting(answer: TokenAnswer, began: float, source: str) -> Token:
    lives = float(answer.expires_in)
    if source == SERVICE:
        lives = min(lives, LONGEST)
    kept = max(lives - MARGIN, lives / 2) if lives else UNSAID
    return Token(Secret(answer.access_token), began + kept, source=source, since=began)


def _refused(answer: TokenAnswer, secret: str) -> Token:
    """WeChat says no, or its word is passed on: 40001 is a wrong secret here."""
    verdict = verdict_of_token(answer.errcode)
    errmsg, rid = errmsg_and_rid(answer.errmsg, secret)
    return Token(
        verdict=verdict if verdict in ABOUT_THE_APP else Verdict.no_token,
        errcode=answer.errcode if abs(answer.errcode) <= LARGEST_ERRCODE else None,
        errmsg=f"no token: {errmsg}",
        rid=rid,
    )


def _no_answer(got: Exchange) -> Token:
    """A token service that does not answer, or not us, or nothing of this app's."""
    if got.status in (401, 403):
        return wrong(f"the token service does not accept our credential (HTTP {got.status}): see token_key")
    if got.status in (404, 410):
        return wrong(f"the token service knows no such address (HTTP {got.status}): see token_url")
    why = got.why or (f"HTTP {got.status}" if got.status != 200 else "an unreadable answer")
    return no_token(f"the token service: {why}")


def _plausible(text: str) -> bool:
    return 0 < len(text) <= LONGEST_TOKEN and text.isascii() and text.isprintable() and " " not in text


_ANSWER: Final = msgspec.json.Decoder(TokenAnswer, strict=False)
