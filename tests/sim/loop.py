"""An event loop in virtual time that runs several processes, any of which may be killed or paused.

First in, first out inside a process; between processes that could go on, the tape chooses. Whose
a handle is says a context variable. Tasks and futures hash by order of birth, because by address
the order in which a TaskGroup cancels its tasks would change from run to run.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

OWNER: ContextVar[Process] = ContextVar("owner")


class Process:
    """What `kill -9` and SIGSTOP act on: a queue of handles and the tasks they belong to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []
        self.listed = False
        self.paused = False
        self.dead = False
        self.pauses = 0
        self.context: Context = copy_context()
        self.context.run(OWNER.set, self)


class SimTask(asyncio.Task[Any]):
    """A task with a stable hash; its process keeps it, so that a dead one is never collected."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: SimLoop, **more: Any) -> None:
        self.birth = loop.born()
        super().__init__(coro, loop=loop, **more)

    def __hash__(self) -> int:
        return self.birth


class SimFuture(asyncio.Future[Any]):
    """A future with a stable hash that knows whose it is."""

    def __init__(self, *, loop: SimLoop) -> None:
        self.birth = loop.born()
        self.owner = OWNER.get(loop.world)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.birth


class SimLoop(asyncio.BaseEventLoop):
    """`choose(n)` picks one of n processes that could go on."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        super().__init__()
        self.world = Process("world")
        self._choose = choose
        self._now = 0.0
        self._births = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._runnable: list[Process] = []
        self._halted = False
        self.steps = 0
        self.set_task_factory(self._make_task)

    def born(self) -> int:
        """The next birth's number."""
        self._births += 1
        return self._births

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return SimFuture(loop=self)

    def _make_task(self, _: Any, coro: Any, context: Context | None = None, **more: Any) -> Any:
        task = SimTask(coro, loop=self, context=context, **more)
        owner = (context or copy_context()).get(OWNER, self.world)
        owner.tasks.append(task)
        if len(owner.tasks) > 512:
            owner.tasks = [each for each in owner.tasks if not each.done()]
        return task

    def call_soon(  # type: ignore[override]  # typeshed's variadic generic says no more than this
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]  # typeshed's variadic generic, which we only refuse
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        raise AssertionError("a thread in the simulation")

    def call_at(  # type: ignore[override]  # typeshed's variadic generic says no more than this
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, self.born(), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def later(self, delay: float, callback: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        """A timer of the world's, which nobody can kill."""
        return self.call_at(self._now + delay, callback, *args, context=self.world.context)

    def spawn(self, process: Process, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this process."""
        return self.create_task(coro, context=process.context.copy())

    def _enqueue(self, handle: asyncio.Handle) -> None:
        context: Context = handle._context  # type: ignore[attr-defined]  # whose it is stands nowhere else
        process = context.get(OWNER, self.world)
        if process.dead:
            return
        process.ready.append(handle)
        self._list(process)

    def _list(self, process: Process) -> None:
        if process.ready and not (process.listed or process.paused or process.dead):
            process.listed = True
            self._runnable.append(process)

    def kill(self, process: Process) -> None:
        """None of its handles runs again, not even a `finally`."""
        process.dead = True
        process.ready.clear()

    def pause(self, process: Process) -> None:
        """Its handles wait."""
        process.paused = True
        process.pauses += 1

    def resume(self, process: Process) -> None:
        """Its handles go on, those first that waited."""
        process.paused = False
        self._list(process)

    def halt(self) -> None:
        """Return from `drive` after this step."""
        self._halted = True

    def drive(self, most: int = 2_000_000) -> None:
        """Run until `halt`. Raises RuntimeError when nothing is left to do, or too much was done."""
        asyncio.events._set_running_loop(self)
        try:
            runnable = self._runnable
            while not self._halted:
                if not runnable:
                    self._advance()
                    continue
                process = runnable.pop(self._choose(len(runnable)) if len(runnable) > 1 else 0)
                process.listed = False
                if process.dead or process.paused or not process.ready:
                    continue
                handle = process.ready.popleft()
                if not handle._cancelled:
                    handle._run()
                    self.steps += 1
                    if self.steps > most:
                        raise RuntimeError(f"no end after {most} steps")
                self._list(process)
        finally:
            asyncio.events._set_running_loop(None)

    def _advance(self) -> None:
        """Nothing is ready: the time moves on to the next timer."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise RuntimeError("everybody waits for ever")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                self._enqueue(timer)
