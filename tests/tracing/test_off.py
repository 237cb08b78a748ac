"""Off, tracing costs nothing: nothing of it is imported, and nothing is called."""

from __future__ import annotations

import subprocess
import sys

import pytest

from services.runtime.clock import RealClock
from services.runtime.settings import Settings, SettingsError
from services.tracing.opening import open_traces

EVERYTHING = """
import sys
from services.cli import commands, processes, up
from services.lifecycle import app
from services.dispatcher import app
from services.clock import app
from services.gateway import app
from services.tracing.opening import open_traces
from services.runtime.settings import Settings
assert open_traces("up", "up-1", Settings(), None) is None
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def test_nothing_of_opentelemetry_is_imported() -> None:
    """But two namespaces without code: FastStream asks whether it is installed."""
    done = subprocess.run([sys.executable, "-c", EVERYTHING], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['opentelemetry', 'opentelemetry.semconv']")


def test_asked_for_and_not_installed_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("opentelemetry", "services.tracing."))]:
        if not name.endswith((".opening", ".ports")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(SettingsError, match=r"pip install 'livecard\[traces\]'"):
        open_traces("up", "up-1", Settings(traces="otlp"), RealClock())


def test_a_variable_of_opentelemetry_that_does_not_do_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its SDK raises a ValueError, which would be a traceback."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with pytest.raises(SettingsError, match=r"OTEL_….* max_queue_size must be a positive integer"):
        open_traces("up", "up-1", Settings(traces="otlp"), RealClock())
