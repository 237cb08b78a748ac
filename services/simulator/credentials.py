"""Apps, their secrets and their tokens (wechat-api.md §3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from contracts.times import MINUTE, SECOND
from services.runtime.ports import Chance
from services.simulator.behaviour import Behaviour
from services.simulator.quotas import shanghai_day
from services.simulator.requests import RefusedError

HOSTED_LIFETIME: Final = 30 * MINUTE
"""µs; the cloud hosting renews its token every 10 minutes."""
_PREFIX: Final = "86_"
_REMEMBERED: Final = 10_000  # tokens whose fate (expired, revoked) is still known; older ones are forgotten


class Token(msgspec.Struct):
    """One token as handed out. `expires_at` in µs."""

    value: str
    appid: str
    expires_at: int
    revoked: bool = False
    hosted: bool = False
    """Of the cloud hosting: it is sent as `cloudbase_access_token`."""


class _Forced(msgspec.Struct):
    day: int = 0
    used: int = 0
    last_at: int | None = None


class Apps:
    """App ids and their secrets."""

    def __init__(self, secrets: Mapping[str, str], behaviour: Behaviour) -> None:
        self._secrets = dict(secrets)
        self._behaviour = behaviour
        self._addresses: dict[str, frozenset[str]] = {}

    def names(self) -> list[str]:
        """The app ids. The secrets stay here."""
        return sorted(self._secrets)

    def put(self, appid: str, secret: str) -> None:
        """Add an app, or give it another secret."""
        self._secrets[appid] = secret

    def allow(self, appid: str, addresses: Iterable[str] | None) -> None:
        """Put the app's address list: who may show its secret. None: anybody."""
        self._addresses.pop(appid, None)
        if addresses is not None:
            self._addresses[appid] = frozenset(addresses)

    def check(self, appid: str, secret: str, address: str, *, wrong_secret: int = 40125) -> None:
        """Raises `RefusedError` 41002, 41004, 40013, `wrong_secret` or 40164 (wechat-api.md §9: only calls
        with the secret are guarded by the list)."""
        if not appid:
            raise RefusedError(41002)
        if not secret:
            raise RefusedError(41004)
        if self._behaviour.accept_any_app:
            self._secrets.setdefault(appid, secret)
        if appid not in self._secrets:
            raise RefusedError(40013)
        if self._secrets[appid] != secret:
            raise RefusedError(wrong_secret)
        allowed = self._addresses.get(appid)
        if allowed is not None and address not in allowed:
            raise RefusedError(40164, f"{address}, not in whitelist")


class Tokens:
    """Tokens of all apps: the stable ones, and the older kind that is isolated from them."""

    def __init__(self, behaviour: Behaviour, chance: Chance) -> None:
        self._behaviour = behaviour
        self._chance = chance
        self._known: dict[str, Token] = {}
        self._order: deque[str] = deque()
        self._stable: dict[str, Token] = {}
        self._old: dict[str, Token] = {}
        self._forced: dict[str, _Forced] = {}

    def stable(self, now: int, appid: str, *, force: bool) -> Token:
        """Normal mode: the valid token, or a new one in its last minutes (both then work).

        `force` kills the previous token at once. Raises `RefusedError` 45011 within 30 s of the last forced
        refresh, 45009 after 20 of them in a day (Asia/Shanghai).
        """
        current = self._stable.get(appid)
        if force:
            self._spend_force(now, appid)
            if current is not None:
                current.revoked = True
        elif current is not None and not current.revoked and now < current.expires_at - self._renewal():
            return current
        self._stable[appid] = token = self._issue(now, appid)
        return token

    def old(self, now: int, appid: str) -> Token:
        """`/cgi-bin/token`: every call kills the previous token of its kind."""
        previous = self._old.get(appid)
        if previous is not None:
            previous.revoked = True
        self._old[appid] = token = self._issue(now, appid)
        return token

    def hosted(self, now: int, appid: str) -> Token:
        """What the cloud hosting writes into its file; those of before stay alive (wechat-api.md §9)."""
        token = self._issue(now, appid)
        token.hosted, token.expires_at = True, now + HOSTED_LIFETIME
        return token

    def check(self, now: int, value: str, *, hosted: bool = False) -> str:
        """The app id of a valid token of this kind. Raises `RefusedError` 41001, 40014, 40001 or 42001."""
        if not value:
            raise RefusedError(41001)
        token = self._known.get(value)
        if token is None:
            raise RefusedError(40001 if value.startswith(_PREFIX) else 40014)
        if token.revoked or token.hosted is not hosted:
            raise RefusedError(40001)
        if now >= token.expires_at:
            raise RefusedError(42001)
        return token.appid

    def appid_of(self, value: str) -> str | None:
        """Whose token this is or was, without judging it."""
        token = self._known.get(value)
        return None if token is None else token.appid

    def revoke(self, appid: str) -> int:
        """Kill every token of an app at once; returns how many were alive."""
        alive = [token for token in self._known.values() if token.appid == appid and not token.revoked]
        for token in alive:
            token.revoked = True
        return len(alive)

    def _renewal(self) -> int:
        return min(self._behaviour.token_renewal, self._behaviour.token_lifetime // 2)

    def _spend_force(self, now: int, appid: str) -> None:
        forced = self._forced.setdefault(appid, _Forced())
        if forced.last_at is not None and now - forced.last_at < self._behaviour.force_refresh_gap:
            raise RefusedError(45011)
        if forced.day != shanghai_day(now):
            forced.day, forced.used = shanghai_day(now), 0
        if forced.used >= self._behaviour.force_refreshes_a_day:
            raise RefusedError(45009)
        forced.used += 1
        forced.last_at = now

    def _issue(self, now: int, appid: str) -> Token:
        value = f"{_PREFIX}{self._chance.getrandbits(532):0133x}"
        token = Token(value, appid, now + self._behaviour.token_lifetime)
        self._known[value] = token
        self._order.append(value)
        if len(self._order) > _REMEMBERED:
            self._known.pop(self._order.popleft(), None)
        return token


def remaining_seconds(token: Token, now: int) -> int:
    """`expires_in` as WeChat tells it, at least 1."""
    return max(1, (token.expires_at - now) // SECOND)
