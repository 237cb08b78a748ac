"""The work queue, in the manner of Kubernetes' workqueue: a key is never handled twice at once and,
coming in while it is handled, is looked at again."""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from services.runtime.ports import Clock

UNSORTED: Final = ""
"""The lane of keys whose app is not known yet: a claim looks at them and says which it is."""

Room = Callable[[str], int]
"""How many keys of a lane (an app id) may be taken now."""


class WorkQueue:
    """Keys to look at now (in lanes, one an app), later (one heap of timers), and in hand.

    At most `cap` keys are remembered; more are dropped and counted, since the sweep finds them
    anyway. The apps' lanes together may take half of that, and timers half, and the longest lane gives
    way: so an app with more cards than are remembered leaves room for the others. Not thread-safe: it
    belongs to one event loop. `woken` is set whenever there is news.
    """

    def __init__(self, clock: Clock, cap: int) -> None:
        self._clock, self._cap, self._half = clock, cap, max(1, cap // 2)
        self._lanes: OrderedDict[str, OrderedDict[str, None]] = OrderedDict({UNSORTED: OrderedDict()})
        self._lane_of: dict[str, str] = {}
        self._due: dict[str, float] = {}
        self._timers: list[tuple[float, int, str]] = []
        self._timer_count = 0
        self._processing: set[str] = set()
        self._dirty: set[str] = set()
        self.dropped = 0
        self.woken = asyncio.Event()

    def __len__(self) -> int:
        """Keys that wait to be looked at now."""
        return len(self._lane_of)

    def add(self, key: str, *, resort: bool = True) -> bool:
        """Look at `key` soon; whether it was news (False: it waits already, or was dropped).

        A key that waits in an app's lane is moved to the unsorted one, unless told otherwise: it
        may have become urgent.
        """
        if key in self._processing:
            news = key not in self._dirty
            self._dirty.add(key)
            return news
        lane = self._lane_of.get(key)
        if lane == UNSORTED or (lane is not None and not resort):
            return False
        if lane is None and key not in self._due and self._full():
            self.dropped += 1
            return False
        self._due.pop(key, None)
        self._place(key, UNSORTED, first=False)
        return lane is None

    def add_after(self, key: str, seconds: float) -> None:
        """Look at `key` in so many seconds, unless it is looked at earlier. Best effort."""
        if seconds <= 0:
            self.add(key)
            return
        if key in self._processing or key in self._lane_of:
            return
        when = self._clock.monotonic() + seconds
        if key not in self._due:
            if self._full() or len(self._due) >= self._half:
                self.dropped += 1
                return
        elif self._due[key] <= when:
            return
        self._due[key] = when
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, key))
        if len(self._timers) > 2 * len(self._due) + 64:
            self._compact()
        if self._timers[0][0] == when:
            self.woken.set()

    def put_back(self, key: str, lane: str, *, first: bool) -> None:
        """Done with `key` for want of room: it waits in its app's lane, `first` when urgent."""
        dirty = key in self._dirty
        self._processing.discard(key)
        self._dirty.discard(key)
        self._place(key, UNSORTED if dirty else lane, first=first)
        if len(self._lane_of) - len(self._lanes[UNSORTED]) > self._half:
            _, longest = max((len(keys), name) for name, keys in self._lanes.items() if name != UNSORTED)
            last, _ = self._lanes[longest].popitem()
            del self._lane_of[last]
            self.dropped += 1

    def take(self, most: int, room: Room, unsorted: int) -> list[str]:
        """Keys, now in hand: up to `unsorted` of which nothing is known, then up to `most` of the
        apps in turn, of each as many as it has room for."""
        self._fire()
        lane = self._lanes[UNSORTED]
        taken = [lane.popitem(last=False)[0] for _ in range(min(unsorted, len(lane)))]
        allowed = {name: room(name) for name in self._lanes if name != UNSORTED}
        in_turn = [name for name in allowed if allowed[name] > 0]
        while in_turn and most > 0:
            for name in tuple(in_turn):
                lane = self._lanes[name]
                if not lane or allowed[name] <= 0 or most <= 0:
                    in_turn.remove(name)
                    continue
                allowed[name] -= 1
                most -= 1
                taken.append(lane.popitem(last=False)[0])
        for key in taken:
            del self._lane_of[key]
        self._processing.update(taken)
        self._tidy()
        return taken

    def done(self, key: str) -> bool:
        """`key` is out of hand; whether it came in meanwhile, and so waits again."""
        self._processing.discard(key)
        if key not in self._dirty:
            return False
        self._dirty.discard(key)
        self._due.pop(key, None)
        self._place(key, UNSORTED, first=False)
        return True

    def next_due(self) -> float | None:
        """Seconds until the earliest timer (0: due); None without timers."""
        while self._timers and self._due.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - self._clock.monotonic())

    def _full(self) -> bool:
        return len(self._lane_of) + len(self._due) + len(self._processing) >= self._cap

    def _place(self, key: str, lane: str, *, first: bool) -> None:
        before = self._lane_of.get(key)
        if before is not None:
            del self._lanes[before][key]
        keys = self._lanes.setdefault(lane, OrderedDict())
        keys[key] = None
        if first:
            keys.move_to_end(key, last=False)
        self._lane_of[key] = lane
        self.woken.set()

    def _fire(self) -> None:
        """Timers that are due become keys to look at."""
        now = self._clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            when, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == when:
                del self._due[key]
                self._place(key, UNSORTED, first=False)

    def _compact(self) -> None:
        """Drop heap entries of timers that were replaced or overtaken."""
        self._timers = [entry for entry in self._timers if self._due.get(entry[2]) == entry[0]]
        heapq.heapify(self._timers)

    def _tidy(self) -> None:
        """Empty lanes go; the app that was asked first is asked last the next time."""
        for name in [name for name, lane in self._lanes.items() if not lane and name != UNSORTED]:
            del self._lanes[name]
        first = next((name for name in self._lanes if name != UNSORTED), None)
        if first is not None:
            self._lanes.move_to_end(first)
