"""Asked to leave again, at whatever moment, a process still leaves in order."""

import subprocess
import sys

import pytest

LEAVING = """
import asyncio, signal
from services.cli.running import _loop_factory
from services.runtime.host import stop_on_signals

async def serve():
    stopping = asyncio.Event()
    stop_on_signals(stopping, asyncio.Event())
    signal.raise_signal(signal.{first})
    await stopping.wait()

with asyncio.Runner(loop_factory={factory}) as runner:
    runner.run(serve())
    signal.raise_signal(signal.{first})  # nobody looks at the loop any more
signal.raise_signal(signal.{first})  # and there is none
print("left in order")
"""


@pytest.mark.parametrize("first", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("factory", ["_loop_factory()", "None"], ids=["as served", "asyncio's loop"])
def test_asked_again_while_leaving(first: str, factory: str) -> None:
    """A signal after the loop's end would kill by its default: the exit code would say so."""
    said = subprocess.run(
        [sys.executable, "-c", LEAVING.format(first=first, factory=factory)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.endswith("left in order\n")
