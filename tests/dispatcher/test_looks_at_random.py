"""Looks at one card, with every answer, death and pause that may come: a called end stays called."""

from __future__ import annotations

import random

import msgspec
import pytest

from contracts.events import Closed, Completed, Event, EventData, Opened
from contracts.records import Record
from contracts.times import SECOND
from contracts.wechat import ILLEGAL_STATE, Verdict
from services.dispatcher.look import plan_look
from services.transactions.apply import Arrival, apply
from services.transactions.claim import CardRules, Claimed, claim, redeliver
from services.transactions.settle import FAILURES, Look, settle
from statemachine.model import Rules
from statemachine.plan import Call
from tests.verification.dict_store.store import MemoryStore

START = 1_795_248_000 * SECOND
NEVER_ARRIVED = (Verdict.token, Verdict.minute_limit, Verdict.misconfigured)
ANSWERS = (Verdict.ok, Verdict.busy, Verdict.unknown, Verdict.rejected, Verdict.unknown_code, *NEVER_ARRIVED)


class Life:
    """One card's, on the dict store. `called`: whether WeChat may show its end; `refused`: whether a call of
    its was sent since the end was known, and failed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now, self.events = START, 0
        self.store = MemoryStore(lambda: self.now)
        self.rules = CardRules(members_per_call=self.chance.choice((1, 3, 100)))
        self.ended = self.called = self.refused = False
        self.late: list[Look] = []
        self.after = 0

    async def feed(self, data: EventData) -> None:
        self.events += 1
        record = Record("events", 0, self.events, None, b"{}")
        event = Event("/s", str(self.events), "t", "a", self.now, data)
        await apply(self.store, [Arrival(record, event)], Rules())

    async def live(self) -> None:
        """Forty steps of news, pauses, redeliveries, late settlings and looks."""
        life = self.chance.choice((200, 600, 86_400)) * SECOND
        await self.feed(
            Opened(appid="wx1", expires_at=self.now + life, template="complete", choose="everyone")
        )
        for _ in range(40):
            self.now += int(self.chance.choice((0.01, 0.5, 2, 5, 31, 70)) * SECOND)
            await self.news()
            if self.late and self.chance.random() < 0.3:
                await settle(self.store, [self.late.pop()], self.rules)
            claims = await claim(
                self.store, ["a"], holder="h", limit=1, room={}, default_room=4, rules=self.rules
            )
            for claimed in claims.cards:
                await self.look(claimed)

    async def news(self) -> None:
        """What producers and the person on call do."""
        if not self.ended and self.chance.random() < 0.5:
            members = {f"m{self.chance.randrange(30)}" for _ in range(self.chance.randrange(1, 6))}
            await self.feed(Completed(tuple(sorted(members))))
        if not self.ended and self.chance.random() < 0.3:
            await self.feed(Closed())
            self.ended = True
        if self.ended and self.chance.random() < 0.05:
            async with self.store.transaction() as tx:
                (card,) = await tx.lock_cards(["a"], wait=True)
            again = await redeliver(self.store, "a")
            if (again.woken or again.members) and card.suspect_at is None:
                self.called = self.refused = False  # WeChat said in so many words that it does not show it

    async def look(self, claimed: Claimed) -> None:
        """Plan, call, and whatever may become of it."""
        plan = plan_look(claimed, self.rules)
        if not plan.calls:
            await settle(self.store, [Look(claimed, left_out=plan.left_out)], self.rules)
            return
        call, card = plan.calls[0], claimed.card
        if plan.left_out and not self.called:
            own_time = claimed.now >= card.expires_at - self.rules.own
            assert self.refused or own_time, f"{plan.left_out} are left out untried"
        self.after += self.called and bool(claimed.owed)
        assert call.target_state == 3 or not self.called, f"{call} after the end was called"
        duration = int(self.chance.choice((0.05, 9)) * SECOND)
        self.now += duration
        look = Look(
            claimed,
            call,
            more=len(plan.calls) > 1,
            left_out=plan.left_out,
            sent=True,
            duration=duration,
            jitter=self.chance.random(),
        )
        await self.settle(look, call)

    async def settle(self, look: Look, call: Call) -> None:
        fate = self.chance.choice((*ANSWERS, "illegal", "given back", "dies", "late"))
        if call.target_state == 3 and fate not in (*NEVER_ARRIVED, "given back"):
            self.called = True
        if fate in FAILURES or fate in ("illegal", "late"):
            self.refused |= look.claimed.card.state == "ended"
        if isinstance(fate, Verdict):
            await settle(self.store, [msgspec.structs.replace(look, verdict=fate)], self.rules)
        elif fate == "illegal":
            refused = msgspec.structs.replace(look, verdict=Verdict.rejected, errcode=ILLEGAL_STATE)
            await settle(self.store, [refused], self.rules)
        elif fate == "given back":
            await settle(self.store, [msgspec.structs.replace(look, sent=False)], self.rules)
        elif fate == "late":
            heard = self.chance.choice((Verdict.ok, Verdict.unknown))
            self.late.append(msgspec.structs.replace(look, verdict=heard))


@pytest.mark.parametrize("first", range(0, 1_000, 250))
async def test_nothing_is_sent_after_an_end_that_was_called(first: int) -> None:
    """Not by a retry, the next holder, a late settling, nor by redelivering while there is a doubt.

    And nobody is left out before a call has failed since the end was known, but in the end's own time.
    """
    after = 0
    for seed in range(first, first + 250):
        life = Life(seed)
        await life.live()
        after += life.after
    assert after, "no look found members owed after a called end: nothing was tried"
