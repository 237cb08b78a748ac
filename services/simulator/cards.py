"""One card in a chat: what setChatToolMsg may do to it, and what people read (wechat-api.md §1, §2)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final, Literal

import msgspec

from contracts.times import parse_rfc3339
from contracts.wechat import (
    PARTICIPANT_DONE,
    TARGET_ENDED,
    TARGET_NEARING,
    TARGET_OPEN,
    TEMPLATE_IDS,
    VERSION_TYPES,
    Template,
    Version,
)
from services.simulator.behaviour import Behaviour
from services.simulator.requests import RefusedError
from statemachine.subtitles import Viewer, ended_message, member_done_message, subtitle

Choose = Literal["listed", "everyone"]

SOMEBODY: Final = "某人"
"""What the chat calls a publisher nobody named."""


class ListedMember(msgspec.Struct, frozen=True):
    """An entry of `participator_info_list`."""

    group_openid: str = ""
    state: int = 0


class ChatToolMsg(msgspec.Struct, frozen=True, kw_only=True):
    """setChatToolMsg's body as it arrives: everything may be missing."""

    activity_id: str = ""
    target_state: int | None = None
    template_id: str = ""
    version_type: int | None = None
    participator_info_list: tuple[ListedMember, ...] | None = None


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """What the mini program's page said about the card when it shared it (wechat-api.md §1).

    `members` are the group_openids of the room, None meaning that anybody is one; `participants`,
    `publisher` and everyone in `names` belong to it in any case. `expires_at` is in µs or RFC 3339;
    None keeps what createActivityId said, else the usual lifetime from now. `names` are nicknames.
    """

    activity_id: str
    appid: str
    template: Template
    version: Version = "release"
    title: str = ""
    publisher: str | None = None
    choose: Choose = "listed"
    participants: tuple[str, ...] = ()
    members: tuple[str, ...] | None = None
    expires_at: int | str | None = None
    names: dict[str, str] = {}

    def expiry(self) -> int | None:
        """`expires_at` in µs. Raises ValueError for a text that is not RFC 3339."""
        return parse_rfc3339(self.expires_at) if isinstance(self.expires_at, str) else self.expires_at


class Said(msgspec.Struct, frozen=True):
    """A system message in the chat; `at` in µs."""

    at: int
    text: str


class Applied(msgspec.Struct, frozen=True):
    """One call that changed, or repeated, what the card shows; `at` in µs."""

    at: int
    target_state: int
    members: tuple[str, ...]


