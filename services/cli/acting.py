"""Who acts, at a command."""

from __future__ import annotations

import getpass
import socket

from services.cli.errors import CommandError
from services.store.operators import LONGEST_WHY, Act


def acting(why: str = "") -> Act:
    """The user of this machine. Raises `CommandError` for a reason that is too long to keep."""
    if len(why) > LONGEST_WHY:
        raise CommandError(f"a reason has at most {LONGEST_WHY} characters; this one has {len(why)}")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        user = "somebody"
    return Act(f"{user}@{socket.gethostname()}", why)
