"""Recorded histories come to what they came to when they were recorded, whatever became of the tables.

A deliberate change of a rule is recorded by `python -m tests.verification.upgrade.record --write`,
which tells each difference.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.store.open import migrate
from tests.engines.support import run_apart
from tests.store.benches import Bench, MemoryBench, PostgresBench, SqliteBench
from tests.store.conftest import prepare_postgres
from tests.store.support import Scene
from tests.verification.model.harness import Machines
from tests.verification.model.reference import Reference
from tests.verification.upgrade.history import (
    MARGIN,
    History,
    by_model,
    by_store,
    differences,
    read_histories,
)
from tests.verification.upgrade.record import changes, play
from tests.verification.upgrade.scenarios import everything

RULES, MADE = read_histories("rules"), read_histories("made")
named = pytest.mark.parametrize("history", [*RULES, *MADE], ids=lambda history: history.name)


@named
def test_the_state_machines_come_to_what_was_recorded(history: History) -> None:
    """Each event through the decoder, the tables, and what is published."""
    assert differences(history.came_to, by_model(history, Machines(MARGIN))) == []


@named
def test_the_reference_comes_to_what_was_recorded(history: History) -> None:
    """The judge of all other tests has not changed its mind either."""
    assert differences(history.came_to, by_model(history, Reference(MARGIN))) == []


def test_what_is_recorded_is_what_the_script_makes() -> None:
    """So that recording anew shows the changes of rules, and nothing else."""
    for name, histories in everything().items():
        recorded = {each.name: each for each in read_histories(name)}
        assert list(recorded) == [each.name for each in histories]
        assert {each.name: changes(recorded[each.name], play(each)) for each in histories} == {
            name: [] for name in recorded
        }


@pytest.fixture(scope="module")
def fresh_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Bench]:
    """Makes empty SQLite stores."""
    folder = tmp_path_factory.mktemp("histories")
    template, made = folder / "template.sqlite3", iter(range(10_000))
    run_apart(migrate(f"sqlite+aiosqlite:///{template}"))

    def make() -> Bench:
        path = Path(shutil.copy(template, folder / f"{next(made)}.sqlite3"))
        return SqliteBench(path)

    return make


@pytest.fixture(scope="module")
def fresh_postgres(postgres_url: str) -> Iterator[Callable[[], Bench]]:
    """Empties one PostgreSQL database again and again."""
    with prepare_postgres(postgres_url) as url:
        yield lambda: PostgresBench(url)


async def _play_all(histories: list[History], make: Callable[[], Bench]) -> None:
    wrong: dict[str, list[str]] = {}
    for history in histories:
        bench = make()
        await bench.begin()
        scene = Scene(bench)
        try:
            wrong[history.name] = differences(history.came_to, await by_store(history, scene))
            await scene.balance()
        finally:
            await bench.close()
    assert {name: found for name, found in wrong.items() if found} == {}


async def test_the_dict_store_comes_to_what_was_recorded() -> None:
    """Event by event through the lifecycle's verb, timers through the clock's, 47504 through a settle."""
    await _play_all([*RULES, *MADE], MemoryBench)


async def test_sqlite_comes_to_what_was_recorded(fresh_sqlite: Callable[[], Bench]) -> None:
    """The same."""
    await _play_all([*RULES, *MADE], fresh_sqlite)


async def test_postgresql_comes_to_what_was_recorded(fresh_postgres: Callable[[], Bench]) -> None:
    """The same; emptying takes its time, so every fourth of those that a seed made."""
    await _play_all([*RULES, *MADE[::4]], fresh_postgres)
