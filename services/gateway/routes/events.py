"""What happened to an activity: its events, published through the outbox."""

from __future__ import annotations

from litestar import Router

router = Router("/v1/activities", route_handlers=[])
