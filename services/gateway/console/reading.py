"""The pages: the whole at a glance, the cards that are not in sync, one activity's story."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import Request, Response, get
from litestar.params import PathParameter, QueryParameter

from contracts.changes import Change, decode_change
from contracts.times import HOUR, MINUTE, SECOND
from services.gateway.console.dependencies import TheConsole, TheSession, redirect
from services.gateway.console.pages import segment
from services.gateway.console.plots import HEIGHT, WIDTH, calls_plot, lateness_plot
from services.gateway.console.sessions import PATH
from services.gateway.cursors import Cursor, read_cursor, write_cursor
from services.gateway.dependencies import Gateway, TheGateway
from services.gateway.ownership import check_app, check_id, check_own
from services.store.pages import PENDING_OR_DONE, Place
from services.transactions.ledger import DEAD_LETTERS
from services.transactions.overview import cards_after
from services.transactions.story import MOST, read_story

FIRST_CARDS: Final = 8
"""The oldest cards that the overview lists."""
PAGE: Final = 50
SPANS: Final = {"30m": 30 * MINUTE, "2h": 2 * HOUR, "8h": 8 * HOUR, "1d": 24 * HOUR, "7d": 168 * HOUR}
"""For how long a page closes a gate, µs."""
LATELY: Final = 5
"""Minutes of which the overview says the sum."""

ActivityId = Annotated[str, PathParameter(description="The activity's id, percent-encoded.")]
App = Annotated[str, QueryParameter(description="only cards of this app", max_length=128, required=False)]
Wanted = Annotated[
    str, QueryParameter(name="id", description="an activity's id", max_length=512, required=False)
]


@get("/", opt={"console": True, "scope": "read"})
async def overview_page(
    request: Request[Any, Any, Any], console: TheConsole, session: TheSession
) -> Response[str]:
    """Whether somebody has to act, and on what."""
    appids = session.caller.appids
    seen = await console.watch.overview(appids)
    minutes = await console.watch.minutes(appids)
    lately = minutes[-LATELY:]
    calls = sum(each.calls or 0 for each in lately)
    late = [each.lateness for each in minutes if each.lateness is not None]
    counters = await console.watch.counters.get() if session.operates else None
    opened, shut = request.query_params.get("did"), request.query_params.get("shut")
    return console.pages.answer(
        request,
        "overview",
        title="overview",
        seen=seen,
        first=seen.cards[:FIRST_CARDS],
        hour=(
            sum(each.calls or 0 for each in minutes),
            sum(each.confirmed for each in minutes),
            max((each.calls or 0 for each in minutes), default=0),
        ),
        lately=(calls, sum(each.confirmed for each in lately)),
        calls=calls_plot(minutes),
        lateness=lateness_plot(minutes),
        most_late=max(late, default=0) // SECOND * SECOND,
        size=(WIDTH, HEIGHT),
        dead=None if counters is None else _dead(counters),
        counters=counters or {},
        opened=opened if opened in appids else None,
        shut=shut if shut in appids else None,
    )


def _dead(counters: dict[str, int]) -> list[tuple[str, int]]:
    """Dead letters by reason, most first."""
    found = [
        (name.removeprefix(DEAD_LETTERS), count)
        for name, count in counters.items()
        if name.startswith(DEAD_LETTERS)
    ]
    return sorted(found, key=lambda each: (-each[1], each[0]))


@get("/cards", opt={"console": True, "scope": "read"})
async def cards_page(
    request: Request[Any, Any, Any],
    console: TheConsole,
    gateway: TheGateway,
    session: TheSession,
    *,
    app: App = "",
    cursor: Cursor = None,
) -> Response[str]:
    """Cards that are not in sync, oldest first, of one app or of all."""
    if app:
        check_app(session.caller, app)
    appids = [app] if app else sorted(session.caller.appids)
    of = f"console cards {app}"
    after = read_cursor(of, cursor, Place)
    found, now = await cards_after(gateway.store, appids, after, PAGE + 1, gateway.rules)
    shown = found[:PAGE]
    return console.pages.answer(
        request,
        "cards",
        title="cards",
        cards=shown,
        now=now or gateway.clock.wall(),
        app=app,
        spans=SPANS,
        apps=sorted(session.caller.appids),
        paged=cursor is not None,
        following=write_cursor(of, shown[-1].place) if len(found) > PAGE else None,
    )


@get("/find", opt={"console": True, "scope": "read"})
async def find(*, wanted: Wanted = "") -> Response[None]:
    """To an activity's page; without an id to the overview."""
    activity_id = wanted.strip()
    return redirect(f"{PATH}/activities/{segment(activity_id)}" if activity_id else PATH)


@get("/activities/{activity_id:str}", opt={"console": True, "scope": "read"})
async def activity_page(
    request: Request[Any, Any, Any],
    activity_id: ActivityId,
    console: TheConsole,
    gateway: TheGateway,
    session: TheSession,
    *,
    cursor: Cursor = None,
) -> Response[str]:
    """What became of one activity, and its members."""
    check_id(activity_id)
    story = await read_story(gateway.store, activity_id, _changes(gateway, activity_id), gateway.rules)
    check_own(session.caller, None if story is None else story.view.seen.card.appid)
    of = f"console members {activity_id}"
    after = read_cursor(of, cursor, str) or ""
    page = await gateway.store.members_page(activity_id, after, PAGE + 1, PENDING_OR_DONE)
    check_own(session.caller, None if page is None else page.appid)
    assert story is not None  # or they would be nobody's
    assert page is not None
    shown = page.members[:PAGE]
    return console.pages.answer(
        request,
        "activity",
        title="activity",
        story=story,
        view=story.view,
        seen=story.view.seen,
        members=shown,
        paged=cursor is not None,
        following=write_cursor(of, shown[-1].group_openid) if len(page.members) > PAGE else None,
        did=request.query_params.get("did", ""),
        fates=("owed", "confirmed", "skipped"),
    )


def _changes(gateway: Gateway, activity_id: str) -> list[Change]:
    """The last hour's, as far as this process has them, and as many as are told of anything."""
    return [decode_change(each) for each in gateway.feed.changes_of(activity_id, MOST)]
