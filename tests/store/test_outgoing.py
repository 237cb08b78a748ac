"""What leaves through the outbox: letters of parked events nobody can read, pages of bounded size."""

from __future__ import annotations

import msgspec

from contracts.records import decode_record
from services.store.ledger import read_ledger
from services.store.rows import DEAD, SHARDS, InboxKey, OutboxRow, ParkedRow, Writes
from tests.store.support import Scene


async def test_a_parked_event_that_cannot_be_read_any_more_is_buried_with_its_opening(scene: Scene) -> None:
    """Its offset was committed long ago, so the letter is in the transaction that gives the event up."""
    await scene.feed(scene.completed("a", "m1", id_="early"))
    async with scene.store.transaction() as tx:
        (row,) = await tx.parked(["a"])
    older = msgspec.structs.replace(row.record, value=b'{"written": "by an older release"}')
    async with scene.store.transaction() as tx:
        spoilt = ParkedRow("a", row.source, row.id, row.parked_at, older)
        await tx.write(Writes(unpark=[InboxKey(row.source, row.id)]))
    async with scene.store.transaction() as tx:
        await tx.write(Writes(park=[spoilt]))
    applied = await scene.feed(scene.opened("a"))
    assert applied.dead == []
    (letter,) = [each for each in await scene.outbox() if each.topic == DEAD]
    record = decode_record(letter.body)
    assert record.value == older.value
    assert dict(record.headers)["livecard-reason"] == b"malformed"
    ledger = await read_ledger(scene.store)
    assert (ledger.events["parked"], ledger.events["dead"], ledger.events["applied"]) == (0, 1, 1)
    assert ledger.balanced


async def test_a_page_of_the_outbox_is_bounded_in_size(scene: Scene) -> None:
    """Dead letters may be large: no relay reads thousands of them at once, and none is left behind."""
    large = "x" * (6 << 20)
    rows = [OutboxRow("a", DEAD, f"t/0/{place}", large, 3, scene.bench.now) for place in range(5)]
    async with scene.store.transaction() as tx:
        await tx.write(Writes(outbox=rows))
    read: list[str] = []
    pages = 0
    while page := await scene.store.outbox(range(SHARDS), 1_000):
        assert sum(len(row.body) for row in page) <= 4 * len(large)
        read += [row.id for row in page]
        await scene.store.delete_outbox([row.seq for row in page])
        pages += 1
    assert read == [row.id for row in rows]
    assert pages > 1
