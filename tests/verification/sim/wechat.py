"""WeChat without a socket: the pure model behind a transport that lies, stalls and applies late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH, SetChatToolMsg
from services.simulator.requests import Request
from services.wechat.client import WeChatClient
from services.wechat.ports import Answer
from services.wechat.transport import Exchange
from tests.verification.sim.bus import settle
from tests.verification.sim.weather import REFUSALS

if TYPE_CHECKING:
    from tests.verification.sim.actors import Actor
    from tests.verification.sim.judges import Sent

ENDS: ContextVar[float] = ContextVar("ends")
"""When the deadline of the call that this task makes is over, in the loop's seconds."""
LATEST: Final = 25.0
"""Seconds after the send at which WeChat may still apply a call: less than `repair_after`."""
ONLY_MESSAGES: Final = {"late": "cut", "stopped_in_send": "", "odd_code": "busy"}
"""What strikes another call instead of these."""


class Watched:
    """The real client, and when each of its calls must be over."""

    def __init__(self, client: WeChatClient) -> None:
        self._client = client

    async def set_chat_tool_msg(
        self, appid: str, message: SetChatToolMsg, deadline: float, may_send: Callable[[], bool]
    ) -> Answer:
        ENDS.set(asyncio.get_running_loop().time() + deadline)
        return await self._client.set_chat_tool_msg(appid, message, deadline, may_send)

    async def has_other_token(self, appid: str) -> bool:
        return await self._client.has_other_token(appid)

    async def quota_left(self, appid: str) -> int | None:
        return await self._client.quota_left(appid)


class SimTransport:
    """The connections of one process. What was sent arrives whatever becomes of the process."""

    def __init__(self, actor: Actor) -> None:
        self.actor, self.world = actor, actor.world

    async def exchange(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None
    ) -> Exchange:
        world = self.world
        call = Request(method, path, query, body or b"")
        message = call.path == SET_CHAT_TOOL_MSG_PATH
        sent = world.judges.sent(self.actor, call, ENDS.get()) if message else None
        fate = world.fate("wechat", () if message else ONLY_MESSAGES)
        fate = fate if message else ONLY_MESSAGES.get(fate, fate)
        if world.telling:
            world.tell(self.actor.name, "calls", call.path.rsplit("/", 1)[-1], sent and sent.what, fate)
        answered: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
        if fate == "refused":
            await asyncio.sleep(world.latency())
            return Exchange(unsent=True, why="refused")
        self._under_way(call, sent, fate, answered)
        return await answered

    async def close(self) -> None:
        """There is nothing to close."""

    def _under_way(
        self, call: Request, sent: Sent | None, fate: str, answered: asyncio.Future[Exchange]
    ) -> None:
        """The request is on the wire."""
        world, delay = self.world, self.world.latency()
        if fate == "stopped_in_send":
            stopped = world.hosts.stop_for_long(self.actor)
            delay += stopped
        elif fate == "late":
            world.loop.later(delay, settle, answered, Exchange(why="cut"))
            delay = 0.5 + world.tape.share() * (LATEST - 0.5)
        elif fate in ("hang", "cut", "http_429", "http_500", "busy"):
            world.loop.later(delay, self._not_applied, call, fate, answered)
            return
        world.loop.later(delay, self._arrive, call, sent, fate, answered)

    def _not_applied(self, call: Request, fate: str, answered: asyncio.Future[Exchange]) -> None:
        if fate == "busy":
            settle(answered, Exchange(200, self.world.model.refuse(self.world.wall(), call, -1)))
        elif fate == "cut":
            settle(answered, Exchange(why="cut"))
        elif fate != "hang":
            settle(answered, Exchange(int(fate.removeprefix("http_")), b"<html>"))

    def _arrive(
        self, call: Request, sent: Sent | None, fate: str, answered: asyncio.Future[Exchange]
    ) -> None:
        """WeChat has it: it is applied, or refused, as a whole."""
        world = self.world
        refusing = world.refusing if sent or world.refusing == "ip_refused" else ""
        if refusing:
            world.hit(refusing, world.loop.steps)
            body = world.model.refuse(world.wall(), call, REFUSALS[refusing])
        elif fate == "odd_code":
            body = world.model.refuse(world.wall(), call, REFUSALS["odd_codes"])
        else:
            card = world.model.cards.get(sent.activity_id) if sent else None
            before = len(card.history) if card else 0
            body = world.model.handle(world.wall(), call)
            if sent and card and len(card.history) > before:
                world.judges.applied(sent)
            elif sent:
                self._refused(sent, body)
        world.tell("wechat", "has", sent and sent.what, body[:30] if sent else "", fate)
        delay = world.latency() if fate != "slow" else 2.0 + world.tape.share() * 10.0
        if fate in ("hang_applied", "late"):
            return
        answer = Exchange(200, body)
        if fate == "cut_applied":
            answer = Exchange(why="cut")
        elif fate == "http_500_applied":
            answer = Exchange(502, b"bad gateway")
        elif fate == "garbage":
            answer = Exchange(200, b"<html>welcome</html>")
        world.loop.later(delay, settle, answered, answer)

    def _refused(self, sent: Sent, body: bytes) -> None:
        """What WeChat refuses by itself: a list with a stranger, a state that it does not lower."""
        if b"group_openid" in body:
            self.world.hit("bad_member")
        elif b'"errcode":47502' in body:
            self.world.hit("lowering_refused")
