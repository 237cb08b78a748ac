"""How a store ages: weeks of load on a clock that is moved, with pruning and, next to it, without.

`python -m benchmarks.aging [--weeks N] [--without-prune] [--database URL]` plays simulated days through
the services' verbs on PostgreSQL (one of its own, or databases of its own on the one named): activities
open, are joined, come near, end and expire; cards are claimed and settled, changes leave the outbox, and
old rows are pruned as the clock does it. Per week it prints rows, bytes, and how long a batch of events, a
claim and a step of pruning took. `--without-prune` plays the same, day by day in turn, on a second database
that forgets nothing until the end; then it tells how long catching up takes.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec

from contracts.records import Record
from contracts.times import SECOND, format_rfc3339
from contracts.wechat import Verdict
from scripts.engines import Postgres
from services.clock.clock import BATCH as STEP
from services.runtime.settings import Settings
from services.store.open import migrate, open_store
from services.store.ports import Store
from services.store.rows import SHARDS
from services.transactions.apply import apply
from services.transactions.arrivals import Arrival, read_arrival
from services.transactions.bury_parked import bury_parked
from services.transactions.claim import claim
from services.transactions.fire_due import fire_due
from services.transactions.ledger import read_ledger
from services.transactions.settle import settle
from statemachine.card import DeliveryRules
from statemachine.model import Rules
from statemachine.step import Result

START = 1_795_248_000 * SECOND
DAY = 86_400 * SECOND
ROUNDS = 4
"""How often a simulated day is looked at: events, timers, cards, outbox, pruning."""
TABLES = ("inbox", "activities", "members", "attempts", "outbox", "parked", "counters", "gates")
CLAIMED = 200
APPS = 5


@dataclass
class Week:
    """What one simulated week showed; times in seconds, each of one transaction."""

    rows: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    indexes: dict[str, int] = field(default_factory=dict)
    batches: list[float] = field(default_factory=list)
    claims: list[float] = field(default_factory=list)
    prunes: list[float] = field(default_factory=list)
    pruned: int = 0


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Add how long it took."""
    began = time.perf_counter()
    yield
    into.append(time.perf_counter() - began)


