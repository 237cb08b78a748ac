"""One card's calls, with every answer, death and pause that may come: a called end stays called."""

from __future__ import annotations

import random

import msgspec
import pytest

from contracts.events import Closed, Completed, Event, EventData, Opened
from contracts.records import Record
from contracts.times import SECOND
from contracts.wechat import ILLEGAL_STATE, Verdict
from services.transactions.apply import apply
from services.transactions.arrivals import Arrival
from services.transactions.claim import claim
from services.transactions.fire_due import fire_due
from services.transactions.redeliver import redeliver
from services.transactions.settle import settle
from statemachine.card import DeliveryRules, phase
from statemachine.model import Rules
from statemachine.step import Claimed, Result
from tests.verification.dict_store.store import MemoryStore

START = 1_795_248_000 * SECOND
GATES = (Verdict.token, Verdict.minute_limit, Verdict.misconfigured, Verdict.address, Verdict.no_token)
ANSWERS = (Verdict.ok, Verdict.busy, Verdict.unknown, Verdict.rejected, Verdict.unknown_code, *GATES)


class Life:
    """One card's, on the dict store. `called`: whether WeChat may show its end."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now, self.events = START, 0
        self.rules = DeliveryRules(members_per_call=self.chance.choice((1, 3, 100)))
        self.store = MemoryStore(lambda: self.now, rules=self.rules)
        self.ended = self.called = False
        self.late: list[Result] = []
        self.left_out = 0

    async def feed(self, data: EventData) -> None:
        self.events += 1
        record = Record("events", 0, self.events, None, b"{}")
        event = Event("/s", str(self.events), "t", "a", self.now, data)
        await apply(self.store, [Arrival(record, event)], Rules())

    async def live(self) -> None:
        """Forty steps of news, pauses, redeliveries, late settlings, ticks of the clock, and calls."""
        life = self.chance.choice((200, 600, 86_400)) * SECOND
        await self.feed(
            Opened(appid="wx1", expires_at=self.now + life, template="complete", choose="everyone")
        )
        for _ in range(40):
            self.now += int(self.chance.choice((0.01, 0.5, 2, 5, 31, 70)) * SECOND)
            await self.news()
            if self.late and self.chance.random() < 0.3:
                await settle(self.store, [self.late.pop()], self.rules)
            if self.chance.random() < 0.3:
                await fire_due(self.store, 1, Rules())
            claims = await claim(self.store, {"wx1": 1}, holder="h", limit=1, rules=self.rules)
            for claimed in claims.cards:
                await self.call(claimed)
        await self.die(START + life)

    async def news(self) -> None:
        """What producers and the person on call do."""
        if not self.ended and self.chance.random() < 0.5:
            members = {f"m{self.chance.randrange(30)}" for _ in range(self.chance.randrange(1, 6))}
            await self.feed(Completed(tuple(sorted(members))))
        if not self.ended and self.chance.random() < 0.3:
            await self.feed(Closed())
            self.ended = True
        if self.ended and self.chance.random() < 0.05:
            again = await redeliver(self.store, "a")
            assert not (self.called and again.members), f"{again} after the end was called"

    async def call(self, claimed: Claimed) -> None:
        """Whatever may become of it."""
        call, card = claimed.call, claimed.card
        assert card.expires_at > self.now, "a call for a dead id"
        assert call.target_state == 3 or not self.called, f"{call} after the end was called"
        assert not (call.target_state == 3 and call.members), "the end goes alone"
        if call.target_state == 3 and claimed.owed and not self.called:
            assert card.end_by is not None
            assert self.now >= card.end_by, f"{claimed.owed} are left out before the end's minute is over"
            self.left_out += 1
        duration = int(self.chance.choice((0.05, 9)) * SECOND)
        self.now += duration
        await self.settle(
            Result(claimed, sent=True, duration=duration, jitter=self.chance.random()), call.target_state
        )

    async def settle(self, result: Result, state: int) -> None:
        fate = self.chance.choice((*ANSWERS, "illegal", "given back", "dies", "late"))
        if state == 3 and fate not in (*GATES, "given back"):
            self.called = True
        if isinstance(fate, Verdict):
            await settle(self.store, [msgspec.structs.replace(result, verdict=fate)], self.rules)
        elif fate == "illegal":
            refused = msgspec.structs.replace(result, verdict=Verdict.rejected, errcode=ILLEGAL_STATE)
            await settle(self.store, [refused], self.rules)
        elif fate == "given back":
            await settle(self.store, [msgspec.structs.replace(result, sent=False)], self.rules)
        elif fate == "late":
            heard = self.chance.choice((Verdict.ok, Verdict.unknown))
            self.late.append(msgspec.structs.replace(result, verdict=heard))

    async def die(self, expires_at: int) -> None:
        """The id dies, and the clock comes by: nothing is open any more, whatever happened."""
        self.now = max(self.now, expires_at) + 2 * self.rules.lease
        while (await fire_due(self.store, 1, Rules())).more:
            pass
        async with self.store.transaction() as tx:
            (card,) = await tx.lock_cards(["a"])
        assert phase(card) == "closed"
        assert not card.behind
        counters, pending, *_ = await self.store.totals()
        fates = ("delivered", "superseded", "expired", "dead")
        told = sum(counters.get(f"revisions.{fate}", 0) for fate in fates)
        assert (told, pending) == (counters["revisions.raised"], 0)


@pytest.mark.parametrize("first", range(0, 400, 100))
async def test_nothing_but_the_end_is_sent_after_an_end_that_was_called(first: int) -> None:
    """Not by a retry, the next holder, a late settling, nor by redelivering.

    And nobody is left out before the end's minute is over, nothing is sent for a dead id, and every revision
    has one fate once the clock has closed the card.
    """
    left_out = 0
    for seed in range(first, first + 100):
        life = Life(seed)
        await life.live()
        left_out += life.left_out
    assert left_out, "no end went without members: nothing was tried"
