"""The `livecard` command as a process of its own, in an environment that holds no other setting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.patience import PATIENCE

LIVECARD = Path(sys.executable).with_name("livecard")


def livecard(
    *arguments: str,
    stdin: str | bytes = "",
    command: str | Path = LIVECARD,
    folder: str | Path | None = None,
    **settings: str,
) -> tuple[int, str]:
    """Run it, this one or another installed elsewhere; exit code and everything it printed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    done = subprocess.run(
        [command, *arguments],
        cwd=folder,
        env={**environ, **settings},
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout.decode()
