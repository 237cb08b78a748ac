"""What the page shows, as server-sent events: all of it once, then what changes.

An event says how something is now, not what happened to it, so whoever comes back with the id of the last
event that it saw (`Last-Event-ID`) is sent what changed since, and nothing has to be kept for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain, islice
from typing import Any, Final

import msgspec
from aiohttp import web

from services.simulator.cards import ChatCard
from services.simulator.shell import Shell

SHOWN: Final = 60
"""Cards of a snapshot: those that came last."""
MESSAGES: Final = 30
CALLS: Final = 20
"""What the chat said and which calls were applied, of each card: the last of them."""
PEOPLE: Final = 500
"""Participants of each card who are told: the first of them."""
EVERY: Final = 1.0
"""Seconds between two questions to livecard's store about new cards, while somebody watches."""
BREATH: Final = 0.05
"""Seconds between two events of a stream at least: what changes meanwhile is told once."""
QUIET: Final = 15
"""Questions without news after which a line tells that the stream lives."""

HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class Stream:
    """All streams of one simulator; `means` tells what the page's buttons can do."""

    def __init__(self, shell: Shell, means: Callable[[], dict[str, Any]]) -> None:
        self._shell = shell
        self._means = means
        self._born = shell.now()
        self._asked = 0.0
        self.open = True

    def close(self) -> None:
        """End every stream."""
        self.open = False
        self._shell.changed()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One stream, until one of the two leaves."""
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n")
        follower = _Follower(self._shell, self._born, self._means)
        seen = follower.seen(request.headers.get("Last-Event-ID", ""))
        with self._shell.watching() as watcher:
            try:
                quiet = 0
                while self.open:
                    watcher.clear()
                    await self._learn()
                    news, seen = follower.news(seen)
                    quiet = 0 if news else quiet + 1
                    if news or quiet % QUIET == 0:
                        await response.write(news or b": still here\n\n")
                    await _until(watcher, EVERY)
                    await asyncio.sleep(BREATH)
            except ConnectionError:
                pass  # whoever watched has left
        return response

    async def _learn(self) -> None:
        """Ask for new cards, once for all who watch."""
        now = asyncio.get_running_loop().time()
        if now >= self._asked + EVERY:
            self._asked = now
            await self._shell.learn()


async def _until(watcher: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await watcher.wait()
    except TimeoutError:
        return


class _Follower:
    """What one stream has sent."""

    def __init__(self, shell: Shell, born: int, means: Callable[[], dict[str, Any]]) -> None:
        self._shell, self._model, self._born, self._means = shell, shell.model, born, means
        self._sent: dict[str, Any] = {}
        self._era = self._model.era

    def _prefix(self) -> str:
        return f"{self._born}.{self._era}."

    def seen(self, last: str) -> int | None:
        """The version that an id stands for; None: of another run, or of before a reset, or none at all."""
        version = last.removeprefix(self._prefix())
        return int(version) if version != last and version.isdecimal() else None

    def news(self, seen: int | None) -> tuple[bytes, int]:
        """What to send after version `seen`, and the version that it brings whoever reads it to."""
        model = self._model
        if model.era != self._era:
            self._era, seen = model.era, None
        changed = [name for name, version in model.versions.items() if seen is None or version > seen]
        changed = [name for name in changed if name in model.cards]
        if seen is None or len(changed) > SHOWN:
            cards = list(model.cards.values())[-SHOWN:]
            news = [self._event("snapshot", {"cards": [self._card(card) for card in cards]})]
        else:
            changed.sort(key=model.versions.__getitem__)
            news = [self._event("card", {"card": self._card(model.cards[name])}, name) for name in changed]
        for name, now in (("faults", self._shell.faults.view()), ("means", self._means())):
            if self._sent.get(name) != now:
                self._sent[name] = now
                news.append(self._event(name, {name: now}))
        return b"".join(news), model.version

    def _event(self, name: str, content: dict[str, Any], card: str = "") -> bytes:
        """Of several cards each has its own version: where the connection ends between them, none is lost."""
        version = self._model.versions[card] if card else self._model.version
        content |= {"now": self._shell.now(), "total": len(self._model.cards)}
        head = f"event: {name}\nid: {self._prefix()}{version}\ndata: "
        return head.encode() + msgspec.json.encode(content) + b"\n\n"

    def _card(self, card: ChatCard) -> dict[str, Any]:
        """Bounded: each change of a card is told anew, and 100,000 may take part. `participants` and
        `finished` count them all."""
        known = card.known()
        first = tuple(islice(known, PEOPLE))
        history, names = card.history[-CALLS:], card.declaration.names
        named = chain((card.declaration.publisher or "",), first, *(call.members for call in history))
        return card.frame(self._shell.now()) | {
            "names": {member: names[member] for member in named if member in names},
            "done": [member for member in first if member in card.posts],
            "viewers": card.viewers(first),
            "participants": len(known),
            "finished": len(card.posts),
            "calls": len(card.history),
            "chat": card.chat[-MESSAGES:],
            "history": history,
        }
