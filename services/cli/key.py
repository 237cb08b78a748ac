"""`livecard key`: makes a key of the API, shows it once, and adds its hash to the file."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec
from rich.console import Console

from services.cli.errors import CommandError
from services.gateway.keys import NAME, PREFIX, SCOPES, ApiKeysError, KeyEntry, Scope, hash_of, read_keys
from services.runtime.secret_file import SecretFileError, read_secret
from services.runtime.settings import Settings, state_folder


def new_key() -> str:
    """A key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def make(
    settings: Settings,
    name: str,
    scopes: Sequence[str],
    appids: Sequence[str],
    *,
    out: Console,
    err: Console,
) -> None:
    """Make one, keep its hash, print it. Raises `CommandError`."""
    if not settings.api_keys_file:
        raise CommandError(
            "LIVECARD_API_KEYS_FILE is not set: name the file that the gateway reads its keys from"
        )
    entry = _entry(name, scopes, appids)
    path = Path(settings.api_keys_file)
    key = new_key()
    add(path, hash_of(key), entry)
    out.print(key, markup=False)
    err.print(
        f"This is the key {name!r}, and it is shown only now; its hash is in {path}, which a gateway that "
        "runs reads again within seconds.",
        markup=False,
    )


def _entry(name: str, scopes: Sequence[str], appids: Sequence[str]) -> KeyEntry:
    if not re.match(NAME, name):
        raise CommandError(f"{name!r} is no name of a key: write 1 to 64 letters, digits, dots, - or _")
    if unknown := [each for each in scopes if each not in SCOPES]:
        raise CommandError(f"no such scope: {', '.join(unknown)}; there are {', '.join(SCOPES)}")
    if not scopes:
        raise CommandError(f"a key without a scope may do nothing: add --scope, of {', '.join(SCOPES)}")
    if not appids or not all(appids):
        raise CommandError("a key without an app sees nothing: add --app APPID")
    return KeyEntry(
        name, cast("tuple[Scope, ...]", tuple(dict.fromkeys(scopes))), tuple(dict.fromkeys(appids))
    )


def add(path: Path, digest: str, entry: KeyEntry) -> None:
    """Add one hash to the file, which is there before or after, never half. Raises `CommandError`."""
    path = path.resolve()  # the file itself, where a link names it
    fresh = path.with_name(f".{path.name}.new")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise CommandError(
            f"another `livecard key` writes {path}, or died while it did: then remove {fresh}"
        ) from None
    except OSError as error:
        raise CommandError(f"cannot write {fresh}: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            entries = _known(path, entry.name)
            _as_readable_as(path, file.fileno())
            file.write(msgspec.json.format(msgspec.json.encode({**entries, digest: entry})) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)


def _known(path: Path, name: str) -> Mapping[str, KeyEntry]:
    try:
        entries = read_keys(path) if path.exists() else {}
    except ApiKeysError as error:
        raise CommandError(str(error)) from None
    if any(each.name == name for each in entries.values()):
        raise CommandError(
            f"{path} has a key {name!r} already: choose another name, or remove that entry from the file"
        )
    return entries


def _as_readable_as(path: Path, handle: int) -> None:
    """The new file is for those whom the old one was for: a gateway in another user's name reads it too."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    try:
        os.fchown(handle, old.st_uid, old.st_gid)
    except PermissionError:
        raise CommandError(
            f"{path} belongs to user {old.st_uid} and group {old.st_gid}, and you may not give them another "
            "file, so a gateway could read it no more: run this as that user, or as root"
        ) from None
    os.fchmod(handle, old.st_mode & 0o640)


def key_to_try(folder: Path | None = None) -> str:
    """The key of `livecard up`: the same each time, as far as there is a folder to keep it in."""
    try:
        path = (folder or state_folder()) / "api-key"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            kept = read_secret(path).decode("ascii", "replace").strip()
            if kept.startswith(PREFIX) and len(kept) > 40:
                return kept
            path.unlink()
        key = new_key()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{key}\n")
    except (OSError, RuntimeError, SecretFileError):
        return new_key()
    return key
