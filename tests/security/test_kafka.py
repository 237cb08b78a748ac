"""Kafka behind TLS and SASL: every client of ours comes in with the same settings, or says why not."""

from __future__ import annotations

import asyncio
import shutil
import traceback
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from aiokafka.errors import KafkaError

from contracts.nudge import Nudge, encode_nudge
from contracts.topics import Topics
from scripts.patience import PATIENCE
from services.cli.replay import _letters
from services.kafka.admin import BrokerError, create_topics
from services.kafka.bus import KafkaBus
from services.kafka.certificates import latest, renewable
from services.kafka.nudges import NudgeConsumer
from services.kafka.ports import BusUnavailable, Message
from services.lifecycle.subscription import broker
from services.runtime.clock import RealClock
from services.runtime.environment import load
from services.runtime.settings import Settings
from services.runtime.tls import Files
from tests.e2e.line import Line, Service, a_line, free_port, until
from tests.security.authority import Pair
from tests.security.conftest import MECHANISMS, PASSWORD, Fortress

WAYS_IN = [
    ("TLS", {}),
    ("MUTUAL", {}),
    ("OPEN", {}),
    *(("SASL", {"kafka_sasl_mechanism": mechanism}) for mechanism in MECHANISMS.split(",")),
]
WRONG = "canary-kafka-wrong-1b7d"


async def all_clients(settings: Settings) -> None:
    """Admin, producer, the lifecycle's consumer, the dispatcher's, the one of `livecard replay`."""
    topics = Topics(settings.topic_prefix)
    report = await create_topics(settings)
    assert len(report.created) == len(topics.specs(1)), report
    bus, nudges = KafkaBus(settings), asyncio.Queue[list[Nudge]]()
    listener = NudgeConsumer(settings, topics.dispatcher_group, nudges.put_nowait, RealClock())
    consumer, taken = broker(settings), asyncio.Queue[Any]()
    subscriber = consumer.subscriber(topics.events, group_id="g", auto_offset_reset="earliest", no_reply=True)
    subscriber(taken.put)
    await bus.start()
    await listener.start()
    try:
        await bus.publish(topics.events, [Message(b"a", b"an event")])
        await bus.publish(topics.dead, [Message(b"a", b"a letter")])
        await consumer.start()
        assert await asyncio.wait_for(taken.get(), PATIENCE) == b"an event"
        await until(lambda: listener.waiting() is None, "the nudges' consumer has joined")
        while nudges.empty():  # it begins at the latest, wherever that is when it is assigned
            await bus.publish(topics.nudges, [Message(b"a", encode_nudge(Nudge("a", 1)))])
            await asyncio.sleep(0.05)
        assert [letter.record.value async for letter in _letters(settings)] == [b"a letter"]
        await bus.answers()
    finally:
        await consumer.stop()
        await listener.stop()
        await bus.stop()


@pytest.mark.parametrize(("door", "more"), WAYS_IN)
async def test_every_client_comes_in_by_every_door(
    fortress: Fortress, door: str, more: dict[str, str], topic_prefix: str
) -> None:
    environment = fortress.environment(door, **more, topic_prefix=topic_prefix, partitions="1")
    await all_clients(load(environment))


