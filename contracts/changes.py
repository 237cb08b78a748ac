"""What livecard publishes: CloudEvents in structured mode on `activity.changes` (design.md §4)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from contracts.times import format_rfc3339, parse_rfc3339

SOURCE: Final = "/livecard"
DATA_CONTENT_TYPE: Final = "application/json"
CONTENT_TYPE: Final = "application/cloudevents+json"

ACTIVITY_CHANGED: Final = "livecard.activity.changed"
PARTICIPANT_DONE: Final = "livecard.participant.done"
CARD_DELIVERED: Final = "livecard.card.delivered"
CARD_FAILED: Final = "livecard.card.failed"
EVENT_REFUSED: Final = "livecard.event.refused"
CARD_EXPIRING: Final = "livecard.card.expiring"

State = Literal["open", "nearing", "ended"]
EndReason = Literal["deadline", "closed", "complete", "continued", "expired"]
ChangeReason = Literal[
    "opened", "notice", "rescheduled", "deadline", "closed", "complete", "continued", "expired"
]
FailedVerdict = Literal[
    "rejected", "not_lowered", "unknown_activity", "expired", "ended", "misconfigured", "unknown_code"
]
RefusedReason = Literal[
    "not_listed", "ended", "already_open", "expired", "superseded", "no_room", "unknown_predecessor"
]


class ActivityChanged(msgspec.Struct, frozen=True, kw_only=True):
    """`previous` is null at opening; `participants` (a count, like `done`) is null for everyone.

    `warnings`: `deadline_after_expiry`, `close_when_complete_ignored`, `participants_ignored`, and
    `unknown_field:NAME` for the first ten fields of the event that do not exist.
    """

    state: State
    previous: State | None
    reason: ChangeReason
    revision: int
    done: int
    participants: int | None
    warnings: tuple[str, ...] = ()


class ParticipantDone(msgspec.Struct, frozen=True):
    """`members` are done from now on, in time or late."""

    members: tuple[str, ...]


class CardDelivered(msgspec.Struct, frozen=True, kw_only=True):
    """`members` are those this revision delivered; `calls` is how many calls it took, maybe none.

    More than 500 members come in several changes of the same revision; the first one counts the calls. Whom
    a late answer confirmed comes in one more of the last revision.
    """

    revision: int
    target_state: int
    members: tuple[str, ...]
    calls: int


class CardFailed(msgspec.Struct, frozen=True, kw_only=True):
    """`members` is left out when nobody in particular is concerned; `rid` is for WeChat's support.

    More than 500 members come in several changes.
    """

    revision: int
    verdict: FailedVerdict
    errcode: int | None
    errmsg: str | None
    rid: str | None
    members: tuple[str, ...] | UnsetType = UNSET


class EventRef(msgspec.Struct, frozen=True):
    source: str
    id: str
    type: str


class EventRefused(msgspec.Struct, frozen=True, kw_only=True):
    """`members` lists whom the refusal concerns, and is left out when it concerns the whole event."""

    event: EventRef
    reason: RefusedReason
    members: tuple[str, ...] | UnsetType = UNSET


class CardExpiring(msgspec.Struct, frozen=True):
    """The activity is open, and its `activity_id` dies at `expires_at` (RFC 3339, UTC): told once, a notice
    before. Whoever wants it to go on opens another one that `continues` it."""

    expires_at: str


ChangeData = ActivityChanged | ParticipantDone | CardDelivered | CardFailed | EventRefused | CardExpiring

CHANGE_TYPES: Final[dict[type[ChangeData], str]] = {
    ActivityChanged: ACTIVITY_CHANGED,
    ParticipantDone: PARTICIPANT_DONE,
    CardDelivered: CARD_DELIVERED,
    CardFailed: CARD_FAILED,
    EventRefused: EVENT_REFUSED,
    CardExpiring: CARD_EXPIRING,
}


class Change(msgspec.Struct, frozen=True):
    """A decoded change; `time` in µs."""

    id: str
    activity_id: str
    time: int
    data: ChangeData


class ChangeEnvelope(msgspec.Struct, frozen=True):
    """The CloudEvent as it is written."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    data: ChangeData | msgspec.Raw


_ENCODER = msgspec.json.Encoder()
_DECODERS = {name: msgspec.json.Decoder(kind) for kind, name in CHANGE_TYPES.items()}


class _Read(msgspec.Struct, frozen=True):
    id: str
    type: str
    subject: str
    time: str
    data: msgspec.Raw


_READ = msgspec.json.Decoder(_Read)


def encode_change(id: str, activity_id: str, time: int, data: ChangeData) -> bytes:  # noqa: A002 (CloudEvents' own name)
    """The value of a record of `activity.changes`; its key is the `activity_id`. `time` in µs."""
    return _ENCODER.encode(
        ChangeEnvelope(
            "1.0",
            id,
            SOURCE,
            CHANGE_TYPES[type(data)],
            activity_id,
            format_rfc3339(time),
            DATA_CONTENT_TYPE,
            data,
        )
    )


def decode_change(value: bytes) -> Change:
    """The inverse of `encode_change`; raises ValueError (msgspec's) for anything else."""
    read = _READ.decode(value)
    decoder = _DECODERS.get(read.type)
    if decoder is None:
        raise ValueError(f"not a change of ours: {read.type!r:.100}")
    return Change(read.id, read.subject, parse_rfc3339(read.time), decoder.decode(read.data))
