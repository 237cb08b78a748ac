"""One person erased, what operators did, and their jobs, in the dict store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from services.store.operators import Action, Filter, Job, Kind, Surveyed
from services.store.persons import Alias, PlacedParked, Tally
from services.store.rows import SKIPPED, InboxKey, OutboxRow, ParkedRow
from statemachine.card import FINAL
from statemachine.plan import END
from tests.verification.dict_store.tables import Row, Tables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Hashable


class PersonsTx:
    """Implements `services.store.persons.PersonsTx` and `services.store.operators.OperatorsTx`; what it does
    is kept back until the commit."""

    _tables: Tables
    _now: Callable[[], int]

    def __init__(self) -> None:
        super().__init__()
        self._later: list[Callable[[], object]] = []
        self._noted: list[Action] = []

    if TYPE_CHECKING:

        def _step(self) -> Awaitable[None]: ...

        def _lock(self, key: Hashable) -> Awaitable[None]: ...

    async def note(self, actions: Sequence[Action]) -> None:
        await self._step()
        self._noted += actions

    async def begin_job(self, job: Job) -> None:
        await self._step()
        now = self._now()
        made = msgspec.structs.replace(job, begun_at=now, moved_at=now)
        self._later.append(lambda: self._tables.jobs_kept.setdefault(job.id, made))

    async def lock_job(self, name: str) -> Job | None:
        await self._step()
        if name not in self._tables.jobs_kept:
            return None
        await self._lock(("job", name))
        return msgspec.structs.replace(self._tables.jobs_kept[name])

    async def move_job(self, job: Job) -> None:
        await self._step()
        moved = msgspec.structs.replace(job, moved_at=self._now())
        self._later.append(lambda: self._tables.jobs_kept.update({job.id: moved}))

    async def forget_members(
        self, activity_ids: Sequence[str], names: Collection[str]
    ) -> list[tuple[str, str]]:
        await self._step()
        gone = []
        for activity_id in activity_ids:
            members = self._tables.rows[activity_id].members
            for name in names & members.keys():
                gone.append((activity_id, members[name].state))
                self._later.append(partial(members.pop, name, None))
        return gone

    async def tally(self, tallies: Sequence[Tally]) -> None:
        await self._step()
        self._later += [partial(self._tables.tally, each) for each in tallies]

    async def forget_publishers(self, activity_ids: Sequence[str], names: Collection[str]) -> int:
        await self._step()
        details = [self._tables.rows[each].details for each in activity_ids]
        theirs = [each for each in details if each.get("publisher") in names]
        self._later += [partial(each.update, publisher=None) for each in theirs]
        return len(theirs)

    async def rewrite_parked(self, row: ParkedRow) -> None:
        await self._step()
        key = InboxKey(row.source, row.id)
        self._later.append(lambda: self._tables.parked.__setitem__(key, row))

    async def rewrite_outbox(self, seq: int, body: str) -> None:
        await self._step()
        rows = self._tables.outbox_rows
        if seq in rows:
            self._later.append(lambda: rows.update({seq: msgspec.structs.replace(rows[seq], body=body)}))

    async def drop_outbox(self, seq: int) -> None:
        await self._step()
        self._later.append(lambda: self._tables.outbox_rows.pop(seq, None))

    async def forget_bindings(self, names: Collection[str]) -> int:
        await self._step()
        rows = self._tables.bindings
        return self._drop(
            rows, [key for key, each in rows.items() if {each.openid, each.group_openid} & set(names)]
        )

    async def forget_unbound(self, names: Collection[str]) -> int:
        await self._step()
        rows = self._tables.unbound_rows
        return self._drop(rows, [key for key, (_, each) in rows.items() if each.openid in names])

    async def forget_sessions(self, names: Collection[str]) -> int:
        await self._step()
        rows = self._tables.sessions
        return self._drop(rows, [key for key, (each, _) in rows.items() if each.openid in names])

    async def forget_requests(self, names: Collection[str]) -> int:
        await self._step()
        rows, quoted = self._tables.requests, [msgspec.json.encode(name).decode() for name in names]
        found = [key for key, each in rows.items() if any(name in each.row.body for name in quoted)]
        return self._drop(rows, found)

    async def forget_answers(
        self, after: int, until: int, names: Collection[str], without: Callable[[str], str]
    ) -> int:
        await self._step()
        return self._retell([(each, "errmsg") for each in self._tables.log[after:until]], without)

    async def forget_texts(self, names: Collection[str], without: Callable[[str], str]) -> int:
        await self._step()
        tables = self._tables
        texts: list[tuple[Any, str]] = [(each, "errmsg") for each in tables.gates.values()]
        texts += [(each, "why") for each in tables.jobs_kept.values()]
        noted = [
            msgspec.structs.replace(each, why=without(each.why), said=without(each.said))
            for each in tables.noted
        ]
        changed = [(a.why != b.why) + (a.said != b.said) for a, b in zip(tables.noted, noted, strict=True)]
        self._later.append(lambda: tables.noted.__setitem__(slice(len(noted)), noted))
        return sum(changed) + self._retell(texts, without)

    def _retell(self, texts: Sequence[tuple[Any, str]], without: Callable[[str], str]) -> int:
        found = [(each, name) for each, name in texts if without(getattr(each, name)) != getattr(each, name)]
        self._later += [partial(setattr, each, name, without(getattr(each, name))) for each, name in found]
        return len(found)

    def _drop(self, rows: dict[Any, Any], keys: Sequence[Any]) -> int:
        self._later += [partial(rows.pop, key, None) for key in keys]
        return len(keys)

    def commit_persons(self, now: int) -> None:
        """It becomes true."""
        for each in self._later:
            each()
        self._tables.noted += [msgspec.structs.replace(each, at=now) for each in self._noted]


class PersonsReads(Tables):
    """Implements `services.store.persons.PersonsStore` and `services.store.operators.OperatorsStore`."""

    async def known_as(self, names: Collection[str]) -> list[Alias]:
        aliases = {Alias(each.openid, each.group_openid) for each in self.bindings.values()}
        return [each for each in aliases if set(each) & set(names)]

    async def activities_with(
        self, names: Collection[str], after: str, limit: int
    ) -> tuple[list[str], str | None]:
        wanted, page = set(names), sorted(name for name in self.rows if name > after)[:limit]
        rows = [(name, self.rows[name]) for name in page]
        found = [
            name
            for name, row in rows
            if wanted & {*row.members, *row.card.progress_members, row.details.get("publisher")}
        ]
        return found, page[-1] if len(page) == limit else None

    async def answers_until(self, after: int, limit: int) -> int | None:
        return min(len(self.log), after + limit) if len(self.log) > after else None

    async def parked_after(self, place: int, limit: int) -> list[PlacedParked]:
        rows = [(self.places.setdefault(key, len(self.places) + 1), row) for key, row in self.parked.items()]
        return [PlacedParked(at, row) for at, row in rows if at > place][:limit]

    async def outbox_after(self, seq: int, limit: int) -> list[OutboxRow]:
        return [row for at, row in self.outbox_rows.items() if at > seq][:limit]

    async def actions(self, limit: int, appids: Collection[str] | None = None) -> list[Action]:
        found = [each for each in reversed(self.noted) if appids is None or each.appid in appids]
        return found[:limit]

    async def jobs(self, limit: int) -> list[Job]:
        return [msgspec.structs.replace(each) for each in reversed(self.jobs_kept.values())][:limit]

    async def survey(self, kind: Kind, wanted: Filter, after: str, limit: int) -> Surveyed:
        page = sorted(name for name in self.rows if name > after)[:limit]
        rows = [(name, self.rows[name]) for name in page]
        found = [(name, row.card.appid) for name, row in rows if self._matches(kind, wanted, row)]
        return Surveyed(tuple(found), page[-1] if len(page) == limit else None)

    def _matches(self, kind: Kind, wanted: Filter, row: Row) -> bool:
        opened_at = row.details.get("opened_at") or -1
        room = row.room
        if (
            row.card.appid not in wanted.appids
            or not wanted.opened_after <= opened_at < wanted.opened_before
            or (wanted.room and (room is None or room.room_id != wanted.room))
        ):
            return False
        if kind == "close":
            return row.activity.state in ("open", "nearing")
        verdict = row.card.verdict
        if not row.activity.state or row.activity.expires_at <= self.clock() or verdict in FINAL:
            return False
        given_up = verdict and row.card.settled >= row.activity.revision
        skipped = any(each.delivered == SKIPPED for each in row.members.values()) and row.card.may_show != END
        return bool((given_up and wanted.verdict in ("", verdict)) or (skipped and not wanted.verdict))
