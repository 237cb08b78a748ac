"""A collector in memory: takes spans by OTLP over HTTP, as Jaeger's or a company's would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.line import free_port


class Collector:
    """`spans`: what came, as protobuf. With `status` other than 200 it takes nothing."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Any] = []
        self.services: dict[bytes, str] = {}
        self.text = ""
        self.asked = 0
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        """One export."""
        self.asked += 1
        body = ExportTraceServiceRequest.FromString(await request.read())
        if self.status != 200:
            return web.Response(status=self.status, text="canary-answer")
        self.text += str(body)
        for resource in body.resource_spans:
            about = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += scope.spans
                self.services |= {span.span_id: about["service.name"] for span in scope.spans}
        return web.Response()

    @property
    def kinds(self) -> set[str]:
        """The names of the spans, without what a topic is called."""
        return {span.name if "process" not in span.name else "process" for span in self.spans}

    def named(self, name: str) -> list[Any]:
        """The spans whose names begin so."""
        return [span for span in self.spans if span.name.startswith(name)]


@asynccontextmanager
async def a_collector() -> AsyncIterator[Collector]:
    """One that listens."""
    port = free_port()
    made = Collector(f"http://127.0.0.1:{port}")
    application = web.Application()
    application.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield made
    finally:
        await runner.cleanup()
