"""The gateway's composition root."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from litestar import Litestar, Request, Response
from litestar.di import Provide

from services.gateway.console import dependencies as pages
from services.gateway.console.dependencies import Console
from services.gateway.console.overview_cache import WatchService
from services.gateway.console.routes import ROUTER
from services.gateway.dependencies import Gateway
from services.gateway.feed import Feed
from services.gateway.feeding import FeedService
from services.gateway.guard import guarded, the_caller
from services.gateway.keys import ApiKeys
from services.gateway.openapi import route_of_document
from services.gateway.problems import answer_problem
from services.gateway.routes import activities, creations, delivery, events, gates, rooms
from services.gateway.routes import feed as streams
from services.gateway.service import GatewayService
from services.gateway.session_keys import SessionKeys
from services.kafka.tail import Tail
from services.runtime.process import Parts, Service
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient

ROUTES: Sequence[Any] = (
    creations.router,
    events.router,
    activities.router,
    streams.router,
    delivery.router,
    gates.router,
    rooms.router,
)
"""Every topic's routes."""

LARGEST_BODY = 1 << 20
"""Bytes of a request."""


def application(
    gateway: Gateway, keys: ApiKeys, routes: Sequence[Any] = ROUTES, console: Console | None = None
) -> Litestar:
    """The API and the console as an ASGI application; `console` is one of this gateway's if not given."""
    console = console or Console.of(gateway, keys, random.SystemRandom())

    async def the_gateway() -> Gateway:
        return gateway

    async def the_console() -> Console:
        return console

    def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        return console.problem(request, error) if pages.concerns(request) else answer_problem(request, error)

    app = Litestar(
        route_handlers=[*routes, route_of_document(tuple(routes)), ROUTER],
        middleware=[guarded],
        dependencies={
            "gateway": Provide(the_gateway),
            "console": Provide(the_console),
            "caller": Provide(the_caller),
        },
        exception_handlers={Exception: answer},
        request_max_body_size=LARGEST_BODY,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    app.state.api_keys, app.state.console = keys, console
    return app


def build(parts: Parts, keys: ApiKeys | None = None) -> list[Service]:
    """The services of a gateway process; `keys` stand in for those of the settings' file."""
    apps = AppBook.load(parts.settings)
    wechat = WeChatClient.of(parts.settings, apps, parts.clock, parts.metrics)
    feed = Feed(parts.clock, parts.metrics)
    gateway = Gateway(
        store=parts.store,
        wechat=wechat,
        apps=apps,
        clock=parts.clock,
        chance=parts.chance,
        relay=parts.relay,
        settings=parts.settings,
        metrics=parts.metrics,
        session_keys=SessionKeys.load(parts.settings, random.SystemRandom()),
        feed=feed,
        traces=parts.traces,
        rules=parts.delivery_rules,
    )
    keys = keys or ApiKeys.load(parts.settings.api_keys_file)
    tail = Tail(parts.settings, parts.topics.changes, feed, parts.clock)
    console = Console.of(gateway, keys, random.SystemRandom())
    api = GatewayService(application(gateway, keys, console=console), gateway, keys)
    return [api, FeedService(feed, tail), WatchService(console.watch)]
