"""Traces as the settings ask for them: off, and nothing of OpenTelemetry is imported, or by OTLP."""

from __future__ import annotations

from services.runtime.ports import Clock
from services.runtime.settings import Settings, SettingsError
from services.tracing.ports import Traces


def open_traces(kind: str, name: str, settings: Settings, clock: Clock) -> Traces | None:
    """Who draws the traces of this process (`name`, of a `kind`); None where they are off.

    Raises `SettingsError` where OpenTelemetry is not installed, or does not take its own variables.
    """
    if settings.traces == "off":
        return None
    try:
        from services.tracing.export import otlp
        from services.tracing.spans import Spans

        return Spans(otlp(kind, name), clock)
    except ImportError as error:
        raise SettingsError(
            f"LIVECARD_TRACES={settings.traces} needs OpenTelemetry, which is not installed here: "
            "pip install 'livecard[traces]', or leave LIVECARD_TRACES out"
        ) from error
    except ValueError as error:
        raise SettingsError(f"a variable of OpenTelemetry's (OTEL_…) does not do: {error}") from error
