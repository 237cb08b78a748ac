"""The person on call: commands that touch the store and the topics while everything else goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from contracts.times import SECOND
from contracts.topics import Topics
from services.cli.replay import Letter, _dead_ones, _letter
from services.store.ports import StoreUnavailable
from services.store.rows import InboxKey
from services.transactions.redeliver import redeliver
from tests.verification.sim.actors import SECRETS, Actor
from tests.verification.sim.store import FrontStore

if TYPE_CHECKING:
    from tests.verification.sim.world import World

TRIES: Final = 4
"""How often a person runs a command again that the store did not answer."""


class Command(Actor):
    """One run of `livecard redeliver`, `replay` or `gates --open`: a process that ends by itself."""

    role = "oncall"

    def __init__(self, world: World, slot: int, birth: int, what: str) -> None:
        super().__init__(world, slot, birth)
        self.what = what
        self.stopping = True

    def start(self, store: FrontStore) -> None:
        self.store, self.committing = store, store.committing
        commands: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "redeliver": self._redeliver,
            "replay": self._replay,
            "gates_opened": self._open_gates,
            "quota_saved": self._save_quota,
        }
        self.run(self.what, self._patiently(commands[self.what]))

    async def _patiently(self, command: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Again when the store was away, and now and then once more for no reason: it must do no harm."""
        for _ in range(TRIES):
            try:
                await command()
            except StoreUnavailable:
                await asyncio.sleep(1.0)
            else:
                if not self.world.tape.pick(2):
                    return

    async def _redeliver(self) -> None:
        for name in sorted(self.world.judges.cards):
            done = await redeliver(self.store, name)
            if done.members or done.revived:
                self.world.hit("redeliver")

    async def _replay(self) -> None:
        world, latest = self.world, dict[InboxKey, Letter]()
        for message in world.broker.topics.get(Topics().dead, ()):
            letter = _letter(message)
            if letter.key is not None:
                latest[letter.key] = letter
        for letter in await _dead_ones(self.store, latest.values(), Counter()):
            await world.port(self)
            world.hit("replay")
            place, record = world.tape.pick(2), letter.record
            world.broker.append_event(place, letter.activity_id, record.value or b"")

    async def _open_gates(self) -> None:
        if await self.store.open_gates(sorted(SECRETS), None):
            self.world.hit("gates_opened")

    async def _save_quota(self) -> None:
        """The rest of an app's quota is kept for ends for a while, as a dispatcher's watch would have it."""
        tape = self.world.tape
        appid, until = sorted(SECRETS)[tape.pick(len(SECRETS))], self.clock.wall() + tape.pick(40) * SECOND
        if await self.store.save_quota(appid, until):
            self.world.hit("quota_saved")
