"""Planted secrets are in no log, metric, span, answer, row, record, command line or error, whatever fails."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from sqlalchemy import make_url

from contracts.topics import Topics
from tests.e2e.line import APPID, Line, Service, a_line, free_port, until
from tests.security import conftest
from tests.security import vault as vaults
from tests.security.calling import API_KEY, SEALING, every_way, key_files
from tests.security.conftest import Fortress
from tests.security.evil import SESSION_KEY, WAYS, Evil
from tests.security.vault import Vault
from tests.tracing.collector import Collector, a_collector
from tests.wechat.company import kept

APP_SECRET = "canary-app-secret-77e0"
WRONG = "canary-wrong-52aa"
COLLECTOR = "canary-collector-18b2"
TOKEN_KEY = "canary-token-key-0f3d"
QUICK = {
    "LIVECARD_LOG_LEVEL": "debug",
    "LIVECARD_CALL_DEADLINE": "1.5",
    "LIVECARD_LEASE": "4",
    "LIVECARD_COALESCE": "0.1",
    "LIVECARD_SWEEP": "0.3",
    "LIVECARD_BACKOFF": "0.1",
    "LIVECARD_BACKOFF_CAP": "0.3",
    "LIVECARD_REPAIR_AFTER": "0.5",
    "LIVECARD_UNKNOWN_CODE_ATTEMPTS": "20",
    "LIVECARD_PROBE": "0.3",
}


def traced(collector: Collector) -> dict[str, str]:
    """Spans go to a collector that asks for a secret."""
    return {
        "LIVECARD_TRACES": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{COLLECTOR}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


def shapes(secret: str) -> set[str]:
    """A secret as it might stand in a text: as it is, in a URL, in JSON, in base64 wherever it begins."""
    encoded = {base64.b64encode(b"\0" * pad + secret.encode())[4:-4].decode() for pad in range(3)}
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
    } | encoded


def leaks(said: dict[str, str], secrets: Iterable[str]) -> list[str]:
    """Where a secret shows, and around which words."""
    needles = {"canary", *(shape for secret in secrets for shape in shapes(secret))} - {""}
    found = []
    for where, text in said.items():
        clean = text.replace("canary-free-1", "")
        for needle in needles:
            place = clean.find(needle)
            if place >= 0:
                found.append(f"{where}: …{clean[max(0, place - 80) : place + 80]}…")
    return found


def planted(fortress: Fortress) -> list[str]:
    """Every secret that the processes are given; tokens come later."""
    key = [line for line in fortress.client.key.read_text().splitlines() if "-----" not in line]
    return [APP_SECRET, WRONG, COLLECTOR, TOKEN_KEY, conftest.PASSWORD, vaults.PASSWORD, *key]


def test_the_search_finds_every_shape_of_a_secret() -> None:
    """The test of the tests: each is found where it is hidden, and nothing where there is nothing."""
    secret = 'p:/@% "é7\\'
    for text in (secret, repr({"a": secret}), json.dumps(secret), quote(secret, safe=""), quote(secret)):
        assert leaks({"log": f"so {text} is"}, [secret]), text
    for prefix in ("", "u:", "\0user\0"):
        assert leaks({"log": base64.b64encode(f"{prefix}{secret}, and more".encode()).decode()}, [secret])
    assert leaks({"log": "p:/@%"}, [secret]) == []


@pytest.mark.slow
async def test_no_secret_leaves_a_process_whatever_fails(
    fortress: Fortress, vault: Vault, topic_prefix: str, tmp_path: Path
) -> None:
    """Kafka by SASL and TLS, PostgreSQL by password and TLS, everything at DEBUG, a platform that echoes."""
    apps = tmp_path / "apps.json"
    kept(tmp_path / "app-secret", APP_SECRET)
    away_for_ever = {"token_url": f"http://127.0.0.1:9/?key={WRONG}", "token_key": TOKEN_KEY}
    kept(apps, json.dumps({APPID: {"secret_file": str(tmp_path / "app-secret")}, "wx-2": away_for_ever}))
    pair = {
        "kafka_ssl_certfile": str(fortress.client.certificate),
        "kafka_ssl_keyfile": str(fortress.client.key),
    }
    environment = fortress.environment(
        "SASL", kafka_sasl_mechanism="PLAIN", partitions="1", apps_file=str(apps), apps="", **pair
    )
    stranger = fortress.stranger.sign("evil")
    async with (
        a_collector() as collector,
        Evil() as evil,
        Evil(stranger) as masked,
        a_line(fortress.kafka.bootstrap, vault.url(), topic_prefix, tmp_path, **environment, **QUICK) as line,
    ):
        line.settings["LIVECARD_WECHAT"] = evil.url
        line.settings |= traced(collector)
        lost = await away(line, fortress, vault, masked.url)
        line.settings |= key_files(tmp_path)
        serving = await line.start("lifecycle", "clock")
        (gateway,) = await line.start("gateway")
        session, answered = await every_way(gateway, evil)
        serving.append(gateway)
        parent = f"00-{'a' * 32}-{'b' * 16}-01"
        await line.send(line.opened("c-1", ["gp-1"]), line.completed("c-1", "gp-1", traceparent=parent))
        await line.producer.send_and_wait(Topics(line.prefix).events, b"no event", key=b"c-1")
        called = [lost["no such name"], lost["a certificate of nobody's"]]
        await asyncio.gather(*(until(partial(calls, each), "a call failed") for each in called))
        said = await everything_said(line, list(lost.values()), [])
        await asyncio.gather(*(service.terminate() for service in called))
        line.settings["PYTHONASYNCIODEBUG"] = "1"
        serving += await line.start("dispatcher")
        del line.settings["PYTHONASYNCIODEBUG"]  # it would stand in what the commands print
        await until(lambda: evil.did == list(WAYS), "every way was gone")
        await line.settled()
        assert len(evil.tokens) >= 2
        said |= await everything_said(line, serving, ["settings --json", "gates", "show c-1"])
        said["answers of the API"] = answered
        assert [await service.terminate() for service in serving] == [0] * len(serving)
        said["spans"] = collector.text
        assert {"take in events", "process", "setChatToolMsg"} <= collector.kinds
        said |= {f"log of {s.kind} {s.port}": s.log.read_text() for s in line.services}
        secrets = [session, SESSION_KEY, SEALING, API_KEY, *evil.tokens]
        assert leaks(said, [*planted(fortress), *secrets]) == []


EXPECTED = {
    "a wrong password for Kafka": "the broker does not accept the user or the password",
    "a wrong password for the database": "password authentication failed",
}


async def away(line: Line, fortress: Fortress, vault: Vault, masked: str) -> dict[str, Service]:
    """Processes that cannot reach something, each in its own way, started and not ready."""
    wrong = fortress.environment("SASL", kafka_sasl_mechanism="PLAIN", kafka_sasl_plain_password=WRONG)
    ways = {
        "a wrong password for Kafka": ("lifecycle", wrong),
        "a wrong password for the database": ("clock", {"LIVECARD_DATABASE": vault.url(password=WRONG)}),
        "no such name": ("dispatcher", {"LIVECARD_WECHAT": "https://wechat.invalid"}),
        "a certificate of nobody's": ("dispatcher", {"LIVECARD_WECHAT": masked}),
    }
    made = {}
    for name, (kind, settings) in ways.items():
        port = free_port()
        environment = {**line.env, **settings, "LIVECARD_HTTP": f"127.0.0.1:{port}"}
        made[name] = Service(kind, environment, port, line.folder / f"{port}.log")
        line.services.append(made[name])
        await made[name].launch()
    await asyncio.gather(*(until(service.answers, f"{name} serves") for name, service in made.items()))
    for name, words in EXPECTED.items():
        await until(partial(told, made[name], words), f"{name} is told")
    return made


async def told(service: Service, words: str) -> bool:
    """Whether `/readyz` says so."""
    return words in await page(service, "readyz")


def command_line(pid: int) -> str:
    """What `ps` shows."""
    return Path(f"/proc/{pid}/cmdline").read_text()


async def calls(service: Service) -> bool:
    """Whether a dispatcher tried to call the platform, by its metrics."""
    return 'livecard_calls_total{errcode="none"' in await page(service, "metrics")


async def page(service: Service, path: str) -> str:
    """What a process answers."""
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{service.port}/{path}")).text


async def everything_said(line: Line, services: list[Service], commands: list[str]) -> dict[str, str]:
    """Pages, command lines, what commands print, rows and records."""
    said: dict[str, str] = {}
    for service in services:
        assert service.process is not None
        for path in ("metrics", "healthz", "readyz"):
            said[f"{path} {service.port}"] = await page(service, path)
        said[f"ps {service.port}"] = command_line(service.process.pid)
    for words in commands:
        said[words] = (await line.run(*words.split()))[1]
    said["rows"] = await everything_in(line.database)
    said["records"] = await everything_on(line)
    return said


async def everything_in(database: str) -> str:
    """Every row of every table, as text."""
    place = make_url(database)
    connection = await asyncpg.connect(
        host="127.0.0.1", port=place.port, database=place.database, user="livecard", ssl="disable"
    )
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [await connection.fetch(f'SELECT t::text FROM "{table[0]}" t') for table in tables]
    finally:
        await connection.close()
    assert sum(map(len, rows)) > 0
    return "\n".join(row[0] for table in rows for row in table)


async def everything_on(line: Line) -> str:
    """Every record of every topic."""
    topics = Topics(line.prefix)
    names = (topics.events, topics.nudges, topics.changes, topics.dead)
    consumer = AIOKafkaConsumer(
        *names,
        bootstrap_servers=line.kafka.split(","),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        ends: dict[Any, int] = await consumer.end_offsets(list(consumer.assignment()))
        read: list[str] = []
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                read += [repr((each.key, each.value, each.headers)) for each in records]
    finally:
        await consumer.stop()
    assert read
    return "\n".join(read)
