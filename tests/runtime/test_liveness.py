"""What `/healthz` and `/readyz` notice, on real hosts, brokers and databases: broken, seen, healed, ready."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import ConnectionGroup
from aiokafka.protocol.group import LeaveGroupRequest
from prometheus_client import generate_latest
from sqlalchemy.engine import make_url

from contracts.wechat import Verdict
from services.dispatcher import dispatcher, gatekeeper, settler
from services.kafka import nudges
from services.kafka.admin import broker_answers
from services.lifecycle import consumer
from services.runtime import backlog
from services.runtime.settings import Settings
from services.transactions.apply import apply
from services.transactions.arrivals import read_arrival
from services.wechat.ports import Answer
from statemachine.model import Rules
from tests.e2e.line import until
from tests.lifecycle.support import completed, opened, record
from tests.runtime.support import STALLED, Proxy, Running, Wedge, running, settings_for

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle loops show themselves more often than the shortened patience."""
    for module, name in ((dispatcher, "IDLE"), (settler, "IDLE"), (backlog, "EVERY"), (nudges, "POLL")):
        monkeypatch.setattr(module, name, 0.5)


@pytest.fixture
def settings(kafka: str, postgres_database: str, topic_prefix: str) -> Settings:
    return settings_for(kafka, postgres_database, topic_prefix)


async def seen_and_healed(run: Running, loop: str, wedge: Wedge) -> None:
    """It kills itself for this loop's sake, says so in words, and takes it back."""
    said = await run.says("healthz", 503, f"'stalled': ['{loop}']")  # and no other
    assert "has not moved for" in said["why"][loop]
    assert "since 2" in said["why"][loop]
    not_ready = await run.says("readyz", 503, loop)
    assert not_ready["since"][loop]
    wedge.heal()
    await run.says("healthz", 200)
    await run.says("readyz", 200)


@pytest.mark.parametrize(
    ("kind", "loop", "method"),
    [
        ("clock", "clock.timers", "next_due"),
        ("clock", "watcher.backlog", "backlog"),
        ("clock", "relay.relay", "lease_shards"),
    ],
)
async def test_a_loop_that_stands_still_is_seen(
    settings: Settings, kind: str, loop: str, method: str
) -> None:
    """Timers, relay, metrics: wedged in a verb of the store while the store answers."""
    async with running(kind, settings) as run:
        await seen_and_healed(run, loop, Wedge(run.parts.store, method))


async def test_gates_that_stand_still_are_seen(settings: Settings) -> None:
    """In what no other loop calls: the metrics read all gates, too."""
    async with running("dispatcher", settings) as run:
        await seen_and_healed(run, "dispatcher.gates", Wedge(gatekeeper, "schedule"))


