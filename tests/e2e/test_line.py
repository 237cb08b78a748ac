"""The whole line on Apache Kafka and PostgreSQL, as separate processes (design.md §1–§6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from contracts.changes import ActivityChanged, CardDelivered, EventRefused, ParticipantDone
from contracts.times import SECOND, format_rfc3339
from tests.e2e.line import Line, a_line, now, until
from tests.engines.support import pooled

SERVICES = ("lifecycle", "clock", "dispatcher")
pytestmark = pytest.mark.slow


@pytest.fixture
async def line(
    request: pytest.FixtureRequest, kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Line]:
    """As a parameter it takes the mode of a PgBouncer to go through."""
    mode = getattr(request, "param", "")
    with pooled(postgres_database, mode, sessions=6) if mode else nullcontext(postgres_database) as url:
        async with a_line(kafka, url, topic_prefix, tmp_path) as line:
            yield line


@pytest.mark.parametrize("line", ["", "transaction"], indirect=True, ids=["direct", "through PgBouncer"])
async def test_an_activity_lives_its_life(line: Line) -> None:
    """Early, on time, repeated, refused and late completions; near and end by timer: each call right."""
    people = [f"gp-{name}" for name in ("alex", "bob", "dora", "evan")]
    line.declare("a-1", people, title="团建报名统计", version="trial", template="participate")
    await line.start(*SERVICES)
    started = now()
    deadline = started + 6 * SECOND
    early = line.completed("a-1", "gp-alex")
    await line.send(early)
    opened = line.opened(
        "a-1",
        people,
        deadline=format_rfc3339(deadline),
        notice=3,
        version="trial",
        template="participate",
        title="团建报名统计",
    )
    await line.send(opened)
    await line.send(line.completed("a-1", "gp-bob"), early, line.completed("a-1", "gp-zed"))
    card = line.card("a-1")
    await until(lambda: {"gp-alex", "gp-bob"} <= card.posts.keys(), "alex and bob are done")
    assert card.target_state == 1
    await until(lambda: card.target_state == 2, "the card says 即将截止")
    assert now() >= deadline - 3 * SECOND
    await until(lambda: card.target_state == 3, "the card says 已结束")
    assert now() >= deadline
    late = line.completed("a-1", "gp-dora", time=format_rfc3339(deadline - SECOND))
    await line.send(late, line.completed("a-1", "gp-evan"))
    ledger = await line.settled()
    changes = await line.changes(
        lambda seen: (
            any(isinstance(each.data, CardDelivered) and each.data.target_state == 3 for each in seen)
            and sum(isinstance(each.data, EventRefused) for each in seen) == 2
        )
    )

    assert card.posts == {"gp-alex": 1, "gp-bob": 1}
    assert (card.repeated_posts, card.lowered) == (0, 0)
    states = [applied.target_state for applied in card.history]
    assert states == sorted(states)
    assert states[-1] == 3
    assert ledger["events"]["late"] == 1
    assert ledger["events"]["refused"] == 2
    assert ledger["events"]["repeats"] == 1
    assert ledger["calls"]["made"] == len(card.history)
    moves = [
        (each.data.state, each.data.reason) for each in changes if isinstance(each.data, ActivityChanged)
    ]
    assert moves == [("open", "opened"), ("nearing", "notice"), ("ended", "deadline")]
    done = [
        member for each in changes if isinstance(each.data, ParticipantDone) for member in each.data.members
    ]
    assert done == ["gp-alex", "gp-bob", "gp-dora"]
    refused = [each.data.reason for each in changes if isinstance(each.data, EventRefused)]
    assert refused == ["not_listed", "ended"]
    delivered = [each.data for each in changes if isinstance(each.data, CardDelivered)]
    assert [member for each in delivered for member in each.members] == ["gp-alex", "gp-bob"]
    assert [each.revision for each in delivered] == sorted(each.revision for each in delivered)
    assert delivered[-1].target_state == 3


async def test_two_of_each_side_by_side(line: Line) -> None:
    """Two lifecycles, two clocks, two dispatchers: no member delivered twice, every card right."""
    await line.start(*SERVICES, *SERVICES)
    names = [f"b-{number}" for number in range(40)]
    people = [f"gp-{number}" for number in range(10)]
    for name in names:
        line.declare(name, people)
    deadline = format_rfc3339(now() + 8 * SECOND)
    await line.send(*(line.completed(name, people[0]) for name in names), partition=1)
    await line.send(*(line.opened(name, people, deadline=deadline, notice=2) for name in names))
    for person in people[1:8]:
        await line.send(*(line.completed(name, person) for name in names))
        await line.send(*(line.completed(name, person) for name in names), partition=2)
    await until(lambda: all(line.card(name).target_state == 3 for name in names), "all have ended")
    ledger = await line.settled()
    for name in names:
        card = line.card(name)
        assert card.posts == dict.fromkeys(people[:8], 1), name
        assert (card.repeated_posts, card.lowered) == (0, 0)
    assert ledger["events"]["duplicate"] == 7 * len(names)


async def test_a_burst_is_gathered_and_the_end_does_not_wait(line: Line) -> None:
    """500 completions of one activity in a burst take at most 12 calls, the end included."""
    people = [f"gp-{number:03}" for number in range(500)]
    line.declare("burst", people)
    await line.start(*SERVICES)
    await line.send(line.opened("burst", people))
    await line.send(*(line.completed("burst", person) for person in people))
    card = line.card("burst")
    await until(lambda: len(card.posts) == 500, "everybody is done")
    await line.send(line.event("activity.closed", "burst", {}))
    await until(lambda: card.target_state == 3, "the card says 已结束")
    await line.settled()
    assert len(card.history) <= 12
    assert set(card.posts.values()) == {1}


async def test_kill_9_of_any_service_loses_nothing(line: Line) -> None:
    """Each service is killed in the middle of the work, twice, and started again: every card is right."""
    line.settings |= {"LIVECARD_LEASE": "4", "LIVECARD_CALL_DEADLINE": "2", "LIVECARD_KAFKA_SESSION": "6"}
    line.settings |= {"LIVECARD_REPAIR_AFTER": "3", "LIVECARD_SWEEP": "1"}
    services = await line.start(*SERVICES)
    names = [f"k-{number}" for number in range(30)]
    people = [f"gp-{number}" for number in range(12)]
    for name in names:
        line.declare(name, people)
    await line.send(*(line.opened(name, people, close_when_complete=True) for name in names))
    for turn, person in enumerate(people):
        await line.send(*(line.completed(name, person) for name in names))
        victim = services[turn % 3]
        if turn < 6:
            await victim.kill9()
            await victim.start()
    await until(lambda: all(line.card(name).target_state == 3 for name in names), "all have ended", 120)
    ledger = await line.settled()
    for name in names:
        card = line.card(name)
        assert card.posts.keys() == set(people), name
        assert card.lowered == 0
        # Who was in flight when a dispatcher died may be posted once more, for each of its two deaths.
        assert max(card.posts.values()) <= 1 + 2
    assert ledger["events"]["applied"] == len(names) * (1 + len(people))
    # A dead dispatcher had at most one call under way for each activity, with the one or two members
    # who had finished since the call before.
    assert sum(line.card(name).repeated_posts for name in names) <= 2 * 2 * len(names)


async def test_sigterm_drains_and_exits_0(line: Line) -> None:
    """SIGTERM finishes and commits what is in hand; nothing is taken in twice afterwards."""
    services = await line.start(*SERVICES)
    line.declare("t-1", ["gp-1"])
    await line.send(line.opened("t-1", ["gp-1"]), line.completed("t-1", "gp-1"))
    await until(lambda: line.card("t-1").posts, "the member is done")
    assert [await service.terminate() for service in services] == [0, 0, 0]
    await line.start(*SERVICES)
    line.declare("t-2", ["gp-1"])
    await line.send(line.opened("t-2", ["gp-1"]), line.completed("t-2", "gp-1"))
    await until(lambda: line.card("t-2").posts, "the second member is done")
    ledger = await line.settled()
    assert ledger["events"]["repeats"] == 0
