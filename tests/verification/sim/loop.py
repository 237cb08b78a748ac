"""An event loop in virtual time that runs several processes, any of which may be killed or paused.

First in, first out inside a process; between processes that could go on, the tape chooses. Whose
a handle is says a context variable. Tasks and futures hash by order of birth, because by address
the order in which a TaskGroup cancels its tasks would change from run to run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from typing import Any

OWNER: ContextVar[Process | None] = ContextVar("owner", default=None)


class Process:
    """What `kill -9` and SIGSTOP act on: a queue of handles and the tasks they belong to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []
        self.listed = False
        self.paused = False
        self.dead = False
        self.pauses = 0
        self.context: Context = copy_context()
        self.context.run(OWNER.set, self)


class Handle(list[Any]):
    """A callback that waits for its turn, or for its time; as little as asyncio asks of one.

    Callback, arguments, context, when, and whether it was cancelled: a list is the quickest to make.
    """

    __slots__ = ()

    @property
    def context(self) -> Context:
        """Whose it is."""
        context: Context = self[2]
        return context

    def when(self) -> float:
        """In the loop's seconds."""
        when: float = self[3]
        return when

    def cancel(self) -> None:
        """It does not run; a timer is taken from the heap when its time comes."""
        self[4] = True

    def cancelled(self) -> bool:
        """Whether it was."""
        dropped: bool = self[4]
        return dropped


class SimTask(asyncio.Task[Any]):
    """A task with a stable hash; its process keeps it, so that a dead one is never collected."""

    birth = 0

    def __hash__(self) -> int:
        return self.birth


class SimFuture(asyncio.Future[Any]):
    """A future that hashes by the order in which futures were first asked for their hash."""

    birth = 0

    def __hash__(self) -> int:
        if not self.birth:
            self.birth = self.get_loop().born()  # type: ignore[attr-defined]  # ours made it
        return self.birth


class Nap:
    """As much of a future as a task needs that sleeps: its timer is what wakes the task."""

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_delay", "_loop", "_timer", "_wake")

    def __init__(self, loop: SimLoop, delay: float) -> None:
        self._loop, self._delay = loop, delay
        self._asyncio_future_blocking = False
        self._cancelled = False

    def __await__(self) -> Generator[Nap, None, None]:
        self._asyncio_future_blocking = True
        yield self
        if self._cancelled:
            raise asyncio.CancelledError

    def get_loop(self) -> SimLoop:
        """Asked by the task."""
        return self._loop

    def add_done_callback(self, wake: Callable[[Nap], None], *, context: Context) -> None:
        """The task sleeps."""
        self._wake = wake
        when = self._loop._now + self._delay
        self._timer: Handle | None = self._loop.call_at(when, wake, self, context=context)

    def result(self) -> None:
        """Asked by the task as it wakes. What knows us lets go: nobody collects circles."""
        self._timer = None

    def cancel(self, msg: object = None) -> bool:
        """The task is cancelled: it wakes now."""
        if self._cancelled:
            return False
        if self._timer is None:
            return False
        self._cancelled = True
        self._timer.cancel()
        self._loop.call_soon(self._wake, self, context=self._timer.context)
        return True


class SimLoop(asyncio.BaseEventLoop):
    """`choose(n)` picks one of n processes that could go on."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        super().__init__()
        _forget_tasks()
        self.world = Process("world")
        self._choose = choose
        self._now = 0.0
        self._births = 0
        self._timers: list[tuple[float, int, Handle]] = []
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

    get_debug = staticmethod(bool)  # asked for each future: the quickest way to say False

    def create_future(self) -> asyncio.Future[Any]:
        return SimFuture(loop=self)

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> Any:
        return self._make_task(self, coro, context)

    def _make_task(self, _: Any, coro: Any, context: Context | None = None, **__: Any) -> Any:
        if context is None:
            context = copy_context()
        task = SimTask(coro, loop=self, name="", context=context)
        self._births = task.birth = self._births + 1
        owner = context.get(OWNER) or self.world
        owner.tasks.append(task)
        if len(owner.tasks) > 512:
            owner.tasks = [each for each in owner.tasks if not each.done()]
        return task

    def call_soon(  # type: ignore[override]  # typeshed's variadic generic says no more than this
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        if context is None:
            context = copy_context()
        handle = Handle((callback, args, context, 0.0, False))
        process = context.get(OWNER) or self.world
        if process.dead:
            return handle
        process.ready.append(handle)
        if not (process.listed or process.paused):
            process.listed = True
            self._runnable.append(process)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]  # typeshed's variadic generic, which we only refuse
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        raise AssertionError("a thread in the simulation")

    def call_at(  # type: ignore[override]  # typeshed's variadic generic says no more than this
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        timer = Handle((callback, args, copy_context() if context is None else context, when, False))
        self._births += 1
        heappush(self._timers, (when, self._births, timer))
        return timer

    def call_later(  # type: ignore[override]  # typeshed's variadic generic says no more than this
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Handle:
        """A timer of the world's, which nobody can kill."""
        return self.call_at(self._now + delay, callback, *args, context=self.world.context)

    def leap(self, seconds: float) -> None:
        """Time goes by in which nobody does anything, as for a machine that was suspended."""
        self._now += seconds

    def nap(self, delay: float) -> Nap:
        """`asyncio.sleep` without its ceremony."""
        return Nap(self, delay)

    def spawn(self, process: Process, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this process."""
        task: asyncio.Task[Any] = self._make_task(self, coro, process.context.copy())
        return task

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
        runnable, choose = self._runnable, self._choose
        try:
            while not self._halted:
                if not runnable:
                    self._advance()
                    continue
                process = runnable.pop(choose(len(runnable)) if len(runnable) > 1 else 0)
                process.listed = False
                if process.dead or process.paused or not process.ready:
                    continue
                handle = process.ready.popleft()
                callback, args, context, _, dropped = handle
                if not dropped:
                    self.steps += 1
                    try:
                        context.run(callback, *args)
                    except Exception as error:  # noqa: BLE001  # as asyncio's own loop does
                        self.call_exception_handler({"message": f"in {callback}", "exception": error})
                if process.ready and not (process.listed or process.paused or process.dead):  # type: ignore[redundant-expr]  # the handle may have changed them
                    process.listed = True
                    runnable.append(process)
                if self.steps > most:
                    raise RuntimeError(f"no end after {most} steps")
        finally:
            asyncio.events._set_running_loop(None)

    def _advance(self) -> None:
        """Nothing is ready: the time moves on to the next timer."""
        timers = self._timers
        while timers and timers[0][2][4]:
            heappop(timers)
        if not timers:
            raise RuntimeError("everybody waits for ever")
        now = timers[0][0]
        if now > self._now:
            self._now = now
        else:
            now = self._now
        while timers and timers[0][0] <= now:
            timer = heappop(timers)[2]
            if not timer[4]:
                process = timer[2].get(OWNER) or self.world
                if not process.dead:
                    process.ready.append(timer)
                    if not (process.listed or process.paused):
                        process.listed = True
                        self._runnable.append(process)


def _forget_tasks() -> None:
    """asyncio remembers every task; those of the schedules before have the same hashes as ours."""
    for name in ("_all_tasks", "_scheduled_tasks"):
        getattr(asyncio.tasks, name, set()).clear()