async def test_claims_that_stand_still_are_seen(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dispatcher's own loop."""
    async with running("dispatcher", settings) as run:
        wedge = Wedge(dispatcher, "claim")
        run.service("dispatcher")._dispatcher.wake()
        await seen_and_healed(run, "dispatcher.loop", wedge)


async def test_a_call_that_never_comes_back_is_seen(settings: Settings) -> None:
    """A worker that hangs in a call far beyond its deadline."""
    async with running("dispatcher", settings) as run:
        await a_card_is_owed(run)
        wedge = Wedge(run.service("dispatcher")._wechat, "set_chat_tool_msg")
        await seen_and_healed(run, "dispatcher.work", wedge)


async def test_results_that_are_not_written_down_are_seen(settings: Settings) -> None:
    """The settler, with a result in hand."""

    async def well(*_: Any) -> Answer:
        return Answer(Verdict.ok, sent=True, errcode=0)

    async with running("dispatcher", settings) as run:
        run.service("dispatcher")._wechat.set_chat_tool_msg = well
        wedge = Wedge(settler, "settle")
        await a_card_is_owed(run)
        await seen_and_healed(run, "dispatcher.settler", wedge)


async def a_card_is_owed(run: Running) -> None:
    """One activity with one member to deliver."""
    rows = [record(1, opened("a")), record(2, completed("e-1", "a", "gp-1"))]
    await apply(run.parts.store, [read_arrival(each) for each in rows], Rules())


async def test_nudges_that_are_not_polled_are_seen(settings: Settings) -> None:
    """The dispatcher's consumer hangs in its poll."""
    async with running("dispatcher", settings) as run:
        polled = run.service("dispatcher")._nudges._consumer
        await seen_and_healed(run, "dispatcher.nudges", Wedge(polled, "getmany"))


async def test_a_consumer_that_polls_no_more_is_seen(settings: Settings) -> None:
    """The poll itself hangs."""
    async with running("lifecycle", settings) as run:
        polled = run.service("lifecycle")._membership._consumer
        await seen_and_healed(run, "lifecycle.poll", Wedge(polled, "getmany"))


async def test_a_dead_consuming_task_is_seen(settings: Settings) -> None:
    """The task that polls is gone: nothing in this process brings it back."""
    async with running("lifecycle", settings) as run:
        tasks = [task for task in asyncio.all_tasks() if "_run_consume_loop" in repr(task.get_coro())]
        assert tasks
        for task in tasks:
            task.cancel()
        await run.says("healthz", 503, "'stalled': ['lifecycle.poll']")


async def test_a_batch_that_is_stuck_is_seen_though_polling_goes_on(settings: Settings) -> None:
    """A handler that hangs beyond every deadline of its own."""
    async with running("lifecycle", settings) as run:
        ingest = run.service("lifecycle")._ingest
        wedge = Wedge(ingest._bus, "publish")
        await produce(settings, b"no event of ours")
        await seen_and_healed(run, "lifecycle.batch", wedge)


async def produce(settings: Settings, value: bytes) -> None:
    """One record on activity.events."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    await producer.start()
    try:
        await producer.send_and_wait(f"{settings.topic_prefix}activity.events", value)
    finally:
        await producer.stop()


@pytest.mark.parametrize("kind", ["lifecycle", "clock", "dispatcher"])
async def test_a_database_that_is_away_is_no_reason_to_be_killed(settings: Settings, kind: str) -> None:
    """Hanging and refusing, each for twice the patience: not ready, says why, stays alive."""
    url = make_url(settings.database)
    assert url.port is not None
    proxy = Proxy(url.port)
    await proxy.start()
    away = url.set(port=proxy.port).render_as_string(hide_password=False)
    async with running(kind, msgspec.structs.replace(settings, database=away)) as run:
        proxy.swallow()
        await stays_alive(run, "the database gives no answer")
        proxy.pass_on()
        await run.says("readyz", 200)
        await run.says("healthz", 200)
        await proxy.stop()
        await stays_alive(run, "store")
        await proxy.start()
        await run.says("readyz", 200)
        await run.says("healthz", 200)
    await proxy.stop()


async def stays_alive(run: Running, words: str) -> None:
    """For twice the patience: /readyz says it is away, /healthz never complains."""
    away = await run.says("readyz", 503, words)
    assert away["since"]["store"]
    end = run.parts.clock.monotonic() + 2 * STALLED
    while run.parts.clock.monotonic() < end:
        assert (await run.get("healthz"))[0] == 200
        assert (await run.get("readyz"))[0] == 503
        await asyncio.sleep(0.1)  # the outage lasts


async def test_a_member_that_is_thrown_out_of_its_group_comes_back(settings: Settings) -> None:
    """Somebody else ends our membership: it is noticed by the next heartbeat, and events flow on."""
    async with running("lifecycle", settings) as run:
        membership = run.service("lifecycle")._membership
        coordinator = membership._consumer._coordinator
        before = coordinator.generation
        leave = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
        await coordinator._client.send(coordinator.coordinator_id, leave, group=ConnectionGroup.COORDINATION)
        await until(lambda: coordinator.generation != before and membership.assigned, "it joined again")
        await run.says("readyz", 200)
        await produce(settings, opened("a"))
        await until(lambda: run.parts.store.show("a"), "the event is in")


async def test_the_broker_is_asked_by_every_service(settings: Settings) -> None:
    """A clock needs it to publish; one that finds nobody at the address is not ready, and alive."""
    async with running("clock", settings) as run:
        asked = run.health._broker
        assert asked is not None
        nowhere = msgspec.structs.replace(settings, kafka="127.0.0.1:9")
        there, asked._ask = asked._ask, lambda: broker_answers(nowhere)
        said = await run.says("readyz", 503, "no Kafka broker answers at 127.0.0.1:9")
        assert said["since"]["kafka"]
        assert (await run.get("healthz"))[0] == 200
        asked._ask = there
        await run.says("readyz", 200)


async def test_how_far_ingest_lags_is_measured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that wait for the store count, by partition; once they are taken in, none does."""
    monkeypatch.setattr(consumer, "LAG_EVERY", 0.2)
    async with running("lifecycle", settings) as run:
        await until(lambda: lag_of(run) == 0, "nothing lags")
        wedge = Wedge(run.service("lifecycle")._ingest, "_transact")
        for place in range(5):
            await produce(settings, completed(f"e-{place}", "a"))
        await until(lambda: lag_of(run) == 5, "five records lag, the batch in hand included")
        wedge.heal()
        await until(lambda: lag_of(run) == 0, "they are in")


def lag_of(run: Running) -> float | None:
    """The sum over partitions as `/metrics` tells it; None before anybody measured."""
    page = generate_latest(run.parts.metrics.registry).decode()
    rows = [row for row in page.splitlines() if row.startswith("livecard_consumer_lag_records{")]
    return sum(float(row.rpartition(" ")[2]) for row in rows) if rows else None
