"""Answers under an `Idempotency-Key`, on every engine (services/store/requests.py)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from services.store.requests import RequestRow
from tests.store.benches import Bench, PostgresBench, rolled_back

ROW = RequestRow("r-1", "digest", "owner-1")
ANSWERED = msgspec.structs.replace(ROW, status=202, body='{"event_id": "活动"}')


async def claim(bench: Bench, owner: str = "owner-2", digest: str = "digest") -> RequestRow | None:
    """What somebody finds who wants to take the request on."""
    async with bench.store.transaction() as tx:
        return await tx.claim_request(msgspec.structs.replace(ROW, owner=owner, digest=digest))


async def keep(bench: Bench, row: RequestRow = ANSWERED) -> bool:
    async with bench.store.transaction() as tx:
        return await tx.keep_request(row)


async def test_who_takes_a_request_on_finds_nothing_and_others_find_it(bench: Bench) -> None:
    assert await claim(bench, "owner-1") is None
    assert await claim(bench) == ROW


async def test_an_answer_is_found_as_it_was_kept(bench: Bench) -> None:
    await claim(bench, "owner-1")
    assert await keep(bench)
    assert await claim(bench) == ANSWERED
    assert await claim(bench, digest="other") == ANSWERED
    assert not await keep(bench), "it has an answer"


async def test_what_is_rolled_back_was_not_taken(bench: Bench) -> None:
    async with rolled_back(bench.store) as tx:
        assert await tx.claim_request(ROW) is None
        assert await tx.keep_request(ANSWERED)
    assert await claim(bench) is None


async def test_what_came_to_nothing_may_be_tried_again(bench: Bench) -> None:
    await claim(bench, "owner-1")
    async with bench.store.transaction() as tx:
        await tx.release_request(msgspec.structs.replace(ROW, owner="somebody"))
    assert await claim(bench) == ROW
    async with bench.store.transaction() as tx:
        await tx.release_request(ROW)
    assert await claim(bench) is None


async def test_an_answer_is_not_released(bench: Bench) -> None:
    await claim(bench, "owner-1")
    await keep(bench)
    async with bench.store.transaction() as tx:
        await tx.release_request(ROW)
    assert await claim(bench) == ANSWERED


async def test_after_a_minute_without_an_answer_another_takes_over(bench: Bench) -> None:
    """Only with the same body; and who was late keeps nothing."""
    await claim(bench, "owner-1")
    await bench.advance(59)
    assert await claim(bench) == ROW
    await bench.advance(1)
    assert await claim(bench, digest="other") == ROW
    assert await claim(bench) is None
    assert not await keep(bench)
    assert await keep(bench, msgspec.structs.replace(ANSWERED, owner="owner-2"))


async def test_after_a_day_nothing_is_known(bench: Bench) -> None:
    await claim(bench, "owner-1")
    await keep(bench)
    await bench.advance(86_399)
    assert await claim(bench, digest="other") == ANSWERED
    await bench.advance(1)
    assert await claim(bench, digest="other") is None


@pytest.mark.parametrize("answered", [False, True])
async def test_a_clock_that_was_set_back_delays_nobody_for_long(bench: Bench, answered: bool) -> None:
    await claim(bench, "owner-1")
    if answered:
        await keep(bench)
    await bench.advance(-86_401 if answered else -61)
    assert await claim(bench) is None


async def test_old_answers_are_pruned(bench: Bench) -> None:
    await claim(bench, "owner-1")
    prune = {"inbox": 1, "attempts": 1, "activities": 1, "limit": 10}
    await bench.advance(86_400)
    assert (await bench.store.prune(**prune))["requests"] == 0
    await bench.advance(1)
    assert (await bench.store.prune(**prune))["requests"] == 1
    assert (await bench.store.prune(**prune))["requests"] == 0


async def test_of_two_at_once_one_takes_it_on_and_the_other_finds_its_answer(
    postgres: PostgresBench,
) -> None:
    """Who comes while the first is in its transaction waits for that."""
    other = await postgres.another()
    async with postgres.store.transaction() as first:
        assert await first.claim_request(ROW) is None
        second = asyncio.create_task(_claim_in(other))
        await _somebody_waits(postgres)
        assert await first.keep_request(ANSWERED)
    assert await second == ANSWERED


async def _somebody_waits(postgres: PostgresBench) -> None:
    async with asyncio.timeout(60):
        while not await postgres.admin.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 (another process' state)
            await asyncio.sleep(0.01)


async def _claim_in(store: object) -> RequestRow | None:
    async with store.transaction() as tx:  # type: ignore[attr-defined]  # a store of another process
        found: RequestRow | None = await tx.claim_request(msgspec.structs.replace(ROW, owner="owner-2"))
        return found
