"""What must have come true in the end: every card, the ledger, the topics, and what is forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec

from contracts.changes import CardDelivered, CardExpiring, Change, decode_change
from services.store.rows import CONFIRMED, SKIPPED
from services.transactions.ledger import read_ledger
from statemachine.card import CONTINUED, EXPIRED, Card
from tests.verification.judging.judge import (
    Shown,
    fates_of,
    first_occurrences,
    judge_card,
    judge_changes,
    judge_ledger,
    judge_outcomes,
)
from tests.verification.model.facts import Expected
from tests.verification.sim.judges import insist
from tests.verification.sim.script import OLD

if TYPE_CHECKING:
    from tests.verification.sim.world import World


def none(wrong: Iterable[str]) -> None:
    """Raise `Broken` for the first of these."""
    for what in wrong:
        insist(False, what)


class Endings:
    """`behind` says what has not come true yet; `final` whether what has is right."""

    def __init__(self, world: World) -> None:
        self.world, self.judges, self.reference = world, world.judges, world.judges.reference
        self._changes: list[Change] = []

    def behind(self) -> str:
        """What has not come true yet; empty when all is quiet."""
        world = self.world
        missing = [key.id for key in world.events if key not in self.judges.admitted]
        if missing:
            return f"events not taken in: {' '.join(missing)}"
        if asked := [*world.pages.unanswered, *world.callers.unanswered]:
            return f"a gateway has not answered {asked[0]}"
        self.reference.fire(world.wall())
        for name in self.reference.lives:
            expected, card = self.reference.expected(name), self.judges.cards.get(name)
            settled = card.settled if card else min(expected.revision, 1)
            if settled != expected.revision:
                return f"{name} is at revision {settled} of {expected.revision}"
            if card and (card.lease_until or (card.doubt_at is not None and not card.verdict)):
                return f"{name} is {'held' if card.lease_until else 'doubted'}"
            warned = any(isinstance(each, CardExpiring) for each in expected.published)
            if warned and not any(key == f"{name}:expiring" for _, key, _ in self.judges.outbox):
                return f"nobody is told that {name} is about to expire"
        for sent in self.judges.calls:
            if not (sent.settled or sent.caller.process.dead):  # however late: its caller will tell of it
                return f"{sent.caller.name} still calls {sent.what}"
        more = world.published()[len(self._changes) :]
        self._changes += [decode_change(message.value or b"") for message in more]
        published = {change.id for change in self._changes}
        waiting = [each for _, each, _ in self.judges.outbox if each not in published]
        if waiting:
            return f"changes not published: {' '.join(waiting)}"
        for place, log in world.broker.logs.items():
            if world.broker.committed[place] < len(log):
                return f"offsets of partition {place} not committed"
        return ""

    async def final(self) -> None:
        """All is quiet: is it also right? Raises `Broken`."""
        lives = {name: self.reference.expected(name) for name in self.reference.lives}
        ledger = msgspec.to_builtins(await read_ledger(self.world.store))
        fates = fates_of(lives.values()) + Counter(dead=self.world.malformed_taken)
        none(judge_ledger(ledger, fates, sum(each.revision for each in lives.values())))
        *_, unbound = await self.world.store.totals()
        waiting = sum(len(each.waiting) for each in lives.values())
        insist(unbound == waiting, f"{unbound} openids wait for a binding, should be {waiting}")
        changes = self._order()
        for name, expected in lives.items():
            none(f"{name}: {what}" for what in judge_outcomes(self.judges.outcomes, expected.outcomes))
            none(f"{name}: {what}" for what in judge_changes(changes.get(name, ()), expected))
            self._told(name, changes.get(name, ()))
        for name in sorted(self.reference.lives):
            await (self._forgotten() if name == OLD else self._card(name))
        self._repeats()

    def given_up(self) -> list[str]:
        """The activities of which something was: what a person would try again."""
        skipped = {name for (name, _), how in self.judges.marks.items() if how == SKIPPED}
        return sorted(skipped | {name for name, card in self.judges.cards.items() if card.verdict})

    def _told(self, name: str, changes: Iterable[Change]) -> None:
        """Whom WeChat confirmed is told as delivered just once."""
        delivered = [each.data for each in changes if isinstance(each.data, CardDelivered)]
        told = Counter(member for each in delivered for member in each.members)
        confirmed = Counter(
            member for (of, member), how in self.judges.marks.items() if (of, how) == (name, CONFIRMED)
        )
        insist(told == confirmed, f"{name}: delivered are {dict(confirmed)}, told {dict(told)}")

    async def _forgotten(self) -> None:
        """What was over weeks ago: retention has deleted it, and the ledger balances all the same."""
        store, events = self.world.store, self.world.events
        old = [key for key, event in events.items() if event.activity_id == OLD]
        insist(await store.show(OLD) is None, "an activity of weeks ago is still there")
        insist(not await store.outcomes(old), "the inbox still knows events of weeks ago")

    def _order(self) -> dict[str, list[Change]]:
        """By activity: first occurrences, in the order of the outbox."""
        values = [message.value or b"" for message in self.world.published()]
        changes, wrong = first_occurrences(zip(self._changes, values, strict=False))
        none(wrong)
        order: dict[str, list[Change]] = {}
        for change in changes:
            order.setdefault(change.activity_id, []).append(change)
        wanted: dict[str, list[str]] = {}
        for name, key in dict.fromkeys((name, key) for name, key, _ in self.judges.outbox):
            wanted.setdefault(name, []).append(key)
        found = {name: [change.id for change in of] for name, of in order.items()}
        insist(found == wanted, f"changes out of order: {found} for {wanted}")
        return order

    async def _card(self, name: str) -> None:
        expected = self.reference.expected(name)
        async with self.world.store.transaction() as tx:
            cards = await tx.lock_cards([name])
            skipped = set((await tx.skipped([name])).get(name, ()))
        if not expected.state:
            insist(not cards, f"{name} is open in the store, and should not be")
            return
        (card,) = cards
        wanted = expected.state, expected.revision
        insist((card.state, card.revision) == wanted, f"{name} is {card.state} at {card.revision}: {wanted}")
        for member in skipped if card.verdict != CONTINUED else ():
            insist((name, member) in self.judges.left_out, f"{member} of {name} was left out in silence")
        if card.verdict == CONTINUED:
            told = self.world.model.cards[name].posts.keys() - expected.done
            insist(not told, f"{name} shows {sorted(told)} as done")
        elif card.verdict != EXPIRED:
            self._shows(name, card, expected, skipped)

    def _shows(self, name: str, card: Card, expected: Expected, skipped: set[str]) -> None:
        """What people see."""
        lowest = 2 if card.cannot_lower else 1
        seen: Shown = self.world.model.cards[name]
        if name in self.judges.unrepaired:
            seen = SimpleNamespace(target_state=max(expected.target_state, lowest), posts=seen.posts)
        none(f"{name}: {what}" for what in judge_card(seen, expected, skipped=skipped, lowest=lowest))
        insist(not skipped or card.shown == 3, f"{sorted(skipped)} of {name} are skipped though mended")

    def _repeats(self) -> None:
        """A member is posted again only for a call whose result never reached the store."""
        for name, card in self.world.model.cards.items():
            doubtful = Counter(
                member
                for sent in self.judges.calls
                if sent.activity_id == name and not sent.confirmed
                for member in sent.members * sent.times
            )
            for member, posts in card.posts.items():
                allowed = doubtful[member] + 1
                insist(posts <= allowed, f"{member} of {name} was posted {posts} times, not {allowed}")
