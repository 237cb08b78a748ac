"""Who acts, at the gateway: the name of the key."""

from __future__ import annotations

from services.gateway.keys import Caller
from services.store.operators import Act


def acting(caller: Caller, why: str = "", *, at: str = "API") -> Act:
    """By the API, or by a page of the console."""
    return Act(f"key {caller.name} ({at})", why)
