"""Files that hold secrets: who may read them, reading them without being led astray, and anew on change."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import structlog

from services.runtime.error_text import Explained
from services.runtime.ports import SELDOM
from services.runtime.settings import Secret

LOG = structlog.get_logger("livecard")

LARGEST: Final = 1 << 20
"""Bytes of a file with secrets."""
NO_FILE: Final = "is not a file"


class SecretFileError(Explained):
    """The file cannot be read, or others can; the text names the file and what to do, not its content."""


def read_secret(path: Path, *, guarded: bool = True) -> bytes:
    """The content; a symbolic link is followed. Raises `SecretFileError`.

    What is checked is what is read: the open file is asked, not its name. A pipe is not waited for.
    `guarded` False: who may read it is not ours to say (the platform writes it), so only that it is a file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SecretFileError(f"cannot read {path}: {error.strerror}") from None
    try:
        seen = os.fstat(handle)
        fault = exposed(seen, os.geteuid()) if guarded else "" if stat.S_ISREG(seen.st_mode) else NO_FILE
        if fault:
            raise SecretFileError(f"{path} {fault}".replace("PATH", str(path)))
        if seen.st_size > LARGEST:
            raise SecretFileError(f"{path} is larger than {LARGEST} bytes")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(LARGEST)
    except OSError as error:
        raise SecretFileError(f"cannot read {path}: {error.strerror}") from None
    finally:
        os.close(handle)


def signature(path: Path) -> tuple[int, ...] | None:
    """What changes with the file's content, and (ctime) with who may read it; None for no file."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino


def exposed(seen: os.stat_result, me: int) -> str:
    """What is wrong with a file of secrets for the user `me`, empty when nothing is.

    The rule of PostgreSQL for its server's key: 0600 or less where it is ours, 0640 or less where it is
    root's, who gave it to our group (so are a Kubernetes secret's files with `fsGroup`).
    """
    mode = stat.S_IMODE(seen.st_mode)
    if not stat.S_ISREG(seen.st_mode):
        return NO_FILE
    if seen.st_uid == me:
        return "can be read by others than its owner: chmod 600 PATH" if mode & 0o077 else ""
    if seen.st_uid != 0:
        return "belongs to another user: it must be ours or root's"
    return "can be read by others than its owner and group: chmod 640 PATH" if mode & 0o037 else ""


class SecretText:
    """One secret: a text, or what stands in a file, which is read again when it changes.

    A file that cannot be used then leaves what was known, and is told. `setting` is what names the file.
    """

    def __init__(self, text: str = "", path: str = "", setting: str = "") -> None:
        """Raises `SecretFileError` for a file that cannot be used at the start."""
        self._path, self._setting = Path(path) if path else None, setting
        self._text = Secret(text)
        if self._path is not None:
            self._seen = signature(self._path)
            self._text = self._read(self._path)

    def __repr__(self) -> str:
        return f"SecretText({self._setting})"

    def value(self) -> Secret:
        """As it is now."""
        if self._path is not None and (seen := signature(self._path)) != self._seen:
            self._seen = seen
            try:
                self._text = self._read(self._path)
                LOG.info("a file of a secret was read again", setting=self._setting, path=str(self._path))
            except SecretFileError as error:
                LOG.warning("the secret of before stays in use", error=str(error), every=SELDOM)
        return self._text

    def _read(self, path: Path) -> Secret:
        """One line; its end does not belong to the secret."""
        try:
            text = read_secret(path).decode().removeprefix("\ufeff").rstrip("\r\n")
        except SecretFileError as error:
            raise SecretFileError(f"{self._setting}: {error}") from None
        except UnicodeDecodeError:
            raise SecretFileError(f"{self._setting}: {path} is not text in UTF-8") from None
        if not text or not text.isprintable():
            raise SecretFileError(f"{self._setting}: {path} must hold the secret in one line, nothing else")
        return Secret(text)
