"""A dispatcher that is lied to lives, leaks nothing, and makes every card true once it is told the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.line import a_line, until
from tests.verification.fuzz.asking import ask
from tests.verification.fuzz.liar import Between, descriptors
from tests.verification.fuzz.run import resident

SEED = 20261121
CARDS, PEOPLE, LIES = 12, 200, 40
PLACES = 80
"""Connections that a dispatcher may keep: 64 for messages, 8 for the rest, and some for its own ends."""
SETTINGS = {
    "LIVECARD_CALL_DEADLINE": "1",
    "LIVECARD_LEASE": "5",
    "LIVECARD_BACKOFF": "0.2",
    "LIVECARD_BACKOFF_CAP": "0.5",
    "LIVECARD_COALESCE": "0.1",
    "LIVECARD_SWEEP": "0.5",
    "LIVECARD_PROBE": "1",
    "LIVECARD_REPAIR_AFTER": "2",
}


async def test_answers_by_the_hundred_give_verdicts() -> None:
    """As `python -m tests.verification.fuzz answers` does with very many."""
    answers = await ask(400, SEED)
    assert not answers.wrong, answers.lines()
    assert answers.asked == 400


@pytest.mark.slow
async def test_every_card_becomes_right_once_the_lying_ends(
    kafka: str, postgres_database: str, topic_prefix: str, tmp_path: Path
) -> None:
    """HTML, halves, floods, resets, drips, silence and leftovers, some calls applied and some not."""
    async with a_line(kafka, postgres_database, topic_prefix, tmp_path, **SETTINGS) as line:
        between = Between(line.simulator.url, SEED)
        await between.start()
        line.settings["LIVECARD_WECHAT"] = between.url
        try:
            _, dispatcher = await line.start("lifecycle", "dispatcher")
            assert dispatcher.process is not None
            people = [f"gp-{number}" for number in range(PEOPLE)]
            cards = [f"a-{number}" for number in range(CARDS)]
            for name in cards:
                line.declare(name, people)
            await line.send(*(line.opened(name, people) for name in cards))
            before, warm = descriptors(dispatcher.process.pid), resident(dispatcher)
            done = 0
            while between.ways.total() < LIES:
                assert done < PEOPLE - 1, between.ways
                await line.send(*(line.completed(name, people[done]) for name in cards))
                done += 1
                told = between.ways.total()
                await until(lambda: between.ways.total() > told, "it is lied to")  # noqa: B023 (used at once)
            between.lying = False
            await line.send(*(line.completed(name, people[done]) for name in cards))  # dead ones wake
            done += 1

            def shown() -> bool:
                return all(line.card(name).posts.keys() == set(people[:done]) for name in cards)

            await until(shown, "every card shows everybody")
            ledger = await line.settled()
            assert ledger["events"]["applied"] == CARDS * (done + 1)
            assert len(between.ways) >= 6, between.ways
            assert between.elsewhere == 0
            assert await dispatcher.ready()
            assert descriptors(dispatcher.process.pid) <= before + PLACES
            assert between.open <= PLACES
            print(f"{between.ways}; {warm:.0f} MiB, then {resident(dispatcher):.0f} MiB")
            assert resident(dispatcher) < 1.5 * warm  # a fresh process still grows into its work
            for service in line.services:
                assert await service.terminate() == 0
        finally:
            await between.stop()