async def test_a_certificate_that_is_renewed_on_disk_counts_from_the_next_connection(
    fortress: Fortress, topic_prefix: str, tmp_path: Path
) -> None:
    """For clients that were made before: cert-manager renews daily, and nobody starts anew for it."""
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def renew(pair: Pair) -> None:
        shutil.copy(pair.key, key)
        shutil.copy(pair.certificate, certificate)

    renew(fortress.client)
    files = {"kafka_ssl_certfile": str(certificate), "kafka_ssl_keyfile": str(key)}
    settings = load(fortress.environment("MUTUAL", **files, topic_prefix=topic_prefix, partitions="1"))
    await create_topics(settings)
    topics, bus = Topics(topic_prefix), KafkaBus(settings)
    renew(fortress.stranger.sign("stranger-client"))
    await bus.start()
    with pytest.raises(BusUnavailable, match="does not accept our certificate"):
        await bus.publish(topics.events, [Message(b"a", b"refused")])
    listener = NudgeConsumer(settings, topics.dispatcher_group, lambda _: None, RealClock())
    await listener.start()
    try:
        await until(lambda: "certificate" in (listener.waiting() or ""), "the consumer is refused, too")
        renew(fortress.client)
        await bus.publish(topics.events, [Message(b"a", b"taken")])
        await until(lambda: listener.waiting() is None, "the consumer has joined")
    finally:
        await listener.stop()
        await bus.stop()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_password_out_of_a_file_counts_from_the_next_connection(
    fortress: Fortress, topic_prefix: str, tmp_path: Path, mechanism: str
) -> None:
    """For clients that were made before: a producer, a consumer of a group, the lifecycle's."""
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text(WRONG)
    told = {"kafka_sasl_plain_password": "", "kafka_sasl_plain_password_file": str(file)}
    told |= {"kafka_sasl_mechanism": mechanism, "topic_prefix": topic_prefix, "partitions": "1"}
    settings = load(fortress.environment("SASL", **told))
    topics, bus = Topics(topic_prefix), KafkaBus(settings)
    await bus.start()
    with pytest.raises(BusUnavailable, match="does not accept the user or the password") as refused:
        await bus.publish(topics.events, [Message(b"a", b"refused")])
    assert "canary" not in all_of(refused.value)
    listener = NudgeConsumer(settings, topics.dispatcher_group, lambda _: None, RealClock())
    consumer, taken = broker(settings), asyncio.Queue[Any]()
    consumer.subscriber(topics.events, group_id="g", auto_offset_reset="earliest", no_reply=True)(taken.put)
    await listener.start()
    try:
        await until(lambda: "password" in (listener.waiting() or ""), "the consumer is refused, too")
        file.write_text(f"{PASSWORD}\n")
        await create_topics(settings)
        await bus.publish(topics.events, [Message(b"a", b"taken")])
        await until(lambda: listener.waiting() is None, "the consumer has joined")
        await consumer.start()
        assert await asyncio.wait_for(taken.get(), PATIENCE) == b"taken"
    finally:
        await consumer.stop()
        await listener.stop()
        await bus.stop()


def test_a_pair_that_is_renewed_by_half_leaves_the_one_before_in_use(
    fortress: Fortress, tmp_path: Path
) -> None:
    """Until the other half has come."""
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    first, second = fortress.client, fortress.authority.sign("second")
    shutil.copy(first.key, key)
    shutil.copy(first.certificate, certificate)
    context = renewable(Files("", str(certificate), str(key), ("authorities", "certificate", "key")))
    assert latest(context) is context
    shutil.copy(second.certificate, certificate)
    assert latest(context) is context
    shutil.copy(second.key, key)
    assert latest(context) is not context


@pytest.fixture
async def line(
    fortress: Fortress, postgres_database: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Line]:
    """Topics, tables, simulator; the processes come in over SASL_SSL unless told otherwise."""
    async with a_line(
        fortress.kafka.bootstrap,
        postgres_database,
        topic_prefix,
        tmp_path,
        **fortress.environment("SASL", partitions="1"),
    ) as made:
        yield made


@pytest.mark.slow
async def test_an_event_becomes_a_card_through_sasl_and_tls(line: Line) -> None:
    """`init`, `send`, lifecycle, clock, dispatcher, `replay`, as processes."""
    await line.start("lifecycle", "clock", "dispatcher")
    line.declare("s-1", ["gp-1", "gp-2"])
    events = [line.opened("s-1", ["gp-1", "gp-2"]), line.completed("s-1", "gp-1")]
    code, printed = await line.run("send", "-", stdin=msgspec.json.encode(events))
    assert (code, "2 events sent" in printed) == (0, True), printed
    await until(lambda: set(line.card("s-1").posts) == {"gp-1"}, "the card shows who is done")
    await line.producer.send_and_wait(Topics(line.prefix).events, b"no event", key=b"s-1")
    ledger = await line.settled()
    assert ledger["events"] | {"applied": 2, "dead": 1} == ledger["events"]
    code, printed = await line.run("replay")
    assert (code, "still unreadable" in printed) == (0, True), printed
    assert [await service.terminate() for service in line.services] == [0, 0, 0]
    logs = "".join(service.log.read_text() for service in line.services)
    assert PASSWORD not in logs


CERTIFICATE = "the broker's certificate is not accepted: "
REFUSALS: dict[str, tuple[str, dict[str, str], str]] = {
    "expired certificate": ("EXPIRED", {}, CERTIFICATE + "certificate has expired"),
    "certificate of another host": ("ELSEWHERE", {}, CERTIFICATE + "Hostname mismatch"),
    "unknown authority": ("TLS", {"kafka_ssl_cafile": "stranger"}, "LIVECARD_KAFKA_SSL_CAFILE"),
    "no certificate of ours": (
        "MUTUAL",
        {"kafka_ssl_certfile": "", "kafka_ssl_keyfile": ""},
        "the broker does not accept our certificate (LIVECARD_KAFKA_SSL_CERTFILE)",
    ),
    **{
        f"wrong password by {mechanism}": (
            "SASL",
            {"kafka_sasl_mechanism": mechanism, "kafka_sasl_plain_password": WRONG},
            "the broker does not accept the user or the password (LIVECARD_KAFKA_SASL_PLAIN_USERNAME",
        )
        for mechanism in MECHANISMS.split(",")
    },
    "no TLS towards TLS": (
        "TLS",
        {"kafka_security": "PLAINTEXT", "kafka_ssl_cafile": ""},
        "does this port speak PLAINTEXT (LIVECARD_KAFKA_SECURITY)?",
    ),
    "TLS towards none": ("TLS", {"kafka": "plain"}, "does this port speak SSL (LIVECARD_KAFKA_SECURITY)?"),
    "SASL towards none": ("SASL", {"kafka": "TLS"}, "LIVECARD_KAFKA_SASL_MECHANISM"),
    "no SASL towards SASL": ("TLS", {"kafka": "SASL"}, "does it ask for a user (LIVECARD_KAFKA_SECURITY)?"),
}


