"""Traces as the settings ask for them: off, and nothing of OpenTelemetry is imported, or by OTLP."""

from __future__ import annotations

from services.runtime.ports import Clock
from services.runtime.settings import Settings, SettingsError
from services.tracing.ports import Traces


def open_traces(kind: str, name: str, settings: Settings, clock: Clock) -> Traces | None:
    """Who draws the traces of this process (`name`, of a `kind`); None where they are off.

    Raises `SettingsError` where OpenTelemetry is not installed.
    """
    if settings.traces == "off":
        return None
    try:
        from services.tracing.export import otlp
        from services.tracing.spans import Spans
    except ImportError as error:
        raise SettingsError(
            f"LIVECARD_TRACES={settings.traces} needs OpenTelemetry, which is not installed here: "
            "pip install 'livecard[traces]', or leave LIVECARD_TRACES out"
        ) from error
    return Spans(otlp(kind, name), clock)
