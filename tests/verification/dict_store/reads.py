"""The dict store's reads and upkeep: what needs no lock of an activity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from services.store.ports import Backlog
from services.store.rows import (
    ANY,
    PAGE_SIZE,
    SHARDS,
    SHOWN_ATTEMPTS,
    SKIPPED,
    Attempt,
    InboxKey,
    OpenedActivity,
    OutboxRow,
    Parked,
    Seen,
)
from services.store.sql import count_members
from services.store.upkeep import ANNOUNCED_AGE, UNOPENED_AGE, few_people, is_held
from statemachine.gate import Gate, opened, saves
from statemachine.states import ENDED
from tests.verification.dict_store.pages import Paged
from tests.verification.dict_store.persons import PersonsReads
from tests.verification.dict_store.pulse import Pulse
from tests.verification.dict_store.sessions import SessionsReads
from tests.verification.dict_store.tables import copied


class Reads(Paged, PersonsReads, Pulse, SessionsReads):
    """Every read of `services.store.ports.Store`, and the housekeeping, over the tables."""

    async def next_due(self) -> int | None:
        due = [row.due_at for row in self.rows.values() if row.due_at is not None]
        return min(due) - self.clock() if due else None

    async def backlog(self) -> Backlog:
        now = self.clock()
        rows = self.rows.values()
        behind = [row.card.behind_since for row in rows if row.card.behind_since is not None]
        parked = [row.parked_at for row in self.parked.values()]
        outbox = [row.created_at for row in self.outbox_rows.values()]
        due = [row.due_at for row in rows if row.due_at is not None and row.due_at <= now]
        unbound = [since for since, _ in self.unbound_rows.values()]
        numbers: list[int] = []
        for times, aged in (
            (behind, behind),
            (parked, parked),
            (outbox, outbox[:1]),
            (due, due),
            (unbound, unbound),
        ):
            numbers += [min(len(times), 10_001), now - min(aged, default=now)]
        bindings = sum(bool(each.group_openid) for each in self.bindings.values())
        numbers.append(min(bindings, 10_001))
        let_in = {
            each.appid: saves(each, now) for each in self.gates.values() if not self.is_closed(each, now)
        }
        claimable = [
            row.attempt_at
            for row in rows
            if row.attempt_at is not None and row.activity.expires_at > now
            if row.card.appid in let_in and (row.ending or not let_in[row.card.appid])
        ]
        numbers.append(max(0, now - min(claimable, default=now)))
        return Backlog(*numbers)

    async def totals(self) -> tuple[dict[str, int], int, int, int]:
        pending = sum(max(0, row.activity.revision - row.card.settled) for row in self.rows.values())
        return dict(self.ledger), pending, len(self.parked), len(self.unbound_rows)

    async def lease_shards(self, owner: str, lease: int) -> list[int]:
        now = self.clock()
        self.relays[owner] = now + lease
        self.relays = {name: until for name, until in self.relays.items() if is_held(until - now, lease)}
        share = -(-SHARDS // len(self.relays))
        owners = {
            shard: who if is_held(until - now, lease) else "" for shard, (who, until) in self.leases.items()
        }
        mine = [shard for shard, who in owners.items() if who == owner][:share]
        free = [shard for shard, who in owners.items() if not who]
        mine = sorted(mine + free[: share - len(mine)])
        for shard, who in owners.items():
            if shard in mine:
                self.leases[shard] = (owner, now + lease)
            elif who == owner:
                self.leases[shard] = ("", 0)
        return mine

    async def release_shards(self, owner: str) -> None:
        self.relays.pop(owner, None)
        self.leases = {
            shard: ("", 0) if who == owner else (who, at) for shard, (who, at) in self.leases.items()
        }

    async def outbox(self, shards: Sequence[int], limit: int) -> list[OutboxRow]:
        wanted = set(shards)
        page: list[OutboxRow] = []
        size = 0
        for row in self.outbox_rows.values():
            if len(page) == limit or size >= PAGE_SIZE:
                break
            if row.shard in wanted:
                page.append(row)
                size += len(row.body)
        return page

    async def delete_outbox(self, seqs: Sequence[int]) -> None:
        for seq in seqs:
            self.outbox_rows.pop(seq, None)

    async def open_gates(self, appids: Sequence[str], reason: str | None) -> list[str]:
        known = (self.gates[appid] for appid in sorted(appids) if appid in self.gates)
        closed = [gate.appid for gate in known if gate.reason and reason in (None, gate.reason)]
        for appid in closed:
            self.put_gate(opened(self.gates[appid]))
        return closed

    async def save_quota(self, appid: str, until: int) -> bool:
        gate = self.gates.get(appid)
        if gate is None or gate.saving_until == until:
            return False
        self.gates[appid] = msgspec.structs.replace(gate, saving_until=until)
        return True

    async def all_gates(self) -> list[Gate]:
        return [msgspec.structs.replace(self.gates[appid]) for appid in sorted(self.gates)]

    async def gate(self, appid: str) -> tuple[Gate, int]:
        gate = self.gates.get(appid) or Gate(appid)
        return msgspec.structs.replace(gate), self.clock()

    async def outcomes(self, keys: Sequence[InboxKey]) -> dict[InboxKey, str]:
        return {key: self.inbox[key].outcome for key in keys if key in self.inbox}

    async def newest_event(self) -> int | None:
        return max((each.received_at for each in self.inbox.values()), default=None)

    async def prune(
        self, *, inbox: int, attempts: int, activities: int, bindings: int = ANY, limit: int
    ) -> dict[str, int]:
        now = self.clock()
        old_keys = [
            key
            for key, entry in sorted(self.inbox.items(), key=lambda each: each[1].received_at)
            if entry.received_at < now - inbox
            and entry.outcome != "parked"
            and ("inbox", key) not in self.locks.holder
        ][:limit]
        for key in old_keys:
            del self.inbox[key]
        aged = sorted((each.at, n) for n, each in enumerate(self.log) if each.at < now - attempts)
        gone = {n for _, n in aged[:limit]}
        self.log = [each for n, each in enumerate(self.log) if n not in gone]
        unlocked = [row for name, row in self.rows.items() if ("activity", name) not in self.locks.holder]
        unlocked.sort(key=lambda row: (row.activity.expires_at, row.seen_at))
        old = [
            row
            for row in unlocked
            if row.activity.state == ENDED and row.activity.expires_at < now - activities
        ]
        waits = Counter(row.activity_id for _, row in self.unbound_rows.values())
        people = [
            (each.activity_id, 0, max(each.participants, each.done) + waits[each.activity_id])
            for each in (row.activity for row in old[:limit])
        ]
        few = few_people(people, limit)
        old = old[: len(few)]
        members = sum(len(row.members) for row in old)
        for row in old:
            self.ledger["revisions.expired"] += max(0, row.activity.revision - row.card.settled)
            del self.rows[row.activity.activity_id]
        deleted = few.keys()
        self.log = [each for each in self.log if each.activity_id not in deleted]
        waiting = {row.activity_id for row in self.parked.values()}
        unopened = [
            row
            for row in unlocked
            if not row.activity.state
            and row.seen_at < now - (ANNOUNCED_AGE if row.card.appid else UNOPENED_AGE)
            and row.activity.activity_id not in waiting
        ][:limit]
        for row in unopened:
            del self.rows[row.activity.activity_id]
        return {
            "inbox": len(old_keys),
            "attempts": len(gone),
            "bindings": self.prune_bindings(now - bindings, limit),
            "unbound": self.drop_unbound([*deleted]),
            "requests": self.prune_requests(limit),
            "sessions": self.prune_sessions(limit),
            "members": members,
            "activities": len(deleted),
            "unopened": len(unopened),
        }

    async def show(self, activity_id: str) -> Seen | None:
        row = self.rows.get(activity_id)
        if row is None:
            return None
        kinds = Counter((each.state, each.late, each.delivered) for each in row.members.values())
        skipped = sorted(who for who, each in row.members.items() if each.delivered == SKIPPED)
        parked = [each.parked_at for each in self.parked.values() if each.activity_id == activity_id]
        activity, card = copied(row)
        return Seen(
            activity=activity,
            card=card,
            due_at=row.due_at,
            title=row.details.get("title", ""),
            publisher=row.details.get("publisher"),
            opengid=row.details.get("opengid"),
            open_single_roomid=row.details.get("open_single_roomid"),
            opened_at=row.details.get("opened_at"),
            seen_at=row.seen_at,
            members=count_members(((*kind, count) for kind, count in kinds.items()), tuple(skipped[:20])),
            gate=self.gates.get(row.card.appid),
            parked=Parked(len(parked), min(parked, default=None)),
            attempts=tuple(await self.attempts(activity_id, SHOWN_ATTEMPTS)),
            now=self.clock(),
        )

    async def openings(self, limit: int, activity_id: str | None = None) -> list[OpenedActivity]:
        rows = [row for row in self.rows.values() if row.details.get("opened_at") is not None]
        rows.sort(key=lambda row: (-row.details["opened_at"], row.activity.activity_id))
        names = [row.activity.activity_id for row in rows]
        return [
            OpenedActivity(
                activity_id=name,
                appid=row.card.appid,
                template=row.card.template,
                version=row.card.version,
                title=row.details["title"],
                publisher=row.details["publisher"],
                choose=row.activity.choose,
                expires_at=row.activity.expires_at,
                listed=tuple(sorted(row.members)) if row.activity.choose == "listed" else (),
            )
            for name, row in zip(names, rows, strict=True)
            if activity_id in (None, name)
        ][:limit]

    async def attempts(self, activity_id: str, limit: int) -> list[Attempt]:
        return [each for each in reversed(self.log) if each.activity_id == activity_id][:limit]