def refused_environment(fortress: Fortress, name: str) -> tuple[dict[str, str], str]:
    """The settings of one of the refusals, and what is to be told."""
    door, more, words = REFUSALS[name]
    known = {"stranger": str(fortress.stranger.file), "plain": fortress.kafka.bootstrap}
    known |= {each: fortress.kafka.address(each) for each in ("TLS", "SASL")}
    return fortress.environment(door, **{key: known.get(value, value) for key, value in more.items()}), words


@pytest.mark.parametrize("name", REFUSALS)
async def test_whoever_is_not_let_in_is_told_why(fortress: Fortress, name: str) -> None:
    """Every client's error says the same, and holds no secret."""
    environment, words = refused_environment(fortress, name)
    settings = load(environment)
    told = []
    with pytest.raises(BrokerError) as refused:
        await create_topics(settings)
    told.append(all_of(refused.value))
    bus = KafkaBus(settings)
    await bus.start()
    for ask in (bus.publish("t", [Message(b"a", b"b")]), bus.answers()):
        with pytest.raises(BusUnavailable) as unavailable:
            await ask
        told.append(all_of(unavailable.value))
    await bus.stop()
    consumer = broker(settings)
    consumer.subscriber("t", group_id="g")(lambda _: None)
    with pytest.raises(KafkaError) as failed:
        await consumer.start()
    await consumer.stop()
    told.append(all_of(failed.value))
    with pytest.raises(BrokerError) as unread:
        [letter async for letter in _letters(settings)]
    told.append(all_of(unread.value))
    assert [text for text in told if words not in text] == []
    assert "canary" not in "".join(told)


def all_of(error: BaseException) -> str:
    """The error and everything it came of, as a log shows them."""
    return "".join(traceback.format_exception(error))


MENDED = ("expired certificate", "certificate of another host", "wrong password by SCRAM-SHA-256")


@pytest.mark.slow
async def test_a_service_that_is_not_let_in_says_so_and_goes_on_once_it_is(
    fortress: Fortress, line: Line, tmp_path: Path
) -> None:
    """Not ready, with the reason in `/readyz` and the log; and ready when the broker was mended."""
    turned_away = {}
    try:
        for name in (*MENDED, "unknown authority"):
            port = free_port()
            environment = {key: each for key, each in line.env.items() if "_KAFKA_" not in key}
            environment |= refused_environment(fortress, name)[0] | {"LIVECARD_HTTP": f"127.0.0.1:{port}"}
            service = Service("lifecycle", environment, port, tmp_path / f"{port}.log")
            turned_away[name] = service
            line.services.append(service)
            await service.launch()
        for name, service in turned_away.items():
            words = REFUSALS[name][2]
            await until(partial(waits_for, service, words), f"{name} is told")
            log = service.log.read_text()
            assert words in log, log
            assert "canary" not in log
        code, printed = await line.run("send", "-", stdin=msgspec.json.encode(line.opened("s-2", ["gp-1"])))
        assert code == 0, printed
        fortress.show("EXPIRED", fortress.good)
        fortress.show("ELSEWHERE", fortress.good)
        fortress.set_password(WRONG)
        for name in MENDED:
            await until(turned_away[name].ready, f"{name} is ready once mended")
        assert not await turned_away["unknown authority"].ready()
        assert [await service.terminate() for service in turned_away.values()] == [0] * len(turned_away)
    finally:
        fortress.mend()


async def waits_for(service: Service, words: str) -> bool:
    """Whether `/readyz` says 503 with these words."""
    assert service.process is not None
    assert service.process.returncode is None, service.log.read_text()
    async with httpx.AsyncClient() as client:
        try:
            answer = await client.get(f"http://127.0.0.1:{service.port}/readyz")
        except httpx.TransportError:
            return False
    assert "canary" not in answer.text
    return answer.status_code == 503 and words in answer.json()["waiting"].get("lifecycle", "")
