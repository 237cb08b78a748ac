"""One claimed card's call to WeChat: send it while the lease lasts, and say what came of it."""

from __future__ import annotations

from typing import cast

import structlog

from contracts.wechat import (
    TARGET_OPEN,
    TEMPLATE_IDS,
    VERSION_TYPES,
    ParticipatorInfo,
    SetChatToolMsg,
    Template,
    Verdict,
    Version,
)
from services.dispatcher.limiter import Limiter, Permit
from services.dispatcher.metrics import DispatcherMetrics
from services.runtime.ports import SELDOM, Chance, Clock
from services.runtime.settings import Settings
from services.tracing.ports import Traces
from services.wechat.ports import Answer, WeChat
from statemachine.gate import CLOSING
from statemachine.step import Claimed, Result

LOG = structlog.get_logger("livecard.dispatcher")


class Caller:
    """Makes the one call of a claimed card. Once `stopping` is set nothing more is sent."""

    def __init__(
        self,
        *,
        wechat: WeChat,
        limiter: Limiter,
        clock: Clock,
        chance: Chance,
        settings: Settings,
        metrics: DispatcherMetrics,
        traces: Traces | None = None,
    ) -> None:
        self._wechat, self._limiter = wechat, limiter
        self._metrics, self._traces = metrics, traces
        self._clock, self._chance = clock, chance
        self._deadline, self._lease = settings.call_deadline, settings.lease
        self._empty_list_at_open = settings.empty_list_at_open
        self.stopping = False

    async def call(self, claimed: Claimed, permit: Permit, began: float) -> Result:
        """The result of the call; never raises. `began`: monotonic seconds before the claim was asked for."""
        started = self._clock.monotonic()
        try:
            async with self._limiter.slot(permit):
                started = self._clock.monotonic()
                answer = await self._ask(claimed, permit, began)
        except Exception as error:  # whatever went wrong, WeChat may have been called
            LOG.exception("a call failed; its outcome is unknown", activity_id=claimed.card.activity_id)
            answer = Answer(Verdict.unknown, sent=True, errmsg=type(error).__name__)
        finally:
            self._limiter.give(permit)
        seconds = self._clock.monotonic() - started
        self._learn(claimed, permit, answer, seconds)
        result = Result(
            claimed,
            answer.verdict,
            answer.sent,
            answer.errcode,
            answer.errmsg,
            answer.rid,
            round(seconds * 1_000_000),
            self._chance.random(),
        )
        if answer.verdict is not None:
            self._tell(result, seconds)
        return result

    async def _ask(self, claimed: Claimed, permit: Permit, began: float) -> Answer:
        """Ask WeChat, if the lease outlives the call's deadline, the id lives and the app is let in."""
        ends = self._clock.monotonic() + self._deadline
        leased = began + self._lease
        expires = began + (claimed.card.expires_at - claimed.at) / 1_000_000

        def may_send() -> bool:
            now = self._clock.monotonic()
            in_time = now <= ends <= leased and now < expires
            return in_time and not self.stopping and not self._limiter.withdrawn(permit)

        if not may_send():
            return Answer(None)
        body = message(claimed, empty_list_at_open=self._empty_list_at_open)
        return await self._wechat.set_chat_tool_msg(claimed.card.appid, body, self._deadline, may_send)

    def _tell(self, result: Result, seconds: float) -> None:
        """One line an attempt, with everything about it: an info where WeChat took it, else a warning. Who is
        listed is not told, only how many."""
        trace = "" if self._traces is None else self._traces.called(result, seconds)
        claimed, card = result.claimed, result.claimed.card
        tell = LOG.info if result.verdict is Verdict.ok else LOG.warning
        tell(
            "attempt",
            activity_id=card.activity_id,
            appid=card.appid,
            revision=card.revision,
            target_state=claimed.call.target_state,
            members=len(claimed.call.members),
            more=claimed.more,
            repair=claimed.repair,
            after_failures=card.attempts,
            fence=card.fence,
            verdict=None if result.verdict is None else result.verdict.value,
            sent=result.sent,
            errcode=result.errcode,
            errmsg=result.errmsg,
            rid=result.rid,
            seconds=round(seconds, 4),
            **({"trace_id": trace} if trace else {}),
        )

    def _learn(self, claimed: Claimed, permit: Permit, answer: Answer, seconds: float) -> None:
        """What the answer says about the app in this process."""
        verdict = answer.verdict
        if verdict is None:
            return
        self._metrics.called(permit.appid, verdict.value, answer.errcode, seconds)
        if answer.sent:
            self._metrics.repeated(claimed.repeats)
        if verdict is Verdict.ok:
            self._limiter.succeeded(permit)
        elif verdict is Verdict.unknown:
            self._limiter.doubted(permit)
        elif verdict in CLOSING:
            self._limiter.close(permit)
        elif verdict in (Verdict.address, Verdict.no_token):
            LOG.error(
                "WeChat lets this process alone not in: is its address on the app's list?"
                if verdict is Verdict.address
                else "no token can be fetched here: this process leaves the app to others for now",
                activity_id=claimed.card.activity_id,
                appid=permit.appid,
                errcode=answer.errcode,
                errmsg=answer.errmsg,
                rid=answer.rid,
                again_in=round(self._limiter.pause(permit), 1),
                every=SELDOM,
            )


def message(claimed: Claimed, *, empty_list_at_open: bool) -> SetChatToolMsg:
    """The body of the call. The list is left out at 2 and 3 when there is nobody to name; at 1,
    where WeChat requires it, an empty one is sent if the setting says so (wechat-api.md §2)."""
    card, call = claimed.card, claimed.call
    listed: tuple[ParticipatorInfo, ...] | None = tuple(ParticipatorInfo(each) for each in call.members)
    if not listed and not (call.target_state == TARGET_OPEN and empty_list_at_open):
        listed = None
    return SetChatToolMsg(
        activity_id=card.activity_id,
        target_state=call.target_state,
        template_id=TEMPLATE_IDS[cast("Template", card.template)],
        version_type=VERSION_TYPES[cast("Version", card.version)],
        participator_info_list=listed,
    )
