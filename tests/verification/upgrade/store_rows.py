"""What a release leaves in its store: every table, in every shape that matters; and what it reads there.

Run by the code of the release that is recorded: from the root of a checkout of it, with nothing of this one
on the path, `python PATH/tests/verification/upgrade/store_rows.py OUT.json`. Add a file to `rows/` at each
release.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))

import msgspec

from contracts.records import Record
from contracts.wechat import Verdict
from services.store.open import migrate
from services.store.rows import SKIPPED, MemberMark, Writes
from services.transactions.arrivals import read_arrival
from services.transactions.bury_parked import bury_parked
from services.transactions.ledger import read_ledger
from statemachine.card import DeliveryRules
from statemachine.plan import Call
from tests.store.benches import HOUR, SqliteBench
from tests.store.support import Scene

TABLES = (
    "activities",
    "attempts",
    "counters",
    "gates",
    "inbox",
    "members",
    "outbox",
    "parked",
    "relay_leases",
)
OUR_FIELDS = {"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time"}


def binary(scene: Scene, activity: str, id_: str) -> Any:
    """A completion in binary mode, with headers that no text holds."""
    structured = json.loads(scene.completed(activity, "öko", id_=id_).record.value or b"{}")
    headers = (
        *((name, structured[name.removeprefix("ce_")].encode()) for name in sorted(OUR_FIELDS)),
        *(("trace", b"\xff\x00\xfe"), ("empty", b""), ("null", None), ("content-type", b"application/json")),
    )
    value = json.dumps(structured["data"]).encode()
    return read_arrival(Record("activity.events", 3, 77, b"\xff\x00key", value, headers))


async def buried(scene: Scene) -> None:
    """What waited too long; what could not be read."""
    await scene.feed(scene.completed("buried", "m", id_="buried"), binary(scene, "buried", "buried-binary"))
    await scene.feed(read_arrival(Record("activity.events", 0, 5, None, b"\xff{", ())))
    await scene.bench.advance(3_600)
    await bury_parked(scene.store, HOUR, 10)


async def states(scene: Scene) -> None:
    """Every state, every reason, every optional field."""
    await scene.open(
        "open", title="团建报名统计 “&”", publisher="gp-1", room={"opengid": "g-1"}, version="trial"
    )
    await scene.open("listed", choose="listed", participants=["m1", "m2"], deadline=7_000, notice=600)
    await scene.open(
        "single", room={"open_single_roomid": "r"}, template="participate", close_when_complete=True
    )
    await scene.open("near", deadline=1_800, notice=1_800)
    await scene.open("deadline", life=6_000)
    await scene.open("expired", "closed")
    await scene.open("complete", choose="listed", participants=["m1"], close_when_complete=True)
    await scene.complete("complete", "m1")
    await scene.close("closed")
    await scene.complete("deadline", "m1", "m2")
    moved = scene.event("activity.rescheduled", "near", deadline=None, notice=5)
    await scene.feed(moved, scene.event("participant.added", "listed", members=["m3"]))
    await scene.feed(scene.completed("listed", "m1", "zoe"), scene.completed("parked", "m1", id_="parked"))
    await scene.feed(binary(scene, "parked", "parked-binary"))
    before = scene.bench.now
    await scene.bench.advance(6_500)
    await scene.tick()
    await scene.feed(scene.completed("deadline", "m9", time=before), scene.completed("deadline", "m10"))


async def cards(scene: Scene) -> None:
    """Every shape of the dispatcher's side."""
    names = ("fresh", "delivered", "doubtful", "halfway", "aside", "dead", "final", "held", "busy")
    await scene.open(*names, title="card")
    await scene.open("gated", appid="wx2")
    for name in (*names, "gated", "expired"):
        await scene.complete(name, "m1", "m2", "m3")
    await scene.deliver("delivered")
    await scene.deliver("doubtful", Verdict.unknown, errmsg="timed out “hier”", jitter=0.5)
    (claimed,) = await scene.claim("halfway")
    part = msgspec.structs.replace(claimed, call=Call(1, ("m1", "m2")), more=True)
    await scene.settle(scene.result(part, rid="rid-1", errcode=0))
    async with scene.store.transaction() as tx:
        await tx.write(Writes(marks=[MemberMark("aside", "m2", SKIPPED, doubtful=False)]))
    usual, scene.cards = scene.cards, DeliveryRules(unknown_code_attempts=1)
    await scene.deliver("dead", Verdict.unknown_code, errcode=-99, errmsg="?")
    await scene.set("dead", cannot_lower=True)
    scene.cards = usual
    await scene.deliver("final", Verdict.unknown_activity, errcode=47501, errmsg="no such activity")
    await scene.claim("held", holder="dispatcher-old")
    await scene.deliver("busy", Verdict.busy, errcode=-1, errmsg="system busy", jitter=0.9)
    await scene.deliver("expired", Verdict.expired, errcode=47504, errmsg="expired")
    await scene.deliver("gated", Verdict.daily_limit, errcode=45009, errmsg="reach max api daily quota limit")


async def record(path: Path) -> dict[str, Any]:
    """Play, then read everything."""
    url = f"sqlite+aiosqlite:///{path}"
    await migrate(url)
    bench = SqliteBench(path)
    await bench.begin()
    scene = Scene(bench)
    await buried(scene)
    await states(scene)
    await cards(scene)
    await scene.store.lease_shards("dispatcher-old", 10_000_000)
    await scene.bench.advance(1)
    connection = sqlite3.connect(path)
    names = [row[0] for row in connection.execute("SELECT activity_id FROM activities ORDER BY 1")]
    told: dict[str, Any] = {
        "schema": connection.execute("SELECT version_num FROM alembic_version").fetchone()[0],
        "now": bench.now,
        "shown": {name: msgspec.to_builtins(await scene.store.show(name)) for name in names},
        "ledger": msgspec.to_builtins(await read_ledger(scene.store)),
        "tables": {},
    }
    for table in TABLES:
        found = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
        columns = [column[0] for column in found.description]
        told["tables"][table] = {"columns": columns, "rows": found.fetchall()}
    connection.close()
    await bench.close()
    return told


if __name__ == "__main__":
    folder = tempfile.mkdtemp()
    recorded = asyncio.run(record(Path(folder) / "rows.sqlite3"))
    Path(sys.argv[1]).write_text(json.dumps(recorded, ensure_ascii=False) + "\n", "utf-8")
    shutil.rmtree(folder)
