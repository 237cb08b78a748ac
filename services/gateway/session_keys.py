"""Session keys at rest: AES-GCM under a key of LIVECARD_SESSION_KEY_FILE, re-read on change (design.md §8).

Each line of the file is a key, 32 bytes in base64. The first one encrypts, all decrypt; the sessions of one
that is taken out end with it.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.runtime.error_text import Explained
from services.runtime.ports import SELDOM, Chance
from services.runtime.secret_file import SecretFileError, read_secret, signature
from services.runtime.settings import Settings

LOG = structlog.get_logger("livecard.gateway")

KEY: Final = 32
"""Bytes of a key, and of a session's id."""
NONCE: Final = 12
NO_FILE: Final = (
    "sessions need a key to encrypt with: write 32 random bytes in base64 to a file that only livecard can "
    "read (`openssl rand -base64 32`), and name it in LIVECARD_SESSION_KEY_FILE"
)


class SessionKeyError(Explained):
    """The file cannot be used; the text says what to do and quotes nothing of it."""


class SessionKeys:
    """Seals and opens session keys. `chance` has to be one that nobody can guess."""

    def __init__(self, keys: Sequence[bytes], chance: Chance, path: Path | None = None) -> None:
        self._keys, self._chance, self._path = _named(keys), chance, path
        self._seen = signature(path) if path else None

    @classmethod
    def load(cls, settings: Settings, chance: Chance) -> SessionKeys:
        """Read the file that the settings name. Raises `SessionKeyError`; no file named is no error."""
        if not settings.session_key_file:
            return cls([], chance)
        path = Path(settings.session_key_file)
        return cls(_read(path), chance, path)

    def __repr__(self) -> str:
        return f"SessionKeys({sorted(self._keys)})"

    @property
    def usable(self) -> bool:
        """Whether there is a key to encrypt with."""
        return bool(self._keys)

    def refresh(self) -> None:
        """Read the file again if it changed; a broken one leaves what was known, and is told."""
        if self._path is None or (seen := signature(self._path)) == self._seen:
            return
        self._seen = seen
        try:
            self._keys = _named(_read(self._path))
        except SessionKeyError as error:
            LOG.warning(
                "the file of session keys cannot be used; what was known stays",
                error=str(error),
                every=SELDOM,
            )
            return
        LOG.info("the file of session keys was read again", keys=len(self._keys))

    def new_session(self) -> str:
        """A session's id, which is as good as a password: 32 random bytes."""
        return _url(self._chance.getrandbits(KEY * 8).to_bytes(KEY, "big"))

    def seal(self, plain: bytes, about: bytes) -> str:
        """`plain`, to be opened only together with `about`; under the file's first key."""
        name, key = next(iter(self._keys.items()))
        nonce = self._chance.getrandbits(NONCE * 8).to_bytes(NONCE, "big")
        return f"{name}:{b64encode(nonce + key.encrypt(nonce, plain, about)).decode()}"

    def unseal(self, sealed: str, about: bytes) -> bytes | None:
        """What was sealed; None where its key is gone, or where it was sealed about something else."""
        name, _, rest = sealed.partition(":")
        key = self._keys.get(name)
        if key is None:
            return None
        data = b64decode(rest)
        try:
            return key.decrypt(data[:NONCE], data[NONCE:], about)
        except InvalidTag:
            return None


def hash_of(session: str) -> str:
    """What the store keeps of a session's id."""
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).hexdigest()


def new_key(chance: Chance) -> str:
    """A line for the file."""
    return b64encode(chance.getrandbits(KEY * 8).to_bytes(KEY, "big")).decode()


def _named(keys: Sequence[bytes]) -> dict[str, AESGCM]:
    """By the names that sealed texts carry, in the file's order."""
    return {hashlib.sha256(b"livecard session key " + key).hexdigest()[:12]: AESGCM(key) for key in keys}


def _url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _read(path: Path) -> list[bytes]:
    try:
        text = read_secret(path)
    except SecretFileError as error:
        raise SessionKeyError(f"LIVECARD_SESSION_KEY_FILE: {error}") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise SessionKeyError(f"LIVECARD_SESSION_KEY_FILE: {path} is empty: write 32 bytes in base64 to it")
    return [_key(line, number, path) for number, line in lines]


def _key(line: bytes, number: int, path: Path) -> bytes:
    try:
        key = b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY:
        raise SessionKeyError(
            f"LIVECARD_SESSION_KEY_FILE: line {number} of {path} is not 32 bytes in base64 "
            "(`openssl rand -base64 32` makes such a line)"
        )
    return key
