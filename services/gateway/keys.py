"""API keys: who calls, and what the key allows (LIVECARD_API_KEYS_FILE holds hashes only)."""

from __future__ import annotations

import hashlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import msgspec
import structlog
from msgspec import Meta

from services.runtime.error_text import Explained
from services.runtime.secret_file import SecretFileError, read_secret, signature

LOG = structlog.get_logger("livecard.gateway")

Scope = Literal["read", "write", "rooms", "operate"]
SCOPES: Final = get_args(Scope)


class ApiKeysError(Explained):
    """The keys' file cannot be used; the text says what to do."""


NAME: Final = r"^[A-Za-z0-9._-]{1,64}\Z"
"""A key's name: it is part of its events' source, `/livecard/api/NAME`."""
PREFIX: Final = "lck_"
"""A key begins so, so that whoever searches for leaked secrets finds it."""

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key as the file describes it."""

    name: Annotated[str, Meta(pattern=NAME)]
    scopes: tuple[Scope, ...]
    appids: tuple[str, ...]


class Caller(msgspec.Struct, frozen=True):
    """Who calls. `key` is the hash of the API key: it tells two keys apart and is no secret."""

    name: str
    scopes: frozenset[str]
    appids: frozenset[str]
    key: str = ""

    def owns(self, appid: str) -> bool:
        """Whether the key is one of this app."""
        return appid in self.appids


def hash_of(key: str) -> str:
    """How a key is kept: SHA-256 in hex. A key has 256 random bits, so no salt and no slow hash is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


class ApiKeys:
    """The callers by their keys' hashes. What is compared is the hash, so time tells nothing of a key."""

    def __init__(self, entries: Mapping[str, KeyEntry], path: Path | None = None) -> None:
        self._callers = _callers(entries)
        self._path = path
        self._seen = signature(path) if path else None

    @classmethod
    def load(cls, file: str) -> ApiKeys:
        """Read the file; no name, or no such file yet: no key at all. Raises `ApiKeysError`."""
        if not file:
            return cls({})
        path = Path(file)
        return cls(read_keys(path) if path.exists() else {}, path)

    @classmethod
    def single(cls, key: str, name: str, appids: Iterable[str]) -> ApiKeys:
        """One key that may do everything with these apps."""
        return cls({hash_of(key): KeyEntry(name, SCOPES, tuple(appids))})

    def __len__(self) -> int:
        return len(self._callers)

    def find(self, key: str) -> Caller | None:
        """Who has this key."""
        return self._callers.get(hash_of(key))

    def of_hash(self, digest: str) -> Caller | None:
        """Whose key has this hash."""
        return self._callers.get(digest)

    def still(self, caller: Caller, scope: str, appid: str) -> bool:
        """Whether the key of a caller that was let in has this scope and this app now."""
        found = self._callers.get(caller.key)
        return found is not None and scope in found.scopes and found.owns(appid)

    def refresh(self) -> None:
        """Read the file again if it changed; a broken one leaves the keys of before, and is told."""
        if self._path is None or (seen := signature(self._path)) == self._seen:
            return
        self._seen = seen
        try:
            self._callers = _callers(read_keys(self._path))
        except ApiKeysError as error:
            LOG.critical(
                "the file of API keys cannot be used; the keys of before still count", error=str(error)
            )
            return
        LOG.info("the file of API keys was read again", keys=len(self._callers))


def read_keys(path: Path) -> dict[str, KeyEntry]:
    """The entries by hash. Raises `ApiKeysError`; an error does not quote a hash."""
    where = f"LIVECARD_API_KEYS_FILE: {path}"
    try:
        entries = msgspec.json.decode(read_secret(path).removeprefix(BOM_UTF8), type=dict[Digest, KeyEntry])
    except SecretFileError as error:
        raise ApiKeysError(f"LIVECARD_API_KEYS_FILE: {error}") from None
    except msgspec.ValidationError as error:
        raise ApiKeysError(f"{where}: {error}; `livecard key` writes it") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ApiKeysError(f"{where} is not a JSON object of keys; `livecard key` writes it") from None
    return entries


def _callers(entries: Mapping[str, KeyEntry]) -> dict[str, Caller]:
    return {
        digest: Caller(each.name, frozenset(each.scopes), frozenset(each.appids), digest)
        for digest, each in entries.items()
    }
