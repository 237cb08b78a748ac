"""What leaves through the outbox: letters of parked events nobody can read, pages of bounded size."""

from __future__ import annotations

import msgspec

from contracts.changes import CardDelivered, CardFailed, decode_change
from contracts.records import decode_record
from contracts.wechat import Verdict
from services.store.rows import DEAD, SHARDS, InboxKey, OutboxRow, ParkedRow, Writes
from services.transactions.claim import expire
from services.transactions.ledger import read_ledger
from tests.store.support import Scene, parked


async def test_a_parked_event_that_cannot_be_read_any_more_is_buried_with_its_opening(scene: Scene) -> None:
    """Its offset was committed long ago, so the letter is in the transaction that gives the event up."""
    await scene.feed(scene.completed("a", "m1", id_="early"))
    async with scene.store.transaction() as tx:
        (row,) = await parked(tx, "a")
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


async def test_no_change_names_more_members_than_an_event_may(scene: Scene) -> None:
    """A change longer than the broker takes would hold up the outbox, and every card's changes, for ever."""
    crowd = [f"m{place:04}" for place in range(1200)]
    await scene.open("a", "b", "c", life=7200, deadline=3600)
    for name in "abc":
        for start in range(0, len(crowd), 500):
            await scene.complete(name, *crowd[start : start + 500])
    await scene.deliver("a")
    (claimed,) = await scene.claim("b")
    await scene.settle(scene.look(claimed, Verdict.expired, errcode=47504))
    await scene.bench.advance(7201)
    await scene.tick()
    await expire(scene.store, 10)
    told: dict[tuple[str, type], list[CardDelivered | CardFailed]] = {}
    for row in await scene.outbox():
        data = decode_change(row.body.encode()).data
        if isinstance(data, CardDelivered | CardFailed):
            told.setdefault((row.activity_id, type(data)), []).append(data)
    parts = [told["a", CardDelivered], told["b", CardFailed], told["c", CardFailed]]
    for each in parts:
        assert [len(part.members or ()) for part in each] == [500, 500, 200]
        assert [name for part in each for name in part.members or ()] == crowd
    assert [part.calls for part in parts[0] if isinstance(part, CardDelivered)] == [1, 0, 0]
    ids = [row.id for row in await scene.outbox()]
    assert len(ids) == len(set(ids))
