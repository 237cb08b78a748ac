"""What became of an activity: its state and its card, its members, who is missing."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter

from services.gateway.answers import (
    ActivityBody,
    MembersBody,
    MissingBody,
    activity_body,
    member_body,
)
from services.gateway.cursors import PAGE, Cursor, Limit, read_cursor, write_cursor
from services.gateway.dependencies import ActivityId, TheCaller, TheGateway
from services.gateway.ownership import check_id, check_own
from services.gateway.problems import unprocessable
from services.gateway.reminders import Notify, short_title
from services.store.pages import PENDING_OR_DONE
from services.transactions.views import view_activity
from statemachine.states import DONE, PENDING

EntrancePath = Annotated[
    str | None,
    QueryParameter(
        description="where the reminder leads, a path of the mini program that begins with `/`: with it, the "
        "answer has `notify` for wx.notifyGroupMembers",
        min_length=1,
        max_length=1024,
        schema_extra={"pattern": "^/"},
        required=False,
    ),
]
MemberState = Annotated[
    str | None,
    QueryParameter(
        name="state",
        description="only members of this state",
        schema_extra={"enum": [PENDING, DONE]},
        required=False,
    ),
]


@get("/{activity_id:str}", opt={"scope": "read"}, summary="One activity and its card")
async def activity(activity_id: ActivityId, caller: TheCaller, gateway: TheGateway) -> ActivityBody:
    """State, counts, where the card's delivery stands, the last calls, and what people read."""
    check_id(activity_id)
    view = await view_activity(gateway.store, activity_id, gateway.rules)
    check_own(caller, None if view is None else view.seen.card.appid)
    assert view is not None  # or it would be nobody's
    return activity_body(view)


@get("/{activity_id:str}/members", opt={"scope": "read"}, summary="The members of an activity")
async def activity_members(
    activity_id: ActivityId,
    caller: TheCaller,
    gateway: TheGateway,
    *,
    of_state: MemberState = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> MembersBody:
    """Who is listed or done, and what the card shows of them; by group_openid."""
    check_id(activity_id)
    if of_state not in (None, PENDING, DONE):
        raise unprocessable("state", f"expected {PENDING} or {DONE}")
    of = f"members {of_state} {activity_id}"
    after = read_cursor(of, cursor, str) or ""
    page = await gateway.store.members_page(activity_id, after, limit + 1, of_state or PENDING_OR_DONE)
    check_own(caller, None if page is None else page.appid)
    assert page is not None  # or it would be nobody's
    shown = page.members[:limit]
    more = len(page.members) > limit
    return MembersBody(
        [member_body(each) for each in shown], write_cursor(of, shown[-1].group_openid) if more else None
    )


@get("/{activity_id:str}/missing", opt={"scope": "read"}, summary="Who is missing in an activity")
async def missing(
    activity_id: ActivityId,
    caller: TheCaller,
    gateway: TheGateway,
    *,
    entrance_path: EntrancePath = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> MissingBody:
    """Who is listed and not done; for everyone: who is bound to the room and not done. By group_openid."""
    check_id(activity_id)
    if entrance_path is not None and not entrance_path.startswith("/"):
        raise unprocessable("entrance_path", "expected a path that begins with /, such as /pages/task")
    of = f"missing {activity_id}"
    after = read_cursor(of, cursor, str) or ""
    page = await gateway.store.missing_page(activity_id, after, limit + 1)
    check_own(caller, None if page is None else page.appid)
    assert page is not None  # or it would be nobody's
    shown = page.members[:limit]
    more = len(page.members) > limit
    notify: Notify | msgspec.UnsetType = msgspec.UNSET
    if entrance_path is not None and page.template:
        notify = Notify(short_title(page.title), shown, entrance_path, page.template)
    return MissingBody(shown, write_cursor(of, shown[-1]) if more else None, notify)


router = Router("/v1/activities", route_handlers=[activity, activity_members, missing])
