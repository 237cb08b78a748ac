"""Files that hold secrets: who may read them, reading them without being led astray, and anew on change."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

LARGEST: Final = 1 << 20
"""Bytes of a file with secrets."""


class SecretFileError(Exception):
    """The file cannot be read, or others can; the text names the file and what to do, not its content."""


def read_secret(path: Path) -> bytes:
    """The content; a symbolic link is followed. Raises `SecretFileError`.

    What is checked is what is read: the open file is asked, not its name. A pipe is not waited for.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SecretFileError(f"cannot read {path}: {error.strerror}") from None
    try:
        seen = os.fstat(handle)
        if fault := exposed(seen, os.geteuid()):
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
        return "is not a file"
    if seen.st_uid == me:
        return "can be read by others than its owner: chmod 600 PATH" if mode & 0o077 else ""
    if seen.st_uid != 0:
        return "belongs to another user: it must be ours or root's"
    return "can be read by others than its owner and group: chmod 640 PATH" if mode & 0o037 else ""
