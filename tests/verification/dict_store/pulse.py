"""The dict store's reads for the console."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from services.store.pulse import CallCount, DoneMember, Lately, Standing, Unpublished, WaitingEvent
from services.store.rows import Attempt, shard_of
from services.store.sql_pulse import OUTBOX_READ
from statemachine.card import Card, not_in_sync_since
from statemachine.states import DONE
from tests.verification.dict_store.tables import Tables, copied


class Pulse(Tables):
    """Implements `services.store.pulse.PulseStore` over the tables."""

    async def standings(self, limit: int) -> tuple[list[Standing], int]:
        cards: defaultdict[str, list[tuple[int, str, Card]]] = defaultdict(list)
        for name, row in self.rows.items():
            card = copied(row).card
            since = not_in_sync_since(card)
            if since is not None:
                cards[card.appid].append((since, name, card))
        found = []
        for appid in sorted(self.gates):
            listed = [card for *_, card in sorted(cards[appid], key=lambda each: each[:2])[:limit]]
            behind = [card.behind_since for card in listed if card.behind_since is not None]
            gate = msgspec.structs.replace(self.gates[appid])
            found.append(Standing(gate, len(listed), min(behind, default=None)))
        return found, self.clock() if found else 0

    async def calls_between(self, since: int, until: int, limit: int) -> list[CallCount]:
        rows = sorted((each for each in self.log if since <= each.at < until), key=lambda each: each.at)
        by_app: defaultdict[str, list[Attempt]] = defaultdict(list)
        for each in rows[:limit]:
            if row := self.rows.get(each.activity_id):
                by_app[row.card.appid].append(each)
        return [
            CallCount(
                appid,
                len(calls),
                sum(each.outcome == "ok" for each in calls),
                max(each.duration for each in calls),
            )
            for appid, calls in sorted(by_app.items())
        ]

    async def counters(self) -> dict[str, int]:
        return dict(self.ledger)

    async def lately(self, activity_id: str, limit: int) -> Lately:
        row = self.rows.get(activity_id)
        members = row.members.items() if row else ()
        done = [DoneMember(who, each.done_at or 0, each.late) for who, each in members if each.state == DONE]
        done.sort(key=lambda each: (-each.done_at, each.group_openid))
        parked = [
            WaitingEvent(each.source, each.id, each.parked_at)
            for each in self.parked.values()
            if each.activity_id == activity_id
        ]
        shard = [each for each in self.outbox_rows.values() if each.shard == shard_of(activity_id)]
        outbox = [
            Unpublished(each.topic, each.id, each.created_at)
            for each in shard[:OUTBOX_READ]
            if each.activity_id == activity_id
        ]
        return Lately(tuple(done[:limit]), tuple(parked[::-1][:limit]), tuple(outbox[::-1][:limit]))
