"""What the release before left in a store is read, carried on and delivered by this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.changes import decode_change
from contracts.records import Record, decode_record, strip_livecard_headers
from contracts.times import SECOND
from contracts.wechat import Verdict
from services.store import migrating
from services.store.open import migrate, open_store
from services.store.ports import Store
from services.store.rows import DEAD, SKIPPED, InboxKey, Seen
from services.transactions.arrivals import read_arrival
from services.transactions.ledger import read_ledger
from services.transactions.schedule import schedule
from statemachine.card import CLOSED, attempt_at, phase
from tests.store.benches import COLUMNS, FORGET, STANDING, Bench, Columns
from tests.store.support import Scene
from tests.verification.upgrade.conftest import HERE

RECORDED = sorted((HERE / "rows").glob("*.json"))


class Restored(Bench):
    """A store with the rows of another release, on the clock of that moment."""

    def __init__(self, url: str, told: dict[str, Any]) -> None:
        super().__init__("restored")
        self.url, self.told, self.now = url, told, told["now"]

    async def _open(self, slot: int, **options: Any) -> Store:
        return await open_store(self.url, slot=slot, now=STANDING, **options)

    async def _run(self, *statements: str) -> None:
        store = await open_store(self.url)
        async with store.engine.begin() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)
        await store.close()

    async def forget_attempt(self, activity: str) -> None:
        await self._run(FORGET.format(f"'{activity}'"))

    async def overwrite(self, activity: str, **columns: Any) -> None:
        values = ", ".join(f"{name} = {value}" for name, value in columns.items())
        await self._run(f"UPDATE activities SET {values} WHERE activity_id = '{activity}'")

    async def columns(self, activity: str) -> Columns:
        store = await open_store(self.url)
        async with store.engine.begin() as connection:
            found = await connection.exec_driver_sql(COLUMNS.format(f"'{activity}'"))
            row: Any = found.one()
        await store.close()
        return Columns(row[0], row[1], bool(row[2]))

    async def begin(self) -> None:
        clock = f"INSERT INTO standing_clock VALUES ({self.now})"
        await self._run("CREATE TABLE standing_clock (us bigint)", clock, *self._inserts())
        await migrate(self.url, finish=True)
        await super().begin()

    def _inserts(self) -> list[str]:
        statements = ["DELETE FROM relay_leases"]
        for name, table in self.told["tables"].items():
            own = "OVERRIDING SYSTEM VALUE " if "postgres" in self.url and "seq" in table["columns"] else ""
            rows = [
                ", ".join(_literal(*each) for each in zip(table["columns"], row, strict=True))
                for row in table["rows"]
            ]
            values = ", ".join(f"({row})" for row in rows)
            statements.append(f"INSERT INTO {name} ({', '.join(table['columns'])}) {own}VALUES {values}")
            if own:
                last = max(row[0] for row in table["rows"])
                statements.append(f"ALTER TABLE {name} ALTER COLUMN seq RESTART WITH {last + 1}")
        return statements

    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        await self._run(f"UPDATE standing_clock SET us = {self.now}")


BOOLEANS = {"close_when_complete", "cannot_lower", "final", "succeeded", "late", "doubtful"}


def _literal(column: str, value: Any) -> str:
    if value is None:
        return "NULL"
    if column in BOOLEANS:
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value).replace("'", "''").replace("%", "%%")
    return f"'{text}'"


def read_rows(path: Path) -> dict[str, Any]:
    """As store_rows.py wrote it."""
    told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return told


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
async def restored(request: pytest.FixtureRequest, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A scene on the rows of an earlier release, on each engine, migrated since."""
    path: Path = request.param
    told = read_rows(path)
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "NEWEST", told["schema"])
        await migrate(store_url)
    bench = Restored(store_url, told)
    await bench.begin()
    scene = Scene(bench)
    scene.offset = 10_000  # so that its events are none of those recorded
    yield scene
    await bench.close()


def _told(scene: Scene) -> dict[str, Any]:
    bench = scene.bench
    assert isinstance(bench, Restored)
    return bench.told


RENAMED = {"look_at": "throttled_until", "suspect_at": "doubt_at", "set_aside": "skipped"}
"""Field of the release before → this one's."""
GONE = {"settled_as", "final", "code_revision", "reached"}
"""Of its card; what they said is in `verdict` and `may_show`."""


async def test_every_activity_reads_as_it_did(restored: Scene) -> None:
    """State, card, members, gate, parked events, attempts: what the release before read there."""
    for name, before in _told(restored)["shown"].items():
        seen = await restored.store.show(name)
        assert seen is not None
        assert _within(before, _as_before(seen)), name
        assert seen.card.may_show >= before["card"]["reached"]
    ledger = await read_ledger(restored.store)
    books = _told(restored)["ledger"]
    assert ledger.problems == ()
    assert (ledger.events, ledger.revisions) == (books["events"], books["revisions"])


def _as_before(seen: Seen) -> dict[str, Any]:
    """What is kept, in the groups that the release before showed."""
    plain: dict[str, Any] = json.loads(msgspec.json.encode(seen))
    plain["activity"] |= {name: value for name, value in plain.items() if not isinstance(value, dict | list)}
    plain["card"]["end_known_at"] = plain["activity"]["end_known_at"]
    return plain


def _within(before: Any, now: Any) -> bool:
    """Whether everything of before is still there; a later release may know more."""
    if isinstance(before, dict):
        return all(
            _within(value, now[RENAMED.get(name, name)]) for name, value in before.items() if name not in GONE
        )
    assert before == now, f"{before!r} became {now!r}"
    return True


