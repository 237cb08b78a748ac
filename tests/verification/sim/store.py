"""The shared store as one process reaches it: with latency, outages, answers that get lost, and a judge.

Underneath is the dict store, or the real one on SQLite (`sqlite_connections.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from contracts.records import Record
from services.runtime.process import delivery_rules
from services.store.ports import Store, StoreUnavailable
from services.store.rooms import Binding
from services.store.rows import Admission, Due, InboxKey, Locked, Writes
from statemachine.gate import Gate
from statemachine.states import ENDED
from statemachine.step import Result
from tests.verification.dict_store.store import MemoryStore, MemoryTx
from tests.verification.sim.judges import Commit
from tests.verification.sim.loop import OWNER

if TYPE_CHECKING:
    from tests.verification.sim.actors import Actor
    from tests.verification.sim.world import World

BATCH: ContextVar[tuple[Record, ...]] = ContextVar("batch", default=())
"""The records that this task takes in."""
RESULTS: ContextVar[tuple[Result, ...]] = ContextVar("results", default=())
"""The results that this task settles."""


class FrontTx:
    """One transaction, watched. `cut`: the server ended the session of a process that stood still."""

    def __init__(self, front: FrontStore) -> None:
        self._front, self._actor, self._world = front, front.actor, front.world
        self._commit = Commit(front.actor.name, BATCH.get(), RESULTS.get())
        self.cut = False
        self._fate = ""
        self._whole: Any
        self._tx: Any

    async def __aenter__(self) -> Self:
        world = self._world
        if waiting := world.delay(self._actor):
            await waiting
        self._fate = world.fate("store")
        if self._fate == "store_away" or world.gone():
            raise StoreUnavailable("the store is away")
        self._whole = self._front.inner.transaction()
        self._tx = await self._whole.__aenter__()
        self._actor.transactions[self] = self._tx
        self._front.watch(self._tx, self._commit, self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        world, asked = self._world, kind is None
        try:
            if asked:
                try:  # on the way to the commit
                    if waiting := world.delay(self._actor):
                        await waiting
                    self.here("the connection was cut" if self._fate == "store_undone" else "")
                except BaseException as lost:
                    self._front.forget(self._commit)
                    await self._whole.__aexit__(type(lost), lost, lost.__traceback__)
                    raise
            else:
                self._front.forget(self._commit)  # before another has the connection
            await self._whole.__aexit__(kind, error, trace)
        finally:
            self._actor.transactions.pop(self, None)
            self._front.forget(self._commit)
            if isinstance(self._tx, MemoryTx):
                del self._tx.commit  # which knows us: nobody collects circles
        if asked:
            if waiting := world.delay(self._actor):
                await waiting
            if self._fate == "store_lost":
                raise StoreUnavailable("the connection was cut after the commit")

    async def admit(self, keys: Sequence[InboxKey], activity_ids: Sequence[str | None]) -> list[Admission]:
        self.here()
        known = self._world.judges.admitted
        self._commit.before = {key: known.get(key, "") for key in keys}  # or while it waited for its locks
        found: list[Admission] = await self._tx.admit(keys, activity_ids)
        self._commit.before |= {key: how for key in keys if (how := known.get(key, "")) == "new"}
        self._commit.admitted.update(zip(keys, found, strict=True))
        return found

    async def now(self) -> int:
        self.here()
        self._commit.now = now = await self._tx.now()
        return int(now)

    async def claim_due(self, rooms: Mapping[str, int], limit: int, narrow: int) -> Due:
        self.here()
        due: Due = await self._tx.claim_due(rooms, limit, narrow)
        self._commit.now, self._commit.seen = due.now, dict(due.gates)
        return due

    async def lock_gates(self, appids: Sequence[str], *, wait: bool) -> dict[str, Gate]:
        self.here()
        found: dict[str, Gate] = await self._tx.lock_gates(appids, wait=wait)
        self._commit.locked = dict(found)
        return found

    async def lock_unscheduled(self, limit: int) -> list[Locked]:
        self.here()
        found: list[Locked] = await self._tx.lock_unscheduled(limit)
        if found and found[0].activity.state != ENDED:  # there is no release before
            self._world.judges.fail(f"{found[0].card.activity_id} wants a dispatcher and does not say when")
        return found

    async def bind(self, binding: Binding) -> None:
        self.here()
        self._commit.bound.append(binding)
        await self._tx.bind(binding)

    async def write(self, writes: Writes) -> None:
        self.here()
        self._commit.writes.append(writes)
        await self._tx.write(writes)

    def here(self, lost: str = "") -> None:
        """Raise `StoreUnavailable` unless the session is still there."""
        if self.cut or lost:
            raise StoreUnavailable(lost or "the session was ended: idle in transaction")

    def __getattr__(self, name: str) -> Any:
        self.here()
        return getattr(self._tx, name)


class FrontStore:
    """Implements `services.store.ports.Store` for one process."""

    def __init__(self, inner: Store, actor: Actor) -> None:
        self.inner, self.actor, self.world = inner, actor, actor.world
        self.pending: Commit | None = None

    def transaction(self) -> FrontTx:
        """One that the judges see."""
        return FrontTx(self)

    def forget(self, commit: Commit) -> None:
        """It is over, whatever became of it."""
        if self.pending is commit:
            self.pending = None

    def watch(self, tx: Any, commit: Commit, front: FrontTx) -> None:
        """The judge hears of the commit in the step in which it happens."""
        if not isinstance(self.inner, MemoryStore):
            self.pending = commit
            return
        real = tx.commit

        def committed() -> None:
            front.here()
            real()
            self.world.judges.committed(commit)

        tx.commit = committed

    def committing(self) -> Commit | None:
        """What a commit on this process's only writing connection makes true."""
        commit, self.pending = self.pending, None
        return commit

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self.inner, name)

        async def call(*args: Any, **more: Any) -> Any:
            if waiting := self.world.delay(self.actor):
                await waiting
            if self.world.fate("read") or self.world.gone():
                raise StoreUnavailable("the store is away")
            answer = await verb(*args, **more)
            if waiting := self.world.delay(self.actor):
                await waiting
            return answer

        setattr(self, name, call)
        return call


def dict_store(world: World) -> MemoryStore:
    """The dict store, on which other processes come in between any two primitives."""

    throw = world.tape.throw

    def pause() -> Awaitable[None] | None:
        thrown = throw()
        if thrown & 15 < 13:
            return None
        return world.loop.nap(0.001 * (1 + (thrown >> 4 & 15) ** 2)) if thrown & 1 else asyncio.sleep(0)

    return MemoryStore(world.wall, rules=delivery_rules(world.settings), pause=pause)


def forget(world: World, store: MemoryStore) -> None:
    """Dead processes wait for no lock; whoever came after them is woken."""
    waiting = store.locks._waiting  # what a server knows of its sessions
    for key, turns in list(waiting.items()):
        for turn in turns:
            waiters: Any = turn._callbacks  # whose contexts say whose they are
            if any((context.get(OWNER) or world.loop.world).dead for _, context in waiters or ()):
                turn.cancel()
        if key not in store.locks.holder:
            store.locks.give(key)
