"""What the API answers about activities, cards and gates (design.md §8), made of what the store keeps.

Times are RFC 3339 in UTC, durations seconds. `until` and `closed_until` are null where only a person ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from services.gateway.reminders import Notify
from services.gateway.times import moment, moment_or_none
from services.store.operators import Action
from services.store.pages import ListedMember
from services.store.rows import CONFIRMED, OWED, SKIPPED, Attempt, Seen
from services.transactions.views import ActivityView, CardView, Reads
from statemachine.card import Phase, Status
from statemachine.gate import NEVER, Gate, as_believed
from statemachine.states import DONE

OPENING: Final = "opening"
"""The state between the answer to a creation and the transaction of its opening event."""
State = Literal["opening", "open", "nearing", "ended"]
Fate = Literal["owed", "confirmed", "skipped"]
_FATES: Final[dict[int, Fate]] = {OWED: "owed", CONFIRMED: "confirmed", SKIPPED: "skipped"}


class DeliveryBody(msgspec.Struct, frozen=True):
    """Where a card's delivery stands; `shown` is the target state that WeChat confirmed last, `revision` the
    last that is settled."""

    phase: Phase
    why: str | None
    until: str | None
    shown: int
    revision: int


class AttemptBody(msgspec.Struct, frozen=True):
    """One call to WeChat; `duration` in seconds."""

    at: str
    duration: float
    revision: int
    target_state: int
    members: int
    outcome: str
    errcode: int | None
    errmsg: str
    rid: str


class ActivityBody(msgspec.Struct, frozen=True):
    """One activity. `participants`: null for everyone. While it is `opening`, `delivery` and `reads` are null
    and the rest is as far as it is known."""

    activity_id: str
    appid: str
    title: str
    state: State
    reason: str | None
    deadline: str | None
    expires_at: str | None
    participants: int | None
    done: int
    revision: int
    delivery: DeliveryBody | None
    attempts: list[AttemptBody]
    reads: Reads | None


class MemberBody(msgspec.Struct, frozen=True):
    """A member; `delivered` is null for one who is pending or late."""

    group_openid: str
    state: Literal["pending", "done"]
    late: bool
    done_at: str | None
    delivered: Fate | None


class MembersBody(msgspec.Struct, frozen=True):
    """Some members, by group_openid; `next` is the cursor of those that follow."""

    members: list[MemberBody]
    next: str | None


class MissingBody(msgspec.Struct, frozen=True):
    """Some who are not done; `notify` is what `wx.notifyGroupMembers` takes, for these."""

    members: Sequence[str]
    next: str | None
    notify: Notify | UnsetType = UNSET


class CardBody(msgspec.Struct, frozen=True):
    """A card that is not in sync."""

    activity_id: str
    appid: str
    phase: Phase
    why: str | None
    until: str | None
    since: str


class CardsBody(msgspec.Struct, frozen=True):
    """Some cards that are not in sync, oldest first."""

    cards: list[CardBody]
    next: str | None


class GateBody(msgspec.Struct, frozen=True):
    """An app's gate. `reason` null: it is open; `closed_until` null: it is not closed, or until the apps file
    names its app (`unknown_app`). `why`: what WeChat said, or the `operator` who closed it."""

    appid: str
    reason: str | None
    closed_until: str | None
    errcode: int | None
    why: str | None


class GatesBody(msgspec.Struct, frozen=True):
    """The gates of the key's apps, by appid."""

    gates: list[GateBody]


class ActionBody(msgspec.Struct, frozen=True):
    """What an operator did. `about`: the activity, if it was one; `said`: what came of it."""

    at: str
    who: str
    what: str
    appid: str
    about: str | None
    why: str | None
    said: str | None


class ActionsBody(msgspec.Struct, frozen=True):
    """What operators did last, newest first."""

    actions: list[ActionBody]


class RedeliveredBody(msgspec.Struct, frozen=True):
    """Who is owed again, and whether a card that was given up is tried again."""

    members: Sequence[str]
    revived: bool


def activity_body(view: ActivityView) -> ActivityBody:
    """The answer about one activity."""
    seen, activity = view.seen, view.seen.activity
    return ActivityBody(
        activity_id=activity.activity_id,
        appid=seen.card.appid,
        title=seen.title,
        state=activity.state or OPENING,  # type: ignore[arg-type]  # the machine has no other states
        reason=activity.reason or None,
        deadline=moment_or_none(activity.deadline),
        expires_at=moment_or_none(activity.expires_at or None),
        participants=activity.participants if activity.state and activity.choose == "listed" else None,
        done=activity.done,
        revision=activity.revision,
        delivery=None if view.delivery is None else _delivery(seen, view.delivery),
        attempts=[_attempt(each) for each in seen.attempts],
        reads=view.reads,
    )


def _delivery(seen: Seen, status: Status) -> DeliveryBody:
    card = seen.card
    return DeliveryBody(status.phase, status.why or None, _until(status.until), card.shown, card.settled)


def _attempt(each: Attempt) -> AttemptBody:
    return AttemptBody(
        at=moment(each.at),
        duration=each.duration / 1_000_000,
        revision=each.revision,
        target_state=each.target_state,
        members=each.members,
        outcome=each.outcome,
        errcode=each.errcode,
        errmsg=each.errmsg,
        rid=each.rid,
    )


def _until(us: int | None) -> str | None:
    return None if us is None or us >= NEVER else moment(us)


def member_body(each: ListedMember) -> MemberBody:
    """One member."""
    group_openid, state, late, done_at, delivered = each
    fate = _FATES[delivered] if state == DONE and not late else None
    done = None if done_at is None else moment(done_at)
    return MemberBody(group_openid, state, late, done, fate)  # type: ignore[arg-type]  # two states there are


def card_body(view: CardView) -> CardBody:
    """One card that is not in sync."""
    status = view.delivery
    return CardBody(
        view.activity_id,
        view.appid,
        status.phase,
        status.why or None,
        _until(status.until),
        moment(view.since),
    )


def action_body(each: Action) -> ActionBody:
    """One action."""
    about, why, said = (text or None for text in (each.about, each.why, each.said))
    return ActionBody(moment(each.at), each.who, each.what, each.appid, about, why, said)


def gate_body(gate: Gate, now: int, longest: int) -> GateBody:
    """One gate; `longest` is `DeliveryRules.longest_closing`."""
    until = as_believed(gate, now, longest).closed_until
    return GateBody(
        gate.appid,
        gate.reason or None,
        _until(until) if until > now else None,
        gate.errcode or None,
        gate.errmsg or None,
    )
