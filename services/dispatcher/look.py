"""One look at a claimed card, as far as it is pure: the plan, the message, what an answer tells."""

from __future__ import annotations

from typing import Final, cast

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
from services.store.rows import Card
from services.transactions.claim import CardRules, Claimed
from statemachine.plan import GONE, Call, Delivered, Desired, Limits, Plan, plan, repair

GATE_CLOSING: Final = frozenset(
    {Verdict.minute_limit, Verdict.daily_limit, Verdict.misconfigured, Verdict.blocked}
)
"""Verdicts that speak about the app, not about the card (wechat-api.md §4)."""


def plan_look(claimed: Claimed, rules: CardRules) -> Plan:
    """The calls that bring this card up to date, or repeat its state after a doubt.

    A list that is being bisected narrows what one call may carry.
    """
    card = claimed.card
    desired = Desired(
        card.state,
        tuple(each.group_openid for each in claimed.owed),
        hold=card.failing_since != GONE,
        expired=claimed.now >= card.expires_at,
    )
    delivered = Delivered(card.shown, card.cannot_lower, card.reached)
    if claimed.repair:
        return repair(desired, delivered)
    longest = min(card.list_limit or rules.members_per_call, rules.members_per_call)
    return plan(desired, delivered, Limits(longest))


def message(card: Card, call: Call, *, empty_list_at_open: bool) -> SetChatToolMsg:
    """The body of the call. The list is left out at 2 and 3 when there is nobody to name; at 1,
    where WeChat requires it, an empty one is sent if the setting says so (wechat-api.md §2)."""
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


def repeats(claimed: Claimed, call: Call) -> int:
    """How many members of this call were in one before whose outcome is unknown."""
    doubtful = {each.group_openid for each in claimed.owed if each.doubtful}
    return sum(each in doubtful for each in call.members)
