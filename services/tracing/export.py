"""Where spans go: to a collector by OTLP over HTTP. Everything about it is set by OpenTelemetry's own
variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER` and the others), which its SDK reads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import requests
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from services.runtime.ports import SELDOM

LOG = structlog.get_logger("livecard.tracing")

_ITS_OWN: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
"""The exporter's logger: it writes an error for each batch, and quotes what the collector answered."""


def otlp(kind: str, name: str) -> TracerProvider:
    """A provider of this process that exports in the background."""
    logging.getLogger(_ITS_OWN).setLevel(logging.CRITICAL)
    session = requests.Session()
    session.auth = _nobody  # or requests would send a password from the ~/.netrc of whoever runs us
    return provider(kind, name, BatchSpanProcessor(Careful(OTLPSpanExporter(session=session))))


def provider(kind: str, name: str, processor: SpanProcessor) -> TracerProvider:
    """One with our name on its spans, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` has others."""
    ours = Resource.create(
        {
            "service.name": f"livecard-{kind}",
            "service.namespace": "livecard",
            "service.instance.id": name,
            "service.version": version("livecard"),
        }
    )
    made = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    made.add_span_processor(processor)
    return made


class Careful(SpanExporter):
    """An exporter that says once in a while that it fails, in a line of ours."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Whether the collector has them; what it does not take is dropped."""
        try:
            result, why = self._inner.export(spans), "it did not take them"
        except Exception as error:  # noqa: BLE001 (its text may hold the collector's URL, and that a password)
            result, why = SpanExportResult.FAILURE, type(error).__name__
        if result is not SpanExportResult.SUCCESS:
            LOG.warning(
                "spans are lost: does the collector at OTEL_EXPORTER_OTLP_ENDPOINT answer?",
                spans=len(spans),
                error=why,
                every=SELDOM,
            )
        return result

    def shutdown(self) -> None:
        """Close its connections."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits here."""
        return self._inner.force_flush(timeout_millis)


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