async def test_every_change_and_dead_letter_can_be_published(restored: Scene) -> None:
    """Bodies as they were, byte for byte; the dead letters with their bytes and headers."""
    rows = await restored.outbox()
    assert len(rows) == len(_told(restored)["tables"]["outbox"]["rows"])
    for row in rows:
        if row.topic != DEAD:
            assert decode_change(row.body.encode()).id == row.id
    letters = [decode_record(row.body) for row in rows if row.topic == DEAD]
    binary = next(letter for letter in letters if letter.partition == 3)
    assert binary.key == b"\xff\x00key"
    kept = dict(strip_livecard_headers(binary.headers))
    assert (kept["trace"], kept["empty"], kept["null"]) == (b"\xff\x00\xfe", b"", None)
    assert dict(binary.headers)["livecard-reason"] == b"parked_too_long"


async def test_a_dead_letter_of_before_lives_again(restored: Scene) -> None:
    """Replayed after its opening came at last."""
    rows = await restored.outbox()
    letters = [decode_record(row.body) for row in rows if row.topic == DEAD and row.activity_id == "buried"]
    await restored.open("buried")
    for letter in letters:
        headers = tuple(strip_livecard_headers(letter.headers))
        again = Record(letter.topic, 0, 1, letter.key, letter.value, headers)
        await restored.feed(read_arrival(again))
    keys = [InboxKey("/tests", "buried"), InboxKey("/tests", "buried-binary")]
    assert await restored.store.outcomes(keys) == dict.fromkeys(keys, "applied")
    await restored.balance()


async def test_what_was_parked_is_applied_at_its_opening(restored: Scene) -> None:
    """Structured and binary."""
    await restored.open("parked")
    async with restored.store.transaction() as tx:
        owed = await tx.owed(["parked"])
    assert sorted(each.group_openid for each in owed["parked"]) == ["m1", "öko"]
    await restored.balance()


def _names(scene: Scene) -> list[str]:
    """Those that were opened."""
    return [name for name, shown in _told(scene)["shown"].items() if shown["activity"]["state"]]


async def test_every_card_that_wants_a_dispatcher_gets_its_time(restored: Scene) -> None:
    """The first poll schedules what is undelivered or in doubt, as the columns say."""
    before = {name: await restored.bench.columns(name) for name in _names(restored)}
    assert {each.attempt_at for each in before.values()} == {None}
    wanted = set()
    for name in before:
        card = await restored.card(name)
        if card.behind or (card.doubt_at is not None and not card.verdict):
            wanted.add(name)
    assert {"held", "halfway", "doubtful", "busy", "gated", "fresh"} <= wanted
    assert await schedule(restored.store, 1, restored.rules) == 1  # page by page
    assert await schedule(restored.store, 100, restored.rules) == len(wanted) - 1
    assert await schedule(restored.store, 100, restored.rules) == 0
    for name in before:
        stored, card = await restored.bench.columns(name), await restored.card(name)
        assert stored.attempt_at == attempt_at(card, restored.cards), name
        assert (stored.attempt_at is not None) == (name in wanted), name
        assert stored.ending == card.ending, name


async def test_every_card_is_brought_to_its_end(restored: Scene) -> None:
    """Held, halfway, doubtful, throttled, gated: all go on from where they were, and the books close."""
    await restored.store.open_gates(["wx1", "wx2"], None)
    names = _names(restored)
    held, dead = await restored.card("held"), await restored.card("dead")
    assert held.lease_by == "dispatcher-old"
    assert dead.verdict == "unknown_code"
    await restored.bench.advance(120)
    for name in names:
        await restored.close(name)
    for _ in range(6):
        await restored.bench.advance(120)
        await schedule(restored.store, 100, restored.rules)
        await restored.settle(*(restored.result(each) for each in await restored.claim()))
        await restored.tick()
    assert await restored.due() == []
    ledger = await read_ledger(restored.store)
    assert ledger.problems == ()
    assert ledger.revisions["pending"] == 0
    cards = {name: await restored.card(name) for name in names}
    assert {name for name, card in cards.items() if card.shown != 3} == {"expired", "deadline"}
    assert all(phase(card) == CLOSED for card in cards.values())
    assert await restored.skipped("aside") == ["m2"]


async def test_what_is_recorded_has_every_shape(restored: Scene) -> None:
    """Else these tests prove less than they say."""
    tables = _told(restored)["tables"]
    rows = {
        name: [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        for name, table in tables.items()
    }
    for column in (
        "suspect_at",
        "lease_until",
        "verdict",
        "progress_members",
        "publisher",
        "opengid",
        "due_at",
    ):
        assert any(row[column] for row in rows["activities"]), column
    assert {row["state"] for row in rows["activities"]} == {"", "open", "nearing", "ended"}
    assert {row["reason"] for row in rows["activities"]} >= {"deadline", "closed", "complete", "expired"} - {
        "deadline"
    }
    assert {row["outcome"] for row in rows["inbox"]} >= {"applied", "dead", "parked", "late"}
    assert {row["delivered"] for row in rows["members"]} >= {0, 1, SKIPPED}
    assert {row["outcome"] for row in rows["attempts"]} >= {
        each.value for each in (Verdict.ok, Verdict.unknown)
    }
    assert all(row["at"] > SECOND for row in rows["attempts"])
