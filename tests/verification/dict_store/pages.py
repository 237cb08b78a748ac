"""The dict store's reads in pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from services.store.pages import ListedMember, MembersPage, MissingPage, OutOfSync, Owner, Place
from statemachine.card import not_in_sync_since
from statemachine.gate import Gate
from statemachine.states import DONE, PENDING
from tests.verification.dict_store.rooms import RoomsReads
from tests.verification.dict_store.tables import Row, copied


class Paged(RoomsReads):
    """Implements `services.store.pages.Pages` over the tables."""

    def _owned(self, activity_id: str) -> Row | None:
        row = self.rows.get(activity_id)
        return row if row is not None and row.card.appid else None

    async def owner(self, activity_id: str) -> Owner | None:
        row = self._owned(activity_id)
        return Owner(row.card.appid, row.activity.state) if row else None

    async def members_page(self, activity_id: str, after: str, limit: int, state: str) -> MembersPage | None:
        row = self._owned(activity_id)
        if row is None:
            return None
        members = (
            ListedMember(name, each.state, each.late, each.done_at, each.delivered)
            for name, each in sorted(row.members.items())
            if name > after and state in ("", each.state)
        )
        return MembersPage(row.card.appid, tuple(members)[:limit])

    async def missing_page(self, activity_id: str, after: str, limit: int) -> MissingPage | None:
        row = self._owned(activity_id)
        if row is None:
            return None
        found: Iterable[str]
        if row.activity.choose == "listed":
            found = (name for name, each in row.members.items() if each.state == PENDING)
        else:
            done = {name for name, each in row.members.items() if each.state == DONE}
            bound = self._bound_in(*row.room) if row.room else []
            found = {each.group_openid for each in bound} - done
        names = sorted(name for name in found if name > after)[:limit]
        return MissingPage(row.card.appid, row.details.get("title", ""), row.card.template, tuple(names))

    async def out_of_sync(self, appids: Collection[str], after: Place | None, limit: int) -> OutOfSync:
        found = []
        for name, row in self.rows.items():
            card = copied(row).card
            since = not_in_sync_since(card)
            if card.appid in appids and since is not None:
                found.append((Place(since, name), card))
        found.sort(key=lambda each: each[0])
        cards = [card for place, card in found if after is None or place > after][:limit]
        return OutOfSync(
            tuple((card, self.gates.get(card.appid)) for card in cards), self.clock() if cards else 0
        )

    async def gates_of(self, appids: Collection[str]) -> tuple[list[Gate], int]:
        gates = [
            msgspec.structs.replace(self.gates[appid]) for appid in sorted(appids) if appid in self.gates
        ]
        return gates, self.clock() if gates else 0
