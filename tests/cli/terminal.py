"""A terminal of a given size, and what a command draws on it."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import termios
from fcntl import ioctl

from tests.cli.running import LIVECARD

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(*arguments: str, columns: int = 80, **settings: str) -> list[str]:
    """The lines that `livecard` prints there, without colours."""
    left, right = pty.openpty()
    ioctl(right, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LIVECARD_") and k != "COLUMNS"}
    process = subprocess.Popen(
        [LIVECARD, *arguments],
        env={**kept, "TERM": "xterm", **settings},
        stdout=right,
        stderr=right,
        stdin=right,
    )
    os.close(right)
    said = b""
    while True:
        try:
            piece = os.read(left, 65_536)
        except OSError:  # Linux: nobody writes any more
            break
        if not piece:
            break
        said += piece
    os.close(left)
    process.wait()
    return STYLE.sub("", said.decode()).splitlines()
