"""WeChat's hosts in the order of the setting: the next one is used where one cannot be reached.

Only where no connection came about is the next host tried, for then nothing was sent. Whatever else goes
wrong on one host, a broken connection or a timeout, may have been applied: it is what it is, an unknown
outcome, and no other host is asked in the same call (design.md §6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog

from services.runtime.ports import Clock
from services.wechat.transport import CONNECT, Exchange, Transport

LOG = structlog.get_logger("livecard.wechat")

AGAIN: Final = 30.0
"""Seconds for which a host that could not be reached stands behind the others; then one call tries it."""


class Host(msgspec.Struct):
    """One way to WeChat. `name` is for people. In monotonic seconds: `missed`, when it could not be reached
    last, and `until`, for how long it stands back."""

    name: str
    transport: Transport
    missed: float = 0.0
    until: float = 0.0
    away: bool = False


class Hosts:
    """The ways to WeChat, the preferred one first."""

    def __init__(self, hosts: Sequence[Host], clock: Clock) -> None:
        self._hosts, self._clock = hosts, clock

    async def exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        may_send: Callable[[], bool],
    ) -> Exchange:
        """See `Transport.exchange`; `may_send` is asked before each host."""
        reasons: dict[str, str] = {}
        for host in self._in_order():
            if not may_send():
                return Exchange(withheld=True)
            began = self._clock.monotonic()
            got = await host.transport.exchange(method, path, query, body)
            if not got.unsent:
                self._reached(host, began)
                return got
            reasons[host.name] = got.why
            self._missed(host, got.why)
        alone = len(self._hosts) == 1
        whys = [why if alone else f"{name}: {why}" for name, why in reasons.items()]
        return Exchange(unsent=True, why="; ".join(whys))

    async def close(self) -> None:
        """Close all connections."""
        for host in self._hosts:
            await host.transport.close()

    def _in_order(self) -> list[Host]:
        """As they are set, those that could not be reached behind the others. Of the calls at the end of its
        time one alone tries such a host first: it may take all of the time for a connection."""
        now = self._clock.monotonic()
        back = [host for host in self._hosts if host.away and now < host.until]
        order = [host for host in self._hosts if host not in back]
        for host in order[:1]:
            if host.away:
                host.until = now + AGAIN
        return [*order, *back]

    def _reached(self, host: Host, began: float) -> None:
        """An answer to a call from before says nothing about connections now."""
        if not host.away or began < host.missed:
            return
        if len(self._hosts) > 1:
            LOG.info("a host of WeChat's can be reached again", host=host.name)
        host.away = False

    def _missed(self, host: Host, why: str) -> None:
        host.missed = self._clock.monotonic()
        host.until = host.missed + AGAIN
        if not host.away and len(self._hosts) > 1:
            LOG.warning("a host of WeChat's cannot be reached: the next one is used", host=host.name, why=why)
        host.away = True


class Limited:
    """At most `most` exchanges at once over the hosts."""

    def __init__(self, hosts: Hosts, most: int) -> None:
        self._hosts, self._free = hosts, asyncio.Semaphore(most)

    async def exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> Exchange:
        """See `Transport.exchange`. `may_send` is asked last: no place is waited for after it."""
        async with self._free:
            return await self._hosts.exchange(method, path, query, body, may_send)


def connecting(deadline: float, hosts: int) -> float:
    """Seconds for a connection to each of so many: where the others make none, the last one has time, too."""
    return CONNECT if hosts == 1 else min(CONNECT, deadline / (hosts + 1))


def named(base: str) -> str:
    """A host as people know it."""
    try:
        return urlsplit(base).netloc
    except ValueError:
        return "?"
