"""Two sessions on PostgreSQL, one statement at a time, in an order that a seed decides.

Every statement and every commit is a gate. The conductor lets one session through, waits until it has
come to its next gate or hangs in a lock (PostgreSQL says which), and draws again: the same seed, the
same schedule. What a simulation on SQLite cannot see (READ COMMITTED, row locks) shows here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.util import concurrency

from scripts.patience import PATIENCE
from services.store.dialect import Statement
from services.store.ports import StoreUnavailable
from services.store.postgres import DriverRun
from services.store.sql import SqlStore

Verb = Callable[[SqlStore], Awaitable[Any]]
PLAYING: ContextVar[Session | None] = ContextVar("playing")
"""Whose verb this task plays."""


class Session:
    """One process with one connection, and where it is."""

    def __init__(self, name: str, store: SqlStore, pid: int) -> None:
        self.name, self.store, self.pid = name, store, pid
        self.state = "running"
        self.moved = asyncio.Event()
        self._go = asyncio.Event()
        self.next = ""
        self.result: Any = None
        engine = store.engine.sync_engine
        event.listen(engine, "before_cursor_execute", self._statement)
        event.listen(engine, "commit", self._commit)

    def _statement(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if PLAYING.get(None) is self:
            concurrency.await_(self.gate(statement))

    def _commit(self, _connection: Any) -> None:
        if PLAYING.get(None) is self:
            concurrency.await_(self.gate("COMMIT"))

    async def gate(self, what: str) -> None:
        """Wait until the conductor lets this statement through."""
        self.next, self.state = " ".join(what.split())[:70], "ready"
        self.moved.set()
        await self._go.wait()
        self._go.clear()

    def let_through(self) -> str:
        """Into the next statement."""
        self.state = "running"
        self._go.set()
        return f"{self.name}: {self.next}"

    async def play(self, verb: Verb) -> None:
        """One verb from its first statement to its commit."""
        PLAYING.set(self)
        try:
            self.result = await verb(self.store)
        except StoreUnavailable as error:
            self.result = error
        finally:
            PLAYING.set(None)
            self.state = "done"
            self.moved.set()


class GatedRun(DriverRun):
    """A transaction that the driver runs itself, with a gate before each of its statements."""

    async def __call__(self, statement: Statement, parameters: Mapping[str, Any]) -> Sequence[Any]:
        if session := PLAYING.get(None):
            await session.gate(statement.positional)
        return await super().__call__(statement, parameters)

    async def count(self, statement: Statement, parameters: Mapping[str, Any]) -> int:
        if session := PLAYING.get(None):
            await session.gate(statement.positional)
        return await super().count(statement, parameters)

    async def commit(self) -> None:
        if session := PLAYING.get(None):
            await session.gate("COMMIT")
        await super().commit()


class Conductor:
    """Plays two verbs against each other; `story` is what happened, statement by statement."""

    def __init__(self, sessions: tuple[Session, Session], admin: asyncpg.Connection) -> None:
        self.sessions, self._admin = sessions, admin
        self.story: list[str] = []
        self.waits = 0

    async def play(self, seed: int, *verbs: Verb) -> list[Any]:
        """The results of both, `StoreUnavailable` among them where one fell to a deadlock."""
        chance = random.Random(seed)
        self.story, self.waits = [], 0
        for session in self.sessions:
            session.state, session.result = "running", None
        tasks = [
            asyncio.create_task(session.play(verb))
            for session, verb in zip(self.sessions, verbs, strict=True)
        ]
        async with asyncio.timeout(PATIENCE):
            while True:
                await self._quiet()
                ready = [session for session in self.sessions if session.state == "ready"]
                if not ready:
                    break
                self.story.append(chance.choice(ready).let_through())
            await asyncio.gather(*tasks)
        return [session.result for session in self.sessions]

    async def _quiet(self) -> None:
        """Until nobody moves: each is at a gate, done, or waits for the other's lock."""
        while moving := [each for each in self.sessions if each.state in ("running", "blocked")]:
            for session in moving:
                session.moved.clear()
            if not any(session.state in ("running", "blocked") for session in moving):
                continue
            for session in moving:
                if session.state in ("running", "blocked"):
                    await self._look(session)
            others = [each for each in self.sessions if each.state == "ready"]
            if others and all(each.state in ("blocked", "ready", "done") for each in self.sessions):
                return

    async def _look(self, session: Session) -> None:
        """Has it moved on, or does it hang in a lock?"""
        for patience in (0.002, 0.005, 0.02, 0.1):
            try:
                await asyncio.wait_for(session.moved.wait(), patience)
            except TimeoutError:
                blocking = await self._admin.fetchval("SELECT pg_blocking_pids($1)", session.pid)
                if blocking and session.state in ("running", "blocked"):
                    if session.state == "running":
                        self.waits += 1
                        self.story.append(f"{session.name}: waits")
                    session.state = "blocked"
                    return
            else:
                return
