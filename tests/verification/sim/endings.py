"""What must have come true in the end: every card, the ledger, the topics, and what is forgotten."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from services.store.rows import SKIPPED
from services.transactions.ledger import read_ledger
from statemachine.card import EXPIRED, Card
from tests.verification.model.reference import Expected
from tests.verification.sim.judges import insist
from tests.verification.sim.script import OLD

if TYPE_CHECKING:
    from tests.verification.sim.world import World

CHANGE: Final = msgspec.json.Decoder(dict[str, Any])


class Endings:
    """`behind` says what has not come true yet; `final` whether what has is right."""

    def __init__(self, world: World) -> None:
        self.world, self.judges, self.reference = world, world.judges, world.judges.reference
        self._published: set[str] = set()
        self._seen = 0

    def behind(self) -> str:
        """What has not come true yet; empty when all is quiet."""
        world = self.world
        missing = [key.id for key in world.events if key not in self.judges.admitted]
        if missing:
            return f"events not taken in: {' '.join(missing)}"
        self.reference.fire(world.wall())
        for name in self.reference.lives:
            expected, card = self.reference.expected(name), self.judges.cards.get(name)
            settled, revision = card.settled if card else min(expected.revision, 1), self._revision(name)
            if revision != settled:
                return f"{name} is at revision {settled} of {revision}"
            if card and (card.lease_until or (card.doubt_at is not None and not card.verdict)):
                return f"{name} is {'held' if card.lease_until else 'doubted'}"
        for sent in self.judges.calls:
            if not (sent.settled or sent.caller.process.dead):  # however late: its caller will tell of it
                return f"{sent.caller.name} still calls {sent.what}"
        published = world.published()
        self._published.update(self._id(message.value) for message in published[self._seen :])
        self._seen = len(published)
        waiting = [each for _, each, _ in self.judges.outbox if each not in self._published]
        if waiting:
            return f"changes not published: {' '.join(waiting)}"
        for place, log in world.broker.logs.items():
            if world.broker.committed[place] < len(log):
                return f"offsets of partition {place} not committed"
        return ""

    @staticmethod
    def _id(value: bytes | None) -> str:
        return str(CHANGE.decode(value or b"{}")["id"])

    def _revision(self, name: str) -> int:
        """The last one: what happened, and what was raised so that it is told again."""
        return self.reference.expected(name).revision + self.judges.delivery.redelivered[name]

    async def final(self) -> None:
        """All is quiet: is it also right? Raises `Broken`."""
        ledger = await read_ledger(self.world.store)
        insist(ledger.balanced, f"the ledger does not balance: {ledger.problems}")
        insist(not ledger.revisions["pending"], "revisions are pending though all is quiet")
        self._ledger(ledger.events)
        self._order()
        for name in sorted(self.reference.lives):
            await (self._forgotten() if name == OLD else self._card(name))
        self._repeats()

    def given_up(self) -> list[str]:
        """The activities of which something was: what a person would try again."""
        skipped = {name for (name, _), how in self.judges.marks.items() if how == SKIPPED}
        return sorted(skipped | {name for name, card in self.judges.cards.items() if card.verdict})

    async def _forgotten(self) -> None:
        """What was over weeks ago: retention has deleted it, and the ledger balances all the same."""
        store, events = self.world.store, self.world.events
        old = [key for key, event in events.items() if event.activity_id == OLD]
        insist(await store.show(OLD) is None, "an activity of weeks ago is still there")
        insist(not await store.outcomes(old), "the inbox still knows events of weeks ago")

    def _ledger(self, events: dict[str, int]) -> None:
        outcomes: Counter[str] = Counter()
        for name in self.reference.lives:
            outcomes.update(kind for kind, _ in self.reference.expected(name).outcomes.values())
        outcomes["dead"] += self.world.malformed_taken
        found = {kind: events[kind] for kind in ("applied", "duplicate", "late", "refused", "dead", "parked")}
        wanted = {kind: outcomes[kind] for kind in found}
        insist(found == wanted, f"outcomes are {found}, should be {wanted}")

    def _order(self) -> None:
        """First occurrences in the order of the outbox, per activity."""
        seen: dict[str, list[str]] = {}
        for message in self.world.published():
            key, name = self._id(message.value), (message.key or b"").decode()
            order = seen.setdefault(name, [])
            if key not in order:
                order.append(key)
        for name, order in seen.items():
            wanted = list(dict.fromkeys(each for whose, each, _ in self.judges.outbox if whose == name))
            insist(order == wanted, f"changes of {name} out of order: {order} for {wanted}")

    async def _card(self, name: str) -> None:
        expected = self.reference.expected(name)
        async with self.world.store.transaction() as tx:
            cards = await tx.lock_cards([name])
            skipped = set((await tx.skipped([name])).get(name, ()))
        if not expected.state:
            insist(not cards, f"{name} is open in the store, and should not be")
            return
        (card,) = cards
        wanted = expected.state, self._revision(name)
        insist((card.state, card.revision) == wanted, f"{name} is {card.state} at {card.revision}: {wanted}")
        for member in skipped:
            insist((name, member) in self.judges.left_out, f"{member} of {name} was left out in silence")
        if card.verdict != EXPIRED:
            self._shows(name, card, expected, skipped)

    def _shows(self, name: str, card: Card, expected: Expected, skipped: set[str]) -> None:
        """What people see."""
        shown = self.world.model.cards[name]
        target = max(expected.target_state, 2) if card.cannot_lower else expected.target_state
        insist(shown.target_state == target, f"{name} shows {shown.target_state}, should show {target}")
        lacking = expected.done - shown.posts.keys() - skipped
        insist(not lacking, f"{name} does not show {sorted(lacking)} as done")
        wrong = shown.posts.keys() - expected.done
        insist(not wrong, f"{name} shows {sorted(wrong)} as done")
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
