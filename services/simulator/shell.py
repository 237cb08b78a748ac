"""The model's HTTP server: it reads a call, and a fault strikes it or the model answers it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog
from aiohttp import web

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH
from services.runtime.ports import SELDOM, Chance, Clock
from services.simulator.cards import Declaration
from services.simulator.faults import Action, Faults, Rule, read_rules
from services.simulator.memory import Memory
from services.simulator.model import WeChatModel
from services.simulator.requests import Request

LOG = structlog.get_logger("livecard.simulator")

Source = Callable[[str | None], Awaitable[Sequence[Declaration]]]
"""What livecard's own store says of the cards opened last, oldest first, or of one by its activity_id; each
with its `expires_at` in µs. It raises nothing."""

JSON: Final = {"Content-Type": "application/json; charset=utf-8"}
_MEGABYTES: Final = 8


class Shell:
    """One running stand-in. `reseed` makes a chance from a seed that a set of fault rules names.

    `memory`, once set, keeps what cards show; `source` is asked for cards that no page has shared here.
    """

    def __init__(
        self,
        model: WeChatModel,
        faults: Faults,
        clock: Clock,
        reseed: Callable[[int], Chance],
        faults_file: Path | None = None,
    ) -> None:
        self.model = model
        self.source: Source | None = None
        self.memory: Memory | None = None
        self.faults = faults
        self.offset = 0
        self.file_error: str | None = None
        self._clock = clock
        self._reseed = reseed
        self._file = faults_file
        self._file_stamp: tuple[int, int, int] | None = None
        self._file_rules: list[str] = []
        self._released = asyncio.Event()
        self._late: set[asyncio.TimerHandle] = set()
        self._in_hand: dict[str, list[asyncio.Transport]] = {}
        self._watchers: set[asyncio.Event] = set()

    def now(self) -> int:
        """µs since the epoch, with the offset that `/control/time` moved."""
        return self._clock.wall() + self.offset

    @property
    def pending_late(self) -> int:
        """Calls that were cut or delayed and will still be applied."""
        return len(self._late)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Every call to WeChat comes through here."""
        body = await request.read()
        call = Request(request.method, request.path, request.query, body, request.remote or "")
        self.read_faults_file()
        about = self.model.identify(call) if self.source or self.faults else (None, None)
        if call.path == SET_CHAT_TOOL_MSG_PATH and about[1] is not None and about[1] not in self.model.cards:
            await self.learn(about[1])
        if not self.faults:
            return self._answered(call)
        appid, activity_id = about
        latency, action = self.faults.choose(call.path, appid, activity_id)
        transport = request.transport
        if activity_id is None or not isinstance(transport, asyncio.Transport):
            return await self._struck(request, call, latency, action)
        with self._holding(activity_id, transport):
            return await self._struck(request, call, latency, action)

    def apply(self, call: Request) -> bytes:
        """Let the model answer now, and wake who waits for a change."""
        body = self.model.handle(self.now(), call)
        self.changed()
        return body

    def changed(self) -> None:
        """Keep what changed in the model, and wake who waits for a change."""
        if self.memory is not None and self.model.changed:
            self._remember(lambda memory: memory.keep(self.model))
        for watcher in self._watchers:
            watcher.set()

    async def learn(self, activity_id: str | None = None) -> None:
        """Ask the source, if there is one, about this card or those opened last."""
        if self.source is None:
            return
        for declaration in await self.source(activity_id):
            self.model.learn(self.now(), declaration)
        self.changed()

    def reset(self) -> None:
        """Forget everything but the apps and the behaviour: cards, tokens, faults, the time offset."""
        self.release()
        self.faults.remove()
        self.offset = 0
        self._remember(Memory.forget)
        self.model.reset()
        self.changed()

    def _remember(self, write: Callable[[Memory], None]) -> None:
        """Write to the file, if there is one; who cannot says so and goes on."""
        if self.memory is not None:
            try:
                write(self.memory)
            except sqlite3.Error as error:
                LOG.warning("the simulator will not remember what happens", error=str(error), every=SELDOM)

    async def until(self, true: Callable[[WeChatModel], bool], deadline: float) -> None:
        """Wait until a condition on the model holds. Raises TimeoutError after `deadline` seconds."""
        with self.watching() as watcher:
            async with asyncio.timeout(deadline):
                while not true(self.model):
                    await watcher.wait()
                    watcher.clear()

    @contextmanager
    def watching(self) -> Iterator[asyncio.Event]:
        """An event that each change sets; who waits for it clears it."""
        watcher = asyncio.Event()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def put_faults(self, text: bytes) -> list[str]:
        """Put rules in force (`read_rules` has their form); returns their ids."""
        rules = read_rules(text)
        if rules.seed is not None:
            self.faults.reseed(self._reseed(rules.seed))
        return self.faults.add(rules.rules)

    def read_faults_file(self) -> None:
        """Take the file's rules in place of its former ones when it changed.

        A file that cannot be read leaves the former rules in force, and `file_error` says why.
        """
        if self._file is None:
            return
        try:
            found = self._file.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            stamp = None
        if stamp == self._file_stamp:
            return
        self._file_stamp = stamp
        try:
            text = b"[]" if stamp is None else self._file.read_bytes()
            rules = read_rules(text)
        except (OSError, msgspec.DecodeError) as error:
            self.file_error = str(error)
            return
        self.file_error = None
        self._replace_file_rules(rules.rules)
        if rules.seed is not None:
            self.faults.reseed(self._reseed(rules.seed))

    def _replace_file_rules(self, rules: list[Rule]) -> None:
        for name in self._file_rules:
            self.faults.remove(name)
        self._file_rules = self.faults.add(rules, prefix="file")

    def release(self) -> None:
        """Let go of everybody who hangs, and drop the calls that were to be applied later."""
        self._released.set()
        self._released = asyncio.Event()
        for handle in self._late:
            handle.cancel()
        self._late.clear()

    def _answered(self, call: Request) -> web.Response:
        return web.Response(body=self.apply(call), headers=JSON)

    @contextmanager
    def _holding(self, activity_id: str, transport: asyncio.Transport) -> Iterator[None]:
        """A call about this activity is in hand; another one that waits for its answer is an overlap."""
        held = self._in_hand.setdefault(activity_id, [])
        if any(not other.is_closing() for other in held):
            self.model.counts.overlaps += 1
        held.append(transport)
        try:
            yield
        finally:
            held.remove(transport)
            if not held:
                del self._in_hand[activity_id]

    async def _struck(
        self, request: web.Request, call: Request, latency: float, action: Action | None
    ) -> web.StreamResponse:
        if latency:
            self.model.counts.faults["latency"] += 1
            await self._pause(latency)
        if action is None:
            return self._answered(call)
        self.model.counts.faults[action.kind] += 1
        if action.applied or action.apply_then_hang is not None or action.apply_then_cut:
            self.apply(call)
        if action.errcode is not None:
            body = self.model.refuse(self.now(), call, action.errcode, action.errmsg)
            return web.Response(body=body, headers=JSON)
        if action.http is not None:
            return web.Response(status=action.http, text=action.body)
        if action.garbage is not None:
            return await _garbage(request, action.garbage)
        late = action.cut_then_apply if action.delay is None else action.delay
        if late is not None:
            self._apply_late(late, call)
        silent = action.hang or action.apply_then_hang or action.delay
        if silent:
            await self._pause(silent)
        return _cut(request)

    def _apply_late(self, seconds: float, call: Request) -> None:
        def due() -> None:
            self._late.discard(handle)
            self.model.counts.applied_late += 1
            self.apply(call)

        handle = asyncio.get_running_loop().call_later(seconds, due)
        self._late.add(handle)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._released.wait()
        except TimeoutError:
            return


def _cut(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _garbage(request: web.Request, kind: str) -> web.StreamResponse:
    if kind == "half":
        whole = b'{"errcode":0,"errmsg":"ok"}'
        response = web.StreamResponse(headers={**JSON, "Content-Length": str(len(whole))})
        await response.prepare(request)
        await response.write(whole[: len(whole) // 2])
        if request.transport is not None:
            request.transport.close()  # unlike abort, sends what was written
        return response
    if kind == "redirect":
        return web.Response(status=302, headers={"Location": "/"})
    if kind == "html":
        return web.Response(
            text="<html><body><h1>502 Bad Gateway</h1></body></html>", content_type="text/html"
        )
    if kind == "wrong_type":
        return web.Response(body=b'{"errcode":"zero","errmsg":[7]}', content_type="image/png")
    return web.Response(body=b"x" * (_MEGABYTES << 20) if kind == "megabytes" else b"", headers=JSON)
