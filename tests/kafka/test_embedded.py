"""The embedded broker in its process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from services.kafka.embedded import EmbeddedKafka

TASKS = Path("/proc/self/task")


@pytest.mark.skipif(not TASKS.exists(), reason="only Linux tells of a process's threads")
def test_none_of_its_threads_takes_a_signal() -> None:
    """An interrupted `poll` would end the mock cluster, and with it `livecard up` on SIGTERM: -6 or -11."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    broker = EmbeddedKafka()
    broker.start(["a"])
    try:
        threads = {name: mask for name, mask in _blocked() if name.startswith("rdk:")}
        assert "rdk:mock" in threads
        assert all(mask >> signal.SIGTERM - 1 & 1 for mask in threads.values()), threads
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    finally:
        broker.stop()


def _blocked() -> list[tuple[str, int]]:
    """Each thread's name, and its mask of blocked signals."""
    statuses = [(task / "status").read_text() for task in TASKS.iterdir()]
    fields = [dict(line.split(":\t", 1) for line in each.splitlines() if ":\t" in line) for each in statuses]
    return [(each["Name"], int(each["SigBlk"], 16)) for each in fields]
