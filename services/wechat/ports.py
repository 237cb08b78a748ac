"""What a service may ask of WeChat; the simulation hands in the real client on a transport of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from contracts.wechat import SetChatToolMsg, Verdict
from services.runtime.settings import Secret


class Answer(msgspec.Struct, frozen=True):
    """What came of one call.

    `sent`: whether the message itself may have left this process; when it did not, nothing can
    have been applied. `verdict` None: it was not sent because `may_send` said no. `errcode` is None
    where WeChat did not say one.
    """

    verdict: Verdict | None
    sent: bool = False
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""


class Created(msgspec.Struct, frozen=True):
    """A new activity id and when it dies, µs."""

    activity_id: str
    expires_at: int


class LoggedIn(msgspec.Struct, frozen=True):
    """A user by code2Session. `session_key` (16 bytes in base64) never leaves the server."""

    openid: str
    session_key: Secret
    unionid: str | None = None


class WeChatMetrics(Protocol):
    """What the client tells telemetry."""

    def token_fetched(self, outcome: str) -> None:
        """A token was asked for; the verdict."""
        ...

    def token_replaced(self, appid: str) -> None:
        """Somebody else refreshed this app's token."""
        ...

    def quota(self, appid: str, left: int, limit: int) -> None:
        """Calls of setChatToolMsg that an app has left today, and has a day."""
        ...


class NoWeChatMetrics:
    """Tells nobody."""

    def token_fetched(self, outcome: str) -> None:
        """Nothing."""

    def token_replaced(self, appid: str) -> None:
        """Nothing."""

    def quota(self, appid: str, left: int, limit: int) -> None:
        """Nothing."""


class Platform(Protocol):
    """What callers of the API wait for. Whatever the network or WeChat does is an `Answer`."""

    async def create_activity_id(
        self, appid: str, *, openid: str = "", unionid: str = ""
    ) -> Created | Answer:
        """A new id of the app's; `openid` and `unionid` are for private messages only (wechat-api.md §2). It
        may be asked again whatever came of it: an id that nobody uses costs nothing but quota."""
        ...

    async def code2session(self, appid: str, js_code: str) -> LoggedIn | Answer:
        """Who logged in with this code. A code is good for one answer: who loses it logs in anew."""
        ...


class WeChat(Protocol):
    """The calls we make. None raises for anything that the network or WeChat does."""

    async def set_chat_tool_msg(
        self, appid: str, message: SetChatToolMsg, deadline: float, may_send: Callable[[], bool]
    ) -> Answer:
        """Change a card within `deadline` seconds in total, token and one repeat included.

        `may_send` is asked in the same step as each send, after the token is there: a lease that
        has become too short stops the call (design.md §6). The answer's words name none of the message's
        members.
        """
        ...

    async def has_other_token(self, appid: str) -> bool:
        """Whether WeChat gives another token now than the one it refused this process last; False where it
        refused none."""
        ...

    async def quota_left(self, appid: str) -> int | None:
        """How many setChatToolMsg calls the app has left today; None when that is not to be learnt."""
        ...


class Apps(Protocol):
    """Which mini programs are named in the apps file."""

    def names(self, appid: str) -> bool:
        """Whether this one is known."""
        ...

    def appids(self) -> list[str]:
        """All of them, sorted."""
        ...

    def refresh(self) -> set[str]:
        """Read the apps file again if it changed; those newly named or with another secret."""
        ...


class Keepers(Apps, Protocol):
    """And who keeps their secrets."""

    def keeps_secret(self, appid: str) -> bool:
        """Whether it is kept here; a company's token service or the cloud hosting may keep it instead."""
        ...
