"""Every route of the console."""

from __future__ import annotations

from typing import Final

from litestar import Router
from litestar.di import Provide

from services.gateway.console import acting, reading, signing
from services.gateway.console.dependencies import the_session
from services.gateway.console.sessions import PATH

ROUTER: Final = Router(
    PATH,
    route_handlers=[
        signing.sign_in_page,
        signing.sign_in,
        signing.sign_out,
        signing.static,
        reading.overview_page,
        reading.cards_page,
        reading.find,
        reading.activity_page,
        acting.open_gate,
        acting.close_gate,
        acting.redeliver_card,
        acting.refused_call,
    ],
    dependencies={"session": Provide(the_session)},
    include_in_schema=False,
)
