"""What `POST /v1/activities` reads and answers: the data of `opened`, and what a page shares with."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from contracts import wire
from contracts.events import LONGEST_ID, OPENED, Opened
from contracts.reading import fields_ignored, plain
from contracts.times import LATEST, format_rfc3339
from contracts.wechat import TEMPLATE_IDS
from services.gateway.bodies import read_event
from services.gateway.outgoing import normal
from services.gateway.problems import Problem, unprocessable

LARGEST: Final = 900_000
"""Bytes of the data of an event: the broker takes a megabyte with everything around it."""
CHOOSE_TYPES: Final = {"listed": 1, "everyone": 2}
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NOT_AN_OBJECT: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NOT_GIVEN: Final = (b"", b"null")


class CreationData(wire.OpenedData, frozen=True, kw_only=True):
    """The data of `livecard.activity.opened`. With both `activity_id` and `expires_at` WeChat is not asked
    for an id; one alone is refused."""

    activity_id: Annotated[wire.Id | None, Meta(description="an id that the caller has already")] = None
    # Of an event it is required, here WeChat may say it; this type is for the API's document alone.
    expires_at: Annotated[wire.Time | None, Meta(description="when that id dies, as WeChat said")] = None  # type: ignore[assignment]  # see above


class TemplateInfo(msgspec.Struct, frozen=True, rename="camel"):
    """Which of WeChat's two texts the card shows."""

    template_id: str


class ShareMenu(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The object for `wx.updateShareMenu` (wechat-api.md §1); `choose_type` 1: the listed, 2: everyone."""

    with_share_ticket: bool = True
    is_updatable_message: bool = True
    use_for_chat_tool: bool = True
    activity_id: str
    choose_type: int
    participant: tuple[str, ...]
    template_info: TemplateInfo


class Created(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer. `ignored`: fields of the request that do not exist."""

    activity_id: str
    expires_at: str
    share_menu: ShareMenu
    ignored: tuple[str, ...] = ()


class Creation(msgspec.Struct, frozen=True):
    """A request that was read. `activity_id` None: WeChat is to be asked for one, and `opened.expires_at`
    means nothing yet. `fields`: the data of the event, as it was written, but for `expires_at`."""

    opened: Opened
    activity_id: str | None
    fields: dict[str, msgspec.Raw]

    def data(self, expires_at: int) -> dict[str, Any]:
        """The data of the event: what was given, as a card that continues another takes over the rest. What
        does not exist stays, without what it says: the change warns of it."""
        written = _with_expiry(self.fields, expires_at)
        whole: dict[str, Any] = msgspec.to_builtins(normal(OPENED, written))
        data = {name: value for name, value in whole.items() if name in self.fields or name == "expires_at"}
        for name in fields_ignored(OPENED, written):
            inside = name not in self.fields and name.startswith("room.")
            (data["room"] if inside else data)[name.removeprefix("room.") if inside else name] = None
        return data

    @property
    def takes_over(self) -> str | None:
        """The card whose listed are this one's (`statemachine.continuing`), if another's are."""
        here = self.opened.choose == "everyone" or self.opened.participants
        return None if here else self.opened.continues

    def share_menu(self, activity_id: str, listed: tuple[str, ...]) -> ShareMenu:
        """What the page shares the card with."""
        return ShareMenu(
            activity_id=activity_id,
            choose_type=CHOOSE_TYPES[self.opened.choose],
            participant=listed if self.opened.choose == "listed" else (),
            template_info=TemplateInfo(TEMPLATE_IDS[self.opened.template]),
        )


def read_creation(body: bytes) -> Creation:
    """By the rules of the topic (`contracts.reading`). Raises `Problem`."""
    try:
        fields = _FIELDS.decode(body)
    except _NOT_AN_OBJECT:
        read_event(OPENED, body)  # which says what is wrong
        raise
    if "room" in fields:
        fields["room"] = _as_events_name_it(fields["room"])
    named, said = fields.pop("activity_id", msgspec.Raw()), fields.pop("expires_at", msgspec.Raw())
    given = [bytes(each) not in _NOT_GIVEN for each in (named, said)]
    if given[0] != given[1]:
        missing = "expires_at" if given[0] else "activity_id"
        raise unprocessable(
            missing, "expected activity_id and expires_at together, or neither: WeChat is asked then"
        )
    opened = read_event(OPENED, _with_expiry(fields, said if given[1] else LATEST))
    assert isinstance(opened, Opened)
    if len(body) > LARGEST:
        raise Problem(
            413, f"an event holds at most {LARGEST} bytes: list fewer participants, and add the others"
        )
    return Creation(opened, _read_id(named) if given[0] else None, fields)


def _as_events_name_it(room: msgspec.Raw) -> msgspec.Raw:
    """A room may be sent as `POST /v1/rooms/bind` answered it: with the kind of the chat."""
    try:
        inside = _FIELDS.decode(room)
    except _NOT_AN_OBJECT:
        return room  # whoever reads it says what is wrong
    inside.pop("chat_type", None)
    return msgspec.Raw(msgspec.json.encode(inside))


def _with_expiry(fields: dict[str, msgspec.Raw], expires_at: int | msgspec.Raw) -> bytes:
    said = format_rfc3339(expires_at) if isinstance(expires_at, int) else expires_at
    return msgspec.json.encode({**fields, "expires_at": said})


def _read_id(named: msgspec.Raw) -> str:
    try:
        activity_id = msgspec.json.decode(named, type=wire.Id)
    except _NOT_AN_OBJECT:
        activity_id = ""
    if not activity_id or not plain(activity_id):
        expected = f"expected a string of 1 to {LONGEST_ID} characters without controls"
        raise unprocessable("activity_id", expected)
    return activity_id
