"""The mistakes around rooms: somebody who becomes known is told too little, too often, or too late."""

from __future__ import annotations

from typing import Any, Final

from tests.verification.planting.plant import Plant

DICT: Final = "tests.verification.dict_store.rooms:RoomsTx"


def _without_a_lock(real: Any) -> Any:
    async def planted(self: Any, keys: Any) -> Any:
        await self._step()
        known = {key: self._tables.bindings[key].group_openid for key in keys if key in self._tables.bindings}
        return {key: member for key, member in known.items() if member}

    return planted


def _kept(real: Any) -> Any:
    async def planted(self: Any, key: Any) -> Any:
        rows = await real(self, key)
        self._taken = []
        return rows

    return planted


def _by_its_own_time(real: Any) -> Any:
    return lambda waited, member, now: real(waited._replace(time=now), member, now)


def _blind_to_the_parked(real: Any) -> Any:
    async def planted(self: Any, events: Any) -> None:
        early = {name: each.early for name, each in self.aggregates.items()}
        for each in self.aggregates.values():
            each.early = []
        await real(self, events)
        for name, each in self.aggregates.items():
            each.early = early[name]

    return planted


ROOMS: Final = (
    Plant(
        "a-binding-is-read-without-its-lock",
        40,
        {f"{DICT}.lock_bindings": _without_a_lock},
        profile="rooms",
        engines=("dict",),
    ),
    Plant(
        "a-binding-leaves-who-waited", 60, {f"{DICT}.take_unbound": _kept}, profile="rooms", engines=("dict",)
    ),
    Plant(
        "who-waited-is-told-by-the-time-of-the-binding",
        20,
        {"services.transactions.bind:_known": _by_its_own_time},
        profile="rooms",
    ),
    Plant(
        "openids-of-parked-events-are-not-looked-up",
        40,
        {"services.transactions.apply:_Batch._read_bindings": _blind_to_the_parked},
        profile="rooms",
    ),
)
