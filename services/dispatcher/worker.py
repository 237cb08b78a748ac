"""The line each claimed card goes through: plan → permit → call → classify (design.md §6)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from contracts.wechat import Verdict
from services.dispatcher.look import GATE_CLOSING, message, plan_look, repeats
from services.dispatcher.metrics import DispatcherMetrics
from services.dispatcher.permits import Permit, Permits
from services.runtime.ports import Chance, Clock
from services.runtime.settings import Settings
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.transactions.claim import CardRules, Claimed
from services.transactions.gates import NEVER, UNKNOWN_APP, close_gate
from services.transactions.settle import Look
from services.wechat.ports import Answer, Apps, WeChat
from statemachine.plan import Call

LOG = structlog.get_logger("livecard.dispatcher")


class Worker:
    """Makes one call for each claimed card and hands the finished look on.

    Once `stopping` is set nothing more is sent: cards are given back.
    """

    def __init__(
        self,
        *,
        store: Store,
        wechat: WeChat,
        apps: Apps,
        permits: Permits,
        clock: Clock,
        chance: Chance,
        settings: Settings,
        rules: CardRules,
        metrics: DispatcherMetrics,
        finished: Callable[[Look], None],
    ) -> None:
        self._store, self._wechat, self._apps, self._permits = store, wechat, apps, permits
        self._clock, self._chance, self._settings, self._rules = clock, chance, settings, rules
        self._metrics, self._finished = metrics, finished
        self.stopping = False

    async def work(self, claimed: Claimed, permit: Permit, began: float) -> None:
        """One card from plan to classification; the settler does the rest."""
        try:
            look = await self._look(claimed, permit, began)
        except Exception as error:  # whatever went wrong, WeChat may have been called
            LOG.exception("a look failed; its outcome is unknown", activity_id=claimed.card.activity_id)
            look = Look(
                claimed,
                Call(claimed.card.shown),
                sent=True,
                verdict=Verdict.unknown,
                errmsg=type(error).__name__,
            )
        finally:
            self._permits.give(permit)
        self._finished(look)

    async def _look(self, claimed: Claimed, permit: Permit, began: float) -> Look:
        plan = plan_look(claimed, self._rules)
        look = Look(claimed, left_out=plan.left_out, jitter=self._chance.random())
        if not plan.calls:
            return look
        look = msgspec.structs.replace(look, call=plan.calls[0], more=len(plan.calls) > 1)
        if not await self._permitted(claimed, permit):
            return look
        started = self._clock.monotonic()
        answer = await self._call(claimed, plan.calls[0], began)
        return self._classify(look, permit, answer, self._clock.monotonic() - started)

    async def _permitted(self, claimed: Claimed, permit: Permit) -> bool:
        """Whether the app is known and no answer has closed its gate since the claim."""
        appid = claimed.card.appid
        if self.stopping or self._permits.withdrawn(permit):
            return False
        if self._apps.names(appid):
            return True
        self._permits.close(permit)
        LOG.warning("the apps file does not name this app; its cards wait", appid=appid)
        try:
            await close_gate(self._store, appid, UNKNOWN_APP, NEVER)
        except (StoreUnavailable, StoreRejected) as error:
            LOG.warning("a gate could not be closed; the next claim tries", appid=appid, error=str(error))
        self._permits.closed(appid)
        self._permits.strange(permit)
        return False

    async def _call(self, claimed: Claimed, call: Call, began: float) -> Answer | None:
        """Ask WeChat; None when the lease would not outlive the call, so that nothing was tried."""
        card, deadline = claimed.card, self._settings.call_deadline
        ends = self._clock.monotonic() + deadline
        leased = began + self._rules.lease / 1_000_000
        expires = began + (card.expires_at - claimed.now) / 1_000_000

        def may_send() -> bool:
            now = self._clock.monotonic()
            return not self.stopping and now <= ends <= leased and now < expires

        if not may_send():
            return None
        body = message(card, call, empty_list_at_open=self._settings.empty_list_at_open)
        return await self._wechat.set_chat_tool_msg(card.appid, body, deadline, may_send)

    def _classify(self, look: Look, permit: Permit, answer: Answer | None, seconds: float) -> Look:
        """What the answer says about the card goes into the look, about the app into its permits."""
        if answer is None or answer.verdict is None:
            return look
        self._metrics.called(answer.verdict.value, answer.errcode, seconds)
        if answer.sent and look.call is not None:
            self._metrics.repeated(repeats(look.claimed, look.call))
        if answer.verdict is Verdict.ok:
            self._permits.succeeded(permit)
        elif answer.verdict is Verdict.unknown:
            self._permits.doubted(permit)
        elif answer.verdict in GATE_CLOSING:
            self._permits.close(permit)
        return msgspec.structs.replace(
            look,
            sent=answer.sent,
            verdict=answer.verdict,
            errcode=answer.errcode,
            errmsg=answer.errmsg,
            rid=answer.rid,
            duration=round(seconds * 1_000_000),
        )
