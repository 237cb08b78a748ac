"""`livecard` as another user runs it, in whose container nothing is as it is here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from scripts.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
UID = 54_321
"""Nobody's here: without a name, a home and a right to anything."""
PROGRAM = "from services.cli.main import main; main()"


def nameless() -> str | None:
    """Why no process can be run as that user; None when one can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "only root runs a process as somebody else"
    return None if Path("/proc/self/fd").exists() else "wants /proc"


@contextmanager
def another_user(*arguments: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """`livecard ARGUMENTS` with exactly this environment, by that user.

    Python, its library and ours may lie in folders that only root may enter (a CI's home, for one), so they
    are handed over as open files.
    """
    places = [
        Path(sys.base_prefix),
        ROOT,
        *(Path(each) for each in sys.path if each.endswith("site-packages")),
    ]
    with ExitStack() as stack:
        handles = []
        for place in (Path(sys.executable).resolve(), *places):
            handles.append(os.open(place, os.O_RDONLY))
            stack.callback(os.close, handles[-1])
        python, home, *modules = (f"/proc/self/fd/{handle}" for handle in handles)
        process = subprocess.Popen(
            [python, "-c", PROGRAM, *arguments],
            cwd="/",
            user=UID,
            group=UID,
            extra_groups=[],
            pass_fds=handles,
            env={
                "PYTHONHOME": home,
                "PYTHONPATH": ":".join(modules),
                "LD_LIBRARY_PATH": f"{home}/lib",
                **environ,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()


def as_another_user(*arguments: str, **environ: str) -> tuple[int, str]:
    """Its exit code and what it printed."""
    with another_user(*arguments, **environ) as process:
        said, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, said.decode()


def log_line(process: subprocess.Popen[bytes], event: str) -> dict[str, Any]:
    """Wait for this line of its log."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(b"{") and (told := msgspec.json.decode(line))["event"] == event:
            return dict(told)
    raise AssertionError(f"it ended without saying {event!r}")
