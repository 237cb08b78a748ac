"""Work in forked processes that end by `os._exit`, so that no dead coroutine is ever collected."""

from __future__ import annotations

import gc
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any


def forked(work: Callable[[], Any]) -> Any:
    """The result of `work` in a process of its own that is never tidied up."""
    pid, pipe = fork(work)
    return reap(pid, pipe)


def fork(work: Callable[[], Any]) -> tuple[int, int]:
    """Begin it: the process, and the pipe through which its result comes."""
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    status = 1
    try:
        os.close(reader)
        gc.disable()
        answer = pickle.dumps(work())
        with os.fdopen(writer, "wb") as out:
            out.write(answer)
        status = 0
    except BaseException:  # noqa: BLE001  # this process ends here, whatever it was
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def reap(pid: int, pipe: int) -> Any:
    """Wait for it."""
    with os.fdopen(pipe, "rb") as answer:
        data = answer.read()
    _, status = os.waitpid(pid, 0)
    if status or not data:
        raise RuntimeError(f"a chunk of schedules ended with status {status}")
    return pickle.loads(data)  # our own child wrote it
