"""Group settling: whatever has finished so far goes into one transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from services.dispatcher.metrics import DispatcherMetrics
from services.runtime.backoff import wait_after
from services.runtime.ports import SELDOM, Chance, Clock
from services.store.ports import Store, StoreRejected, StoreUnavailable
from services.transactions.settle import Settled, settle
from statemachine.card import DeliveryRules
from statemachine.states import IllegalTransition
from statemachine.step import Result

LOG = structlog.get_logger("livecard.dispatcher")

MOST: Final = 256
"""Results in one transaction."""
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0
"""Seconds between tries while the store is away."""
IDLE: Final = 5.0
"""Seconds after which an idle settler shows that it is alive."""


class Settler:
    """Takes finished results, writes them, tells what came of them.

    While the store is away the results stay in hand and are tried again; whether they still count
    then is the fence's decision. A result that cannot be settled, by its data or by a bug, is given up: its
    lease runs out, and the claim after it finds the card in doubt.
    """

    def __init__(
        self,
        *,
        store: Store,
        rules: DeliveryRules,
        clock: Clock,
        chance: Chance,
        metrics: DispatcherMetrics,
        settled: Callable[[Result, Settled], None],
        given_up: Callable[[Result], None],
    ) -> None:
        self._store, self._rules, self._clock, self._chance = store, rules, clock, chance
        self._metrics, self._settled, self._given_up = metrics, settled, given_up
        self._results: deque[Result] = deque()
        self._news = asyncio.Event()
        self._stopping = False
        self._failures = 0
        self.waiting = ""
        self.moved = clock.monotonic()

    def __len__(self) -> int:
        """Results that wait."""
        return len(self._results)

    def put(self, result: Result) -> None:
        """One result is finished."""
        self._results.append(result)
        self._news.set()

    def stop(self) -> None:
        """Return once everything in hand is settled."""
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        """Settle whatever comes, until `stop`."""
        while True:
            self.moved = self._clock.monotonic()
            if self._results:
                batch = [self._results.popleft() for _ in range(min(MOST, len(self._results)))]
                await self._write(batch)
            elif self._stopping:
                return
            else:
                self._news.clear()
                try:
                    async with asyncio.timeout(IDLE):
                        await self._news.wait()
                except TimeoutError:
                    continue

    async def _write(self, batch: list[Result]) -> None:
        try:
            settled = await settle(self._store, batch, self._rules)
        except StoreUnavailable as error:
            self._results.extendleft(reversed(batch))
            await self._wait(error)
        except (StoreRejected, IllegalTransition) as error:
            if len(batch) == 1:
                self._poison(batch[0], error)
                return
            for result in batch:  # one of them is to blame: find it
                await self._write([result])
        else:
            self._failures, self.waiting = 0, ""
            self._tell(batch, settled)

    def _tell(self, batch: Sequence[Result], settled: Sequence[Settled]) -> None:
        self._metrics.settled(len(batch), sum(each.stale for each in settled))
        for result, outcome in zip(batch, settled, strict=True):
            if outcome.stale:
                card = result.claimed.card
                LOG.warning(
                    "an answer came after its lease: somebody else had the card by then",
                    activity_id=card.activity_id,
                    appid=card.appid,
                    fence=card.fence,
                    verdict=None if result.verdict is None else result.verdict.value,
                )
            self._settled(result, outcome)

    def _poison(self, result: Result, error: Exception) -> None:
        card = result.claimed.card
        LOG.error(
            "a result cannot be settled; its card is in doubt when the lease ends",
            activity_id=card.activity_id,
            fence=card.fence,
            verdict=result.verdict,
            error=str(error),
        )
        self._given_up(result)

    async def _wait(self, error: StoreUnavailable) -> None:
        """Backoff with jitter: the cause is the store, the bound is our drain or its return."""
        self._failures += 1
        self.waiting = str(error)
        seconds = wait_after(self._failures, FIRST_WAIT, LONGEST_WAIT, self._chance.random())
        LOG.warning(
            "results wait for the store",
            results=len(self._results),
            error=str(error),
            wait=round(seconds, 2),
            every=SELDOM,
        )
        await asyncio.sleep(seconds)
