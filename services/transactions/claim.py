"""A dispatcher takes cards that are due, with a lease and a fence (design.md §6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from services.store.ports import Store, Tx
from services.store.rows import Due, Writes
from services.transactions.steps import follow
from statemachine import delivery
from statemachine.card import DeliveryRules
from statemachine.gate import Gate, Passage, as_believed, probed, room, wants_probe
from statemachine.states import IllegalTransition
from statemachine.step import Claimed


class Claims(msgspec.Struct):
    """`cards` in hand. `found`: how many were due and let in, of which some needed no call. `next_in`: µs
    until the next one is due or a gate opens; None: not known, there may be more now. `gates`: what was seen.
    `postponed`: activity_id → why its card could not be claimed, which is a bug.
    """

    cards: list[Claimed] = msgspec.field(default_factory=list)
    found: int = 0
    next_in: int | None = None
    gates: dict[str, Gate] = msgspec.field(default_factory=dict)
    postponed: dict[str, str] = msgspec.field(default_factory=dict)

    def filled(self, rooms: Mapping[str, int], narrow: int) -> bool:
        """Whether an app may have more that is due than there was room for."""
        taken = Counter(claimed.card.appid for claimed in self.cards)
        return any(
            taken[appid] >= room(self.gates.get(appid) or Gate(appid), width, narrow)
            for appid, width in rooms.items()
        )


async def claim(
    store: Store, rooms: Mapping[str, int], *, holder: str, limit: int, rules: DeliveryRules, narrow: int = 4
) -> Claims:
    """Take up to `limit` cards that are due, of each app as many as `rooms` says, in one transaction.

    Locks: the cards, skipping locked ones; then the gates that are to be probed. The members owed are read
    after the cards are locked, so that nobody whom the revision counts is missing. What a call may make
    WeChat show is written before it is made.
    """
    claims, out = Claims(), Writes()
    open_rooms = {appid: width for appid, width in rooms.items() if width > 0}
    if not open_rooms:
        return claims
    async with store.transaction() as tx:
        due = await tx.claim_due(open_rooms, limit, narrow)
        claims.gates = due.gates
        if due.cards:
            passages = await _passages(tx, due, rules, out)
            cards = [card for card in due.cards if card.appid in passages]
            claims.found = len(cards)
            owed = await tx.owed([card.activity_id for card in cards])
            for card in cards:
                try:
                    step = delivery.claim(
                        card,
                        owed.get(card.activity_id, ()),
                        due.now,
                        holder=holder,
                        rules=rules,
                        passage=passages[card.appid],
                    )
                except IllegalTransition as error:
                    step = delivery.postpone(card, due.now, rules)
                    claims.postponed[card.activity_id] = str(error)
                out.cards.append(step.card)
                follow(out, step, due.now)
                if step.claimed is not None:
                    claims.cards.append(step.claimed)
            probing = {claimed.card.appid for claimed in claims.cards}
            out.gates = [gate for gate in out.gates if gate.appid in probing]  # the others make no call
            await tx.write(out)
        if claims.found < limit:
            claims.next_in = await tx.next_attempt(sorted(open_rooms))
    return claims


async def _passages(tx: Tx, due: Due, rules: DeliveryRules, out: Writes) -> dict[str, Passage]:
    """What each app's gate lets through. One claim of all processes gets to probe a gate."""
    passages = {
        appid: Passage(gate.generation, gate.reason)
        for appid, gate in due.gates.items()
        if not wants_probe(as_believed(gate, due.now, rules.longest_closing), due.now)
    }
    doubtful = sorted(due.gates.keys() - passages.keys())
    for appid, stored in (await tx.lock_gates(doubtful, wait=False)).items():
        gate = as_believed(stored, due.now, rules.longest_closing)
        if wants_probe(gate, due.now):
            out.gates.append(probed(gate, due.now, rules.lease))
            passages[appid] = Passage(gate.generation, gate.reason, probe=gate.closed_until)
    return passages
