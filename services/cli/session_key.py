"""The key that encrypts users' session keys where nobody named a file: `livecard up` and `demo` make one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import structlog

from services.gateway.session_keys import new_key
from services.runtime.settings import state_folder

LOG = structlog.get_logger("livecard")


def session_key_to_try(folder: Path | None = None) -> str:
    """The name of a file with a key, the same each time: sessions outlive the process, as the store does.
    Empty where there is no folder to keep it in: then there are no sessions."""
    try:
        path = (folder or state_folder()) / "session-keys"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _write(path)
    except (OSError, RuntimeError):
        LOG.warning("there is no state folder, so nobody can log in: set LIVECARD_SESSION_KEY_FILE")
        return ""
    return str(path)


def _write(path: Path) -> None:
    """There before or after, never half, for us alone."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{new_key(random.SystemRandom())}\n")
    fresh.replace(path)
