"""What callers of the API wait for at WeChat: a new activity id, and who logged in. Never inside a
transaction; whatever WeChat does instead is a problem that says when to try again."""

from __future__ import annotations

from typing import Final, Protocol

import structlog

from contracts.times import MINUTE, SECOND, format_rfc3339
from contracts.wechat import BAD_JS_CODE, BLOCKED_USER, USED_JS_CODE, Verdict
from services.gateway.dependencies import Gateway
from services.gateway.problems import FieldError, Problem, unavailable
from services.runtime.ports import SELDOM
from services.transactions.passing import OF_THE_CALL, Shut, enter, leave
from services.wechat.ports import Answer, Created, LoggedIn

LOG = structlog.get_logger("livecard.gateway")

SOON: Final = 5
"""Seconds until WeChat is worth another try, when it was away or said nothing understandable."""

NOT_THIS_CODE: Final = {
    BAD_JS_CODE: (401, "WeChat does not know this code, or it is over five minutes old: call wx.login again"),
    USED_JS_CODE: (401, "this code was used already: call wx.login again"),
    BLOCKED_USER: (403, "WeChat does not let this user log in, as too great a risk"),
}
"""What is said of a login that WeChat refuses: as of a session that is over, the user has to log in anew."""


class AskingMetrics(Protocol):
    """What is counted: by `ok`, `closed` (the gate), `paused` (a limit), or the verdict."""

    def created(self, outcome: str) -> None:
        """An activity id was asked for."""
        ...

    def logged_in(self, outcome: str) -> None:
        """A session was asked for."""
        ...


async def new_activity_id(gateway: Gateway, appid: str) -> Created:
    """A new id of WeChat's. Raises `Problem`: 409 for an app that is not known here, 503 with when to try
    again. An id that comes of it and is then not used is lost, and costs nothing but quota."""
    _known(gateway, appid)
    if wait := gateway.pauses.left("create", appid, gateway.clock.monotonic()):
        gateway.metrics.created("paused")
        raise unavailable(f"WeChat gives {appid} no more activity ids for now", wait)
    with gateway.places.taken():
        return await _created(gateway, appid)


async def _created(gateway: Gateway, appid: str) -> Created:
    passage = await enter(gateway.store, appid, gateway.rules)
    if isinstance(passage, Shut):
        gateway.metrics.created("closed")
        raise _shut(gateway, appid, passage.reason, passage.wait)
    answer = await gateway.wechat.create_activity_id(appid)
    refused = answer if isinstance(answer, Answer) else Answer(Verdict.ok)
    gate = await leave(
        gateway.store,
        appid,
        passage,
        refused.verdict,
        gateway.rules,
        jitter=gateway.chance.random(),
        errcode=refused.errcode,
        errmsg=refused.errmsg,
    )
    gateway.metrics.created(str(refused.verdict))
    if isinstance(answer, Created):
        return answer
    if gate is not None and gate.reason:
        LOG.warning(
            "a gate closed: WeChat refuses the app",
            appid=appid,
            reason=gate.reason,
            until=format_rfc3339(gate.closed_until),
            errcode=refused.errcode,
            errmsg=refused.errmsg,
            rid=refused.rid,
        )
        raise _shut(gateway, appid, gate.reason, gate.wait)
    raise _away(gateway, "create", appid, answer)


async def logged_in(gateway: Gateway, appid: str, js_code: str) -> LoggedIn:
    """Whose code this is. Raises `Problem`: 409 for an app without a secret here, 401 or 403 for
    a code that is none, 503 with when to try again."""
    _known(gateway, appid)
    if not gateway.apps.keeps_secret(appid):
        raise Problem(
            409,
            f"no secret of {appid} is kept here (its token comes from elsewhere), and WeChat lets nobody log "
            "in without it: add its secret or secret_file to LIVECARD_APPS_FILE",
        )
    if wait := gateway.pauses.left("login", appid, gateway.clock.monotonic()):
        gateway.metrics.logged_in("paused")
        raise unavailable(f"WeChat lets nobody log in to {appid} for now", wait)
    with gateway.places.taken():
        answer = await gateway.wechat.code2session(appid, js_code)
    refused = answer if isinstance(answer, Answer) else Answer(Verdict.ok)
    wrong = NOT_THIS_CODE.get(refused.errcode or 0)
    gateway.metrics.logged_in("refused" if wrong else str(refused.verdict))
    if isinstance(answer, LoggedIn):
        return answer
    if wrong:
        status, why = wrong
        error = FieldError("js_code", f"{why} ({refused.errcode})")
        raise Problem(status, "the user is not logged in", errors=[error])
    raise _away(gateway, "login", appid, answer)


def _known(gateway: Gateway, appid: str) -> None:
    if not gateway.apps.names(appid):
        raise Problem(
            409,
            f"{appid} is not known here, so WeChat cannot be asked for it: name it in "
            "LIVECARD_APPS_FILE (or create the id elsewhere, and send activity_id and expires_at)",
        )


def _shut(gateway: Gateway, appid: str, reason: str, wait: int) -> Problem:
    longest = gateway.settings.us("probe") if reason == "unknown_app" else wait
    return unavailable(
        f"WeChat is not asked for {appid} now: its gate is closed ({reason}); GET /v1/gates tells more",
        _seconds(min(wait, longest)),
    )


def _away(gateway: Gateway, call: str, appid: str, answer: Answer) -> Problem:
    """503. A limit of the call itself is remembered here, so that nobody asks before it is over."""
    wait = SOON
    if answer.verdict in OF_THE_CALL:
        daily = answer.verdict is Verdict.daily_limit
        wait = _seconds(gateway.settings.us("quota_probe") if daily else MINUTE)
        gateway.pauses.begin(call, appid, gateway.clock.monotonic(), wait)
    elif answer.verdict in (Verdict.misconfigured, Verdict.blocked, Verdict.address):
        wait = _seconds(gateway.settings.us("probe"))
    LOG.warning(
        "WeChat gives no activity id" if call == "create" else "WeChat lets nobody log in",
        appid=appid,
        verdict=str(answer.verdict),
        errcode=answer.errcode,
        errmsg=answer.errmsg,
        rid=answer.rid,
        again_in=wait,
        every=SELDOM,
    )
    said = f"it answered {answer.errcode}" if answer.errcode is not None else "it gave no answer"
    rid = f", rid {answer.rid}" if answer.rid else ""
    return unavailable(f"WeChat did not do it for {appid}: {said}{rid} ({answer.verdict})", wait)


def _seconds(us: int) -> int:
    return max(1, -(-us // SECOND))
