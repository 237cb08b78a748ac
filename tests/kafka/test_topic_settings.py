"""Topics that others made: which setting is wrong is told by `init` and by readiness."""

from __future__ import annotations

import httpx

from contracts.topics import Topics
from services.kafka.admin import create_topics
from services.kafka.topic_settings import TopicWatch
from services.runtime.clock import RealClock
from services.runtime.health import Health
from services.runtime.http import HttpServer
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings
from tests.kafka.reading import make_topics, settings_for


async def test_init_and_readiness_name_topic_and_setting(kafka: str, topic_prefix: str) -> None:
    """It keeps nobody from work, so it is a warning beside an answer of 200."""
    topics, settings = Topics(topic_prefix), Settings(kafka=kafka, topic_prefix=topic_prefix)
    compacted = {"cleanup.policy": "compact"}
    await make_topics(kafka, {topics.dead: {}, topics.changes: {}, topics.events: compacted})
    report = await create_topics(settings)
    wrong = [
        f"topic {topics.events}: cleanup.policy is compact and should be delete",
        f"topic {topics.dead}: max.message.bytes is 1048588 and should be at least 2097176",
    ]
    assert sorted(report.wrong) == sorted(wrong)
    assert all(any(each in line for line in report.lines()) for each in wrong)

    watch = TopicWatch(settings)
    await watch.check()
    server = HttpServer("127.0.0.1:0", Health(list, RealClock(), 60.0, topics=watch), Metrics().registry)
    await server.start()
    try:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{server.url}/readyz")
    finally:
        await server.stop()
    assert (answer.status_code, sorted(answer.json()["warnings"])) == (200, sorted(wrong))


async def test_topics_of_ours_have_no_wrong_settings(kafka: str, topic_prefix: str) -> None:
    settings = await settings_for(kafka, topic_prefix)
    assert (await create_topics(settings)).wrong == ()
    watch = TopicWatch(settings)
    await watch.check()
    assert watch.warnings == []