class Life:
    """One database that ages."""

    def __init__(self, name: str, url: str, options: argparse.Namespace, *, first: int = 0) -> None:
        self.name, self.url, self.options, self.first = name, url, options, first
        self.prunes = name != "kept"
        self.now, self.offset = START, 0
        self.weeks: list[Week] = []
        self.store: Store
        self.admin: asyncpg.Connection[Any]

    async def begin(self) -> None:
        """Tables, and a clock of our own."""
        await migrate(self.url)
        self.admin = await asyncpg.connect(self.url.replace("+asyncpg", ""))
        await self.admin.execute("CREATE TABLE clock (us bigint); INSERT INTO clock VALUES (0)")
        self.store = await open_store(self.url, now="(SELECT us FROM clock)")

    async def close(self) -> None:
        """Give everything back."""
        ledger = await read_ledger(self.store)
        if ledger.problems:
            raise SystemExit(f"{self.name}: the ledger does not balance: {ledger.problems}")
        await self.store.close()
        await self.admin.close()

    def _arrival(self, kind: str, activity: str, key: str, data: dict[str, Any]) -> Arrival:
        event = {
            "specversion": "1.0",
            "id": key,
            "source": "/aging",
            "type": f"livecard.{kind}",
            "subject": activity,
            "time": format_rfc3339(self.now),
            "data": data,
        }
        self.offset += 1
        return read_arrival(Record("activity.events", 0, self.offset, b"k", msgspec.json.encode(event)))

    def _events(self, day: int, part: int) -> list[Arrival]:
        """A part of a day: new activities, completions of those of today and yesterday, repeats."""
        found, opening = [], self.options.activities // ROUNDS
        life = {
            "appid": f"wx{day % APPS}",
            "template": "complete",
            "participants": [f"m{n}" for n in range(20)],
        }
        life |= {
            "deadline": format_rfc3339(self.now + DAY),
            "expires_at": format_rfc3339(self.now + 3 * DAY // 2),
        }
        for number in range(part * opening, (part + 1) * opening):
            name = f"d{day}-{number}"
            early = self._arrival("participant.completed", name, f"{name}-0", {"members": ["m0"]})
            found += [early] * (number % 10 == 0)  # before its opening
            found += [self._arrival("activity.opened", name, f"{name}-o", life), early]
        known = [f"d{day}-{number}" for number in range((part + 1) * opening)]
        known += [f"d{day - 1}-{number}" for number in range((part + 1) * opening, ROUNDS * opening)] * (
            day > self.first
        )
        for turn in range(1, 1 + self.options.members // ROUNDS):
            who = turn + part * (self.options.members // ROUNDS)
            found += [
                self._arrival("participant.completed", name, f"{name}-{who}-{day}", {"members": [f"m{who}"]})
                for name in known
            ]
        never = f"never-{day}-{part}"
        return [*found, self._arrival("participant.completed", never, never, {"members": ["m0"]})]

    async def day(self, day: int) -> None:
        """One simulated day."""
        for part in range(ROUNDS):
            self.now = START + day * DAY + part * DAY // ROUNDS
            await self.admin.execute("UPDATE clock SET us = $1", self.now)
            await self._housekeeping()
            events = self._events(day, part)
            for start in range(0, len(events), self.options.batch):
                with timed(self.weeks[-1].batches):
                    await apply(self.store, events[start : start + self.options.batch], Rules())
            await self._deliver()
            await self._relay()

    async def _housekeeping(self) -> None:
        while (await fire_due(self.store, STEP, Rules())).more:
            pass
        await bury_parked(self.store, 3600 * SECOND, STEP)
        if not self.prunes:
            return
        await self._prune()

    async def _prune(self) -> None:
        keep, week = self.options.keep * DAY, self.weeks[-1]
        while True:
            with timed(week.prunes):
                gone = await self.store.prune(inbox=keep, attempts=keep, activities=keep, limit=STEP)
            week.pruned += sum(gone.values())
            if max(gone.values()) < STEP // 2:
                return

    async def catch_up(self) -> None:
        """Prune what was left for weeks, and tell how long that took."""
        self.weeks.append(Week())
        await self._prune()
        week = self.weeks.pop()
        print(
            f"  caught up with {week.pruned:,} rows in {sum(week.prunes):.1f} s: {len(week.prunes)} steps, "
            f"median {median(week.prunes) * 1000:.1f} ms, longest {max(week.prunes) * 1000:.1f} ms"
        )

    async def _deliver(self) -> None:
        rules, rooms = DeliveryRules(coalesce=0), {f"wx{each}": CLAIMED for each in range(APPS)}
        while True:
            with timed(self.weeks[-1].claims):
                taken = await claim(self.store, rooms, holder="aging", limit=CLAIMED, rules=rules)
            if not taken.found:
                return
            results = [Result(each, Verdict.ok, sent=True, errcode=0) for each in taken.cards]
            await settle(self.store, results, rules)

    async def _relay(self) -> None:
        while page := await self.store.outbox(range(SHARDS), 1_000):
            await self.store.delete_outbox([row.seq for row in page])

    async def end_week(self, number: int) -> None:
        """What has become of the tables."""
        week = self.weeks[-1]
        for table in TABLES:
            week.rows[table] = await self.admin.fetchval(f"SELECT count(*) FROM {table}")
            week.bytes[table] = await self.admin.fetchval(f"SELECT pg_total_relation_size('{table}')")
        sizes = "SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes ORDER BY 1"
        week.indexes = dict(await self.admin.fetch(sizes))
        self._tell(number, week)

    def _tell(self, number: int, week: Week) -> None:
        step = f"{median(week.prunes) * 1000:6.1f}" if week.prunes else "     -"
        rows = " ".join(f"{week.rows[table]:>9,}" for table in TABLES[:6])
        size, batch, claimed = sum(week.bytes.values()) / 1e6, median(week.batches), median(week.claims)
        print(
            f"{self.name:>9} {number + 1:>4} {rows} {size:>7.1f} {batch * 1000:>7.1f} {claimed * 1000:>7.1f} "
            f"{step:>7} {week.pruned:>9,}",
            flush=True,
        )

    def report(self) -> None:
        """Tables and indexes week by week, and the ratios."""
        print(f"\n{self.name}: MB at the end of each week")
        for kind in ("bytes", "indexes"):
            names = getattr(self.weeks[0], kind)
            for name in names:
                sizes = [getattr(week, kind).get(name, 0) / 1e6 for week in self.weeks]
                if max(sizes) >= 0.05:
                    print(f"  {name:<26}" + "".join(f"{size:>8.2f}" for size in sizes))
        if len(self.weeks) < 3:
            return
        second, last = self.weeks[1], self.weeks[-1]
        for what in ("rows", "bytes"):
            before, after = (sum(getattr(week, what).values()) for week in (second, last))
            print(f"  {what}, last week ÷ second week: {after / before:.2f}")

    def compare(self, fresh: Life) -> None:
        """With a store that was made for the last week and met the same load, turn by turn: the machine
        may have been busier than in the weeks before."""
        mine, other = self.weeks[-1], fresh.weeks[-1]
        for what in ("batches", "claims"):
            old, new = median(getattr(mine, what)), median(getattr(other, what))
            print(f"  {what}, last week: {old * 1000:.1f} ms, ÷ those of a new store: {old / new:.2f}")


class Nursery:
    """Makes lives, each in a database of its own, and removes them."""

    def __init__(self, server: str, options: argparse.Namespace) -> None:
        self.server, self.options = server, options
        self.lives: list[Life] = []
        self._databases: list[str] = []

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self.server.replace("+asyncpg", ""))
        await connection.execute(statement)
        await connection.close()

    async def bear(self, name: str, first: int = 0) -> None:
        """One more."""
        database = f"aging_{name}_{time.time_ns()}"
        await self._run(f'CREATE DATABASE "{database}"')
        self._databases.append(database)
        url = urlsplit(self.server)._replace(path=f"/{database}").geturl()
        life = Life(name, url, self.options, first=first)
        await life.begin()
        self.lives.append(life)

    async def remove(self) -> None:
        """Every database."""
        for database in self._databases:
            await self._run(f'DROP DATABASE "{database}" WITH (FORCE)')


async def age(server: str, options: argparse.Namespace) -> None:
    """All lives, day by day in turn, so that they share whatever else the machine does."""
    nursery = Nursery(server, options)
    lives = nursery.lives
    try:
        await nursery.bear("pruned")
        if options.without_prune:
            await nursery.bear("kept")
        print(f"{options.activities} activities a day, kept for {options.keep} days after they expire")
        print(f"{'':>9} week " + " ".join(f"{table:>9}" for table in TABLES[:6]), end="")
        print("      MB   batch   claim   prune    pruned   (medians, ms a transaction)")
        for number in range(options.weeks):
            if number == options.weeks - 1:
                await nursery.bear("new", first=7 * number)
            for life in lives:
                life.weeks.append(Week())
            for day in range(7):
                for life in lives:
                    await life.day(number * 7 + day)
            for life in lives:
                await life.end_week(number)
        fresh = lives.pop()
        for life in lives:
            life.report()
            life.compare(fresh)
            if not life.prunes:
                await life.catch_up()
        for life in (*lives, fresh):
            await life.close()
    finally:
        await nursery.remove()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weeks", type=int, default=6)
    parser.add_argument("--activities", type=int, default=400, help="opened a simulated day")
    parser.add_argument("--members", type=int, default=12, help="who finish in each activity")
    parser.add_argument(
        "--keep", type=int, default=4, help="days that inbox, attempts and activities are kept"
    )
    parser.add_argument("--batch", type=int, default=Settings().batch)
    parser.add_argument(
        "--without-prune", action="store_true", help="and a second store that forgets nothing"
    )
    parser.add_argument("--database", help="a PostgreSQL that runs already; default: one of its own")
    options = parser.parse_args()
    if options.database:
        asyncio.run(age(options.database, options))
        return
    # A simulated week takes seconds, in which vacuum must get its turn as it does in a real one.
    with Postgres(durable=True, settings={"autovacuum_naptime": "1s"}) as postgres:
        asyncio.run(age(postgres.url("postgres"), options))


if __name__ == "__main__":
    main()
