"""Whose an activity is: a key sees and touches those of its own apps, and no sign of others'."""

from __future__ import annotations

from contracts.events import LONGEST_ID
from contracts.reading import plain
from services.gateway.keys import Caller
from services.gateway.problems import Problem, not_found
from services.store.pages import Owner
from services.store.ports import Store


def check_id(activity_id: str) -> None:
    """Raise `Problem` (404) for a text that can be no id, so that the store is not asked."""
    if not 0 < len(activity_id) <= LONGEST_ID or not plain(activity_id):
        raise unknown_activity()


def check_app(caller: Caller, appid: str) -> None:
    """Raise `Problem` (403) unless the key is for this app, which the request names."""
    if not caller.owns(appid):
        raise Problem(403, f"the key {caller.name!r} is not for the app {appid!r}: `livecard key` makes one")


def check_own(caller: Caller, appid: str | None) -> None:
    """Raise `Problem` (404) unless the app of an activity is the key's; None: there is no such activity."""
    if appid is None or not caller.owns(appid):
        raise unknown_activity()


async def owned(store: Store, caller: Caller, activity_id: str) -> Owner:
    """Whose the activity is, and its state. Raises `Problem` (404) unless it is the key's."""
    check_id(activity_id)
    owner = await store.owner(activity_id)
    if owner is None or not caller.owns(owner.appid):
        raise unknown_activity()
    return owner


def unknown_activity() -> Problem:
    """404: unknown, deleted, or another app's."""
    return not_found("none of this key's apps has an activity of this id")
