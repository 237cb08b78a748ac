"""What the page's buttons do to activities: they ask livecard's gateway, as anybody's backend does."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import aiohttp
import msgspec

from contracts.times import SECOND, format_rfc3339
from services.simulator.cards import Choose, Declaration
from services.simulator.shell import Shell

PEOPLE: Final = {
    "gp-cindy": "小琳",
    "gp-alex": "阿力",
    "gp-bob": "小波",
    "gp-dora": "朵拉",
    "gp-evan": "伊凡",
    "gp-fay": "菲菲",
}
"""Who is in the chat of a card that the page opens: group_openids and nicknames."""
ROOM: Final = "g-1"
DEADLINE: Final = 10.0
"""Seconds that the gateway has to answer."""
NO_GATEWAY: Final = (
    "this simulator knows no gateway: use the one of `livecard up`, or set LIVECARD_SIMULATOR_GATEWAY to the "
    "gateway's address and LIVECARD_SIMULATOR_KEY_FILE to a file with a key of its API"
)

Answer = tuple[int, dict[str, Any]]


class OpenWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An activity to create and share. `deadline` and `notice` in seconds, from now and before that."""

    appid: str
    title: str
    template: Literal["complete", "participate"] = "complete"
    choose: Choose = "listed"
    publisher: str = "gp-cindy"
    participants: tuple[str, ...] = ()
    deadline: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None
    notice: Annotated[int, msgspec.Meta(ge=0, le=86_400)] | None = None
    close_when_complete: bool = False


class CompleteWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who became done."""

    activity_id: str
    members: tuple[str, ...]


class CloseWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which activity its publisher closes."""

    activity_id: str


class Acting:
    """A mini program's backend and page in one: the gateway is asked, then the card is shared."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._url = ""
        self._key = ""
        self._http: aiohttp.ClientSession | None = None

    def through(self, url: str, key: str) -> None:
        """From now on there is a gateway at this base URL, which knows this key."""
        self._url, self._key = url.rstrip("/"), key
        self._shell.changed()

    def means(self) -> dict[str, Any]:
        """What the page has to know in order to offer it."""
        return {
            "gateway": self._url or None,
            "apps": self._shell.model.apps.names(),
            "people": PEOPLE,
        }

    async def open(self, wish: OpenWish) -> Answer:
        """Create the activity, then put its card into the chat, as the page of a mini program does."""
        body: dict[str, Any] = {
            "appid": wish.appid,
            "title": wish.title,
            "template": wish.template,
            "choose": wish.choose,
            "publisher": wish.publisher,
            "room": {"opengid": ROOM},
        }
        if wish.choose == "listed":
            body |= {"participants": wish.participants, "close_when_complete": wish.close_when_complete}
        if wish.deadline is not None:
            now = self._shell.now() - self._shell.offset
            body["deadline"] = format_rfc3339(now + round(wish.deadline * SECOND))
        if wish.notice is not None:
            body["notice"] = wish.notice
        status, answer = await self._ask("/v1/activities", body)
        if status == 201:
            self._share(wish, answer)
        return status, answer

    def _share(self, wish: OpenWish, created: dict[str, Any]) -> None:
        declaration = Declaration(
            activity_id=created["activity_id"],
            appid=wish.appid,
            template=wish.template,
            title=wish.title,
            publisher=wish.publisher,
            choose=wish.choose,
            participants=wish.participants if wish.choose == "listed" else (),
            members=tuple(PEOPLE),
            expires_at=created["expires_at"],
            names=PEOPLE,
        )
        self._shell.model.declare(self._shell.now(), declaration)
        self._shell.changed()

    async def complete(self, wish: CompleteWish) -> Answer:
        """These members became done."""
        return await self._ask(_path(wish.activity_id, "complete"), {"members": wish.members})

    async def close_activity(self, wish: CloseWish) -> Answer:
        """The publisher ends it."""
        return await self._ask(_path(wish.activity_id, "close"), {})

    async def close(self) -> None:
        """Let the connections go."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _ask(self, path: str, body: dict[str, Any]) -> Answer:
        """The gateway's answer; a refusal as `error`, one sentence, which never has the key in it."""
        if not self._url:
            return 409, {"error": NO_GATEWAY}
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE))
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            async with self._http.post(
                self._url + path, data=msgspec.json.encode(body), headers=headers, allow_redirects=False
            ) as response:
                status, answer = response.status, msgspec.json.decode(await response.read(), type=dict)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
            return 502, {"error": f"the gateway at {self._url} gives no usable answer: see that it runs"}
        return (status, answer) if status < 300 else (status, {"error": _sentence(answer)})


def _path(activity_id: str, verb: str) -> str:
    return f"/v1/activities/{quote(activity_id, safe='')}/{verb}"


def _sentence(problem: dict[str, Any]) -> str:
    """What a problem (RFC 9457) says, and of which field."""
    errors = [f"{each.get('path')}: {each.get('message')}" for each in problem.get("errors") or ()]
    return "; ".join([str(problem.get("detail") or problem.get("title") or "refused"), *errors])