class ChatCard(msgspec.Struct, dict=True):
    """A card that was shared: its state, who is done, and all that happened to it.

    `shared`: a page declared it; otherwise it is known from livecard's own store, or from its first call.
    `at`: when it came into the chat, µs.
    """

    declaration: Declaration
    expires_at: int
    shared: bool = True
    at: int = 0
    target_state: int = TARGET_OPEN
    posts: dict[str, int] = {}
    chat: list[Said] = []
    history: list[Applied] = []
    repeated_posts: int = 0
    lowered: int = 0
    reopened: int = 0

    def __post_init__(self) -> None:
        self._room = _room(self.declaration)

    def declare(self, declaration: Declaration, expires_at: int, *, shared: bool = True) -> None:
        """Share the card, again perhaps: what it shows stays."""
        self.declaration, self.expires_at, self.shared = declaration, expires_at, shared
        self._room = _room(declaration)

    def check(self, now: int, message: ChatToolMsg, behaviour: Behaviour) -> None:
        """Raises `RefusedError` for a message that changes nothing: 47504, 47502, 47503, 40097."""
        if now >= self.expires_at:
            raise RefusedError(47504)
        if message.target_state not in {TARGET_OPEN, TARGET_NEARING, TARGET_ENDED}:
            raise RefusedError(47502)
        if message.template_id != TEMPLATE_IDS[self.declaration.template]:
            raise RefusedError(40097, "template_id")
        if message.version_type != VERSION_TYPES[self.declaration.version]:
            raise RefusedError(47503)
        self._check_list(message, behaviour)
        lowers = message.target_state < self.target_state
        allowed = behaviour.lower_after_end if self.target_state == TARGET_ENDED else behaviour.lower_to_open
        if lowers and not allowed:
            raise RefusedError(47502)

    def _check_list(self, message: ChatToolMsg, behaviour: Behaviour) -> None:
        listed = message.participator_info_list
        if message.target_state == TARGET_OPEN and (
            listed is None or (not listed and not behaviour.empty_list_at_open)
        ):
            raise RefusedError(40097, "participator_info_list is required")
        if listed is None:
            return
        if len(listed) > behaviour.longest_list:
            raise RefusedError(40097, "participator_info_list is too long")
        for member in listed:
            if member.state != PARTICIPANT_DONE:
                raise RefusedError(40097, "state")
            if not member.group_openid or (self._room is not None and member.group_openid not in self._room):
                raise RefusedError(40097, "group_openid")

    def show(self, now: int, message: ChatToolMsg, behaviour: Behaviour) -> Applied:
        """Bring the card to a checked message's state, and count what ought not to have happened."""
        assert message.target_state is not None
        before, self.target_state = self.target_state, message.target_state
        if before == TARGET_ENDED and self.target_state < before:
            self.lowered += 1
        elif self.target_state < before:
            self.reopened += 1
        members = tuple(member.group_openid for member in message.participator_info_list or ())
        for member in members:
            self._become_done(now, member, behaviour)
        if before != TARGET_ENDED and self.target_state == TARGET_ENDED and behaviour.ended_message:
            self._say(now, ended_message(self._publisher(), self.declaration.title))
        applied = Applied(now, self.target_state, members)
        self.history.append(applied)
        return applied

    def _become_done(self, now: int, member: str, behaviour: Behaviour) -> None:
        posts = self.posts.get(member, 0)
        self.posts[member] = posts + 1
        if posts:
            self.repeated_posts += 1
        if not posts or behaviour.repeated_message:
            of = self.declaration
            self._say(now, member_done_message(self._name(member), self._publisher(), of.title, of.template))

    def _say(self, now: int, text: str) -> None:
        self.chat.append(Said(now, text))

    def _name(self, member: str) -> str:
        return self.declaration.names.get(member, member)

    def _publisher(self) -> str:
        return SOMEBODY if self.declaration.publisher is None else self._name(self.declaration.publisher)

    def known(self) -> dict[str, None]:
        """Participants: the declared ones, for `everyone` the room, and whoever became done."""
        declared = self.declaration
        room = declared.members or () if declared.choose == "everyone" else ()
        return dict.fromkeys(chain(room, declared.participants, self.posts))

    def viewers(self, known: Iterable[str] | None = None) -> dict[str, Any]:
        """What the publisher, each participant (of these, if any are given), and the others in the room
        read."""
        declared = self.declaration
        rest = Viewer.participant if declared.choose == "everyone" else Viewer.bystander
        return {
            "publisher": self._subtitle(Viewer.publisher),
            "participants": {
                member: self._subtitle(Viewer.participant, done=member in self.posts)
                for member in (self.known() if known is None else known)
            },
            "others": self._subtitle(rest),
        }

    def _subtitle(self, viewer: Viewer, *, done: bool = False) -> str:
        template, count = self.declaration.template, len(self.posts)
        return subtitle(viewer, self.target_state, template, done=done, done_count=count)

    def facts(self) -> dict[str, Any]:
        """The counts of this card, as the ledger lists them."""
        return {
            "target_state": self.target_state,
            "done": len(self.posts),
            "applied": len(self.history),
            "repeated_posts": self.repeated_posts,
            "lowered": self.lowered,
            "reopened": self.reopened,
        }

    def view(self, now: int) -> dict[str, Any]:
        """The whole card as `/control/activities/{id}` shows it."""
        return self.frame(now) | {
            "names": self.declaration.names,
            "done": list(self.posts),
            "viewers": self.viewers(),
            "chat": self.chat,
            "history": self.history,
            "posts": self.posts,
        }

    def frame(self, now: int) -> dict[str, Any]:
        """What is of one size, however many take part."""
        declared = self.declaration
        return {
            "activity_id": declared.activity_id,
            "appid": declared.appid,
            "template": declared.template,
            "version": declared.version,
            "title": declared.title,
            "publisher": declared.publisher,
            "choose": declared.choose,
            "at": self.at,
            "expires_at": self.expires_at,
            "expired": now >= self.expires_at,
            "target_state": self.target_state,
            "violations": {"repeated_posts": self.repeated_posts, "lowered": self.lowered},
            "reopened": self.reopened,
        }


def _room(declaration: Declaration) -> frozenset[str] | None:
    """Everybody in the chat; None: anybody is."""
    if declaration.members is None:
        return None
    publisher = () if declaration.publisher is None else (declaration.publisher,)
    known = (*declaration.members, *declaration.participants, *declaration.names, *publisher)
    return frozenset(known)
