"""Who is signed in to the console: a sealed cookie, so that no process has to remember anybody.

The cookie holds the hash of the API key, when it ends and a token for forms, sealed (AES-GCM) under the first
key of LIVECARD_SESSION_KEY_FILE: every gateway that reads the same file opens it, and neither the API key nor
its hash can be read out of it. Without that file a process seals under a key of its own, so its sessions end
with it and no other gateway knows them. The hash is looked up among the API keys at every request: taking a
key out of their file signs out whoever uses it. It is no key to sign with: whoever read the keys' file could
then make cookies.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec

from contracts.times import SECOND
from services.gateway.dependencies import Seal
from services.gateway.keys import ApiKeys, Caller
from services.gateway.session_keys import KEY, SessionKeys
from services.runtime.ports import Chance, Clock

COOKIE: Final = "livecard_console"
SIGN_IN_COOKIE: Final = "livecard_sign_in"
"""Holds the token of the sign-in form, while nobody is signed in."""
PATH: Final = "/console"
LIFE: Final = 12 * 3_600
"""Seconds after which one has to sign in again: a shift."""
ABOUT: Final = b"console cookie"
"""Sealed texts of other kinds open no console."""
LONGEST: Final = 2_048
"""Characters of a cookie that is looked at."""


class Cookie(msgspec.Struct, frozen=True):
    """What the cookie says: the hash of the API key, until when (µs), and the token that every form sends."""

    key: str
    until: int
    token: str


class Session(msgspec.Struct, frozen=True):
    """Who is signed in. The token is compared in constant time."""

    caller: Caller
    token: str

    @property
    def operates(self) -> bool:
        """Whether gates may be opened and cards redelivered."""
        return "operate" in self.caller.scopes

    def sent(self, token: str) -> bool:
        """Whether a form comes from one of this session's pages."""
        return same(self.token, token)


class Sessions:
    """Begins sessions and finds them again. `chance` has to be one that nobody can guess."""

    def __init__(self, shared: Seal | None, keys: ApiKeys, clock: Clock, chance: Chance) -> None:
        self._own = SessionKeys([chance.getrandbits(KEY * 8).to_bytes(KEY, "big")], chance)
        self._shared, self._keys, self._clock, self._chance = shared, keys, clock, chance

    @property
    def _seal(self) -> Seal:
        return self._own if self._shared is None else self._shared

    def new_token(self) -> str:
        """For the forms of one session."""
        return f"{self._chance.getrandbits(192):048x}"

    def begin(self, caller: Caller) -> str:
        """The value of the cookie."""
        cookie = Cookie(caller.key, self._clock.wall() + LIFE * SECOND, self.new_token())
        sealed = self._seal.seal(msgspec.json.encode(cookie), ABOUT)
        return urlsafe_b64encode(sealed.encode()).rstrip(b"=").decode()

    def find(self, value: str | None) -> Session | None:
        """Whose cookie this is; None for none, a foreign, an old one, or that of a key that was taken out."""
        cookie = self._opened(value) if value and len(value) <= LONGEST else None
        if cookie is None or cookie.until <= self._clock.wall():
            return None
        caller = self._keys.of_hash(cookie.key)
        return None if caller is None else Session(caller, cookie.token)

    def _opened(self, value: str) -> Cookie | None:
        try:
            sealed = urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
            plain = self._seal.unseal(sealed, ABOUT)
            return None if plain is None else msgspec.json.decode(plain, type=Cookie)
        except ValueError:  # msgspec's and base64's are
            return None


def same(token: str, sent: str) -> bool:
    """Whether the token that was sent is the one that was given out; an empty one is none."""
    return bool(token) and hmac.compare_digest(token.encode(), sent.encode("utf-8", "surrogatepass"))
