"""Engines for the tests: Apache Kafka, PostgreSQL and SQLite, and the account of which ones were used.

LIVECARD_TEST_KAFKA and LIVECARD_TEST_POSTGRES name engines that run already (`make engines-start` prints
them); otherwise they are started once per session where possible, and tests that need a missing one are
skipped, or fail with LIVECARD_REQUIRE_ENGINES=1.
"""

import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from services.runtime import logs
from tests.engines.support import REQUIRED, Desk, Source, administer, pooled, run_apart, sibling, sources
from tests.order import slow_ones_first

# Property tests judge answers, never how long a busy machine took for them.
settings.register_profile("livecard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("livecard")

SOURCES = pytest.StashKey[dict[str, Source]]()
DESK = pytest.StashKey[Desk]()
NEEDS = {"kafka": ("kafka",), "postgres": ("postgres_url", "postgres_database")}


def pytest_configure(config: pytest.Config) -> None:
    """Look up the engines. Side by side (`-n`), the workers share those of the one who leads them."""
    config.stash[SOURCES] = sources(getattr(config, "workerinput", {}).get("desk"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where to ask for engines: they start when its first test needs them."""
    config: pytest.Config = node.config
    if DESK not in config.stash:
        config.stash[DESK] = desk = Desk(config.stash[SOURCES])
        config.add_cleanup(desk.close)
    node.workerinput["desk"] = config.stash[DESK].place


def pytest_sessionstart(session: pytest.Session) -> None:
    """Whoever writes to the terminal tells failures at once."""
    if reporter := session.config.pluginmanager.get_plugin("terminalreporter"):
        session.config.pluginmanager.register(AtOnce(reporter))


class AtOnce:
    """Tells a failure when it happens; the whole story follows at the end."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            told = f"{crash.path}:{crash.lineno}: {crash.message}" if crash else report.longreprtext
            self._reporter.write_line("")  # ends the line of dots
            self._reporter.write_line(f"FAILED {report.nodeid} ({report.when})", red=True)
            self._reporter.write_line("\n".join(told.splitlines()[:20]))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tell which engines the tests will meet."""
    demand = " (required)" if REQUIRED else ""
    return [f"{source.title}{demand}: {source.outlook()}" for source in config.stash[SOURCES].values()]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with the engines its fixtures need, so that `-m 'not kafka'` means what it says.
    Side by side, half of the workers begin with the slow tests, which mostly wait; none is left for last."""
    for item in items:
        for marker, fixtures in NEEDS.items():
            if set(fixtures) & set(getattr(item, "fixturenames", ())):
                item.add_marker(marker)
    if workers := getattr(config, "workerinput", {}).get("workercount", 0):
        items[:] = slow_ones_first(items, workers)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell which engines were used and, in capitals, how many tests went without."""
    terminalreporter.section("engines")
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for source in config.stash[SOURCES].values():
        terminalreporter.line(f"{source.title}: {source.story}")
        count = sum(f"{source.title.upper()} IS MISSING" in reason for reason in skipped)
        if count:
            loud = (
                f"{count} TESTS WERE SKIPPED FOR WANT OF {source.title.upper()}: NOTHING IS PROVEN ABOUT IT"
            )
            terminalreporter.line(loud, red=True, bold=True)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[str]:
    """The bootstrap servers of a real Apache Kafka, shared by the session; see `topic_prefix`."""
    source = request.config.stash[SOURCES]["kafka"]
    yield source.obtain()
    source.close()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}."


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The SQLAlchemy URL of a database on a real PostgreSQL, shared by all; see `postgres_database`.

    `LIVECARD_TEST_POOLER=transaction` (or `session`): through a PgBouncer in that mode.
    """
    source = request.config.stash[SOURCES]["postgres"]
    url = source.obtain()
    if mode := os.environ.get("LIVECARD_TEST_POOLER"):
        with pooled(url, mode) as through:
            yield through
    else:
        yield url
    source.close()


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database of this test's own."""
    name = f"t{uuid.uuid4().hex}"
    run_apart(administer(postgres_url, f'CREATE DATABASE "{name}"'))
    yield sibling(postgres_url, name)
    run_apart(administer(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
def sqlite_database(tmp_path: Path) -> str:
    """The SQLAlchemy URL of an empty SQLite database of this test's own."""
    return f"sqlite+aiosqlite:///{tmp_path / 'livecard.sqlite3'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest) -> str:
    """The SQLAlchemy URL of an empty database of this test's own, once on SQLite, once on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_database")
    return url


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Logging is again as it was, after a test that configures it: what the next one logs would be lost in
    this one's captured stream."""
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()
    levels = {name: logging.getLogger(name).level for name in logs._QUIET}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)
    for name, each in levels.items():
        logging.getLogger(name).setLevel(each)
