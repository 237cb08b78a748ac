"""A card that the machine refuses, which only a bug makes, stops no other card."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from statemachine import delivery
from statemachine.card import Card, phase
from statemachine.states import IllegalTransition
from tests.dispatcher.world import Make, in_virtual_time


def refuse(monkeypatch: pytest.MonkeyPatch, verb: str) -> list[str]:
    """This verb of the machine refuses card `a` until the list that is answered is emptied."""
    really, refused = getattr(delivery, verb), ["a"]

    def broken(card: Card, *args: Any, **kwargs: Any) -> Any:
        if card.activity_id in refused:
            raise IllegalTransition("planted")
        return really(card, *args, **kwargs)

    monkeypatch.setattr(delivery, verb, broken)
    return refused


@pytest.mark.parametrize(("verb", "calls_of_a"), [("claim", 0), ("settle", 1)])
@in_virtual_time(patience=900)
async def test_the_others_go_on_and_it_is_tried_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, verb: str, calls_of_a: int
) -> None:
    refused = refuse(monkeypatch, verb)
    world = await make()
    async with world.running():
        await world.open("a", "b")
        await world.complete("a", "m1")
        await world.complete("b", "m1")
        await world.settled("b")
        await world.complete("b", "m2")
        await world.settled("b")
        await asyncio.sleep(5)
        assert [call.activity_id for call in world.wechat.calls].count("a") == calls_of_a
        refused.clear()
        await world.settled("a")
        assert phase(await world.card("b")) == "in_sync"
