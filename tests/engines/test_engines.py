"""The engines that tests and benchmarks stand on start, die and come back as they say."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from scripts.engines import EngineError, Kafka, Postgres, Redis, redis
from scripts.engines.kafka import registered_brokers
from scripts.engines.postgres import query
from scripts.engines.process import EngineProcess, free_ports, new_folder
from scripts.patience import PATIENCE
from tests.engines.support import Desk, Source, ask, sibling, without_password


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Postgres]:
    """A durable PostgreSQL of this test's own; asking for the shared one skips where there is none."""
    with Postgres(durable=True) as server:
        yield server


def test_a_crash_of_a_durable_postgres_keeps_what_was_committed(postgres: Postgres) -> None:
    query(postgres.port, "CREATE TABLE kept (id int)", database="livecard")
    postgres.restart(immediate=True)
    query(postgres.port, "INSERT INTO kept VALUES (1)", database="livecard")
    postgres.kill9()
    assert not postgres.running
    postgres.start()
    query(postgres.port, "SELECT 1 / (SELECT count(*) FROM kept)", database="livecard")


def test_postgres_says_no_with_its_own_words(postgres: Postgres) -> None:
    with pytest.raises(EngineError, match="division by zero"):
        query(postgres.port, "SELECT 1 / 0")


@pytest.mark.skipif(redis.missing() is not None, reason="only a peer of the benchmarks needs Redis")
def test_redis_answers_and_leaves_nothing_behind() -> None:
    with Redis() as server, socket.create_connection(("127.0.0.1", server.port), timeout=5) as link:
        link.sendall(b"SET kept 1\r\n")
        assert link.recv(16) == b"+OK\r\n"
    assert not server.folder.exists()
    assert not server.process.pid


def test_a_server_is_found_again_by_its_folder(postgres: Postgres) -> None:
    again = Postgres(postgres.folder)
    assert again.running
    assert again.url() == postgres.url()


def test_destroy_leaves_nothing_behind(postgres_url: str) -> None:
    server = Postgres()
    server.start()
    pid, folder = server.process.pid, server.folder
    server.destroy()
    assert not folder.exists()
    with pytest.raises(OSError, match="refused"):
        query(server.port)
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)


def test_a_broker_that_was_killed_comes_back_with_its_records(kafka: str) -> None:
    del kafka  # only asked for so that the test is skipped where no broker can be started
    with Kafka() as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(PATIENCE)
        producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"})
        producer.produce("kept", b"value")
        assert producer.flush(PATIENCE) == 0
        broker.kill9()
        assert not broker.running
        broker.start()
        assert "kept" in admin.list_topics(timeout=PATIENCE).topics


@pytest.mark.slow
def test_three_brokers_know_each_other_and_survive_the_loss_of_one(kafka: str) -> None:
    del kafka
    with Kafka(brokers=3) as cluster:
        ports = [int(address.rpartition(":")[2]) for address in cluster.bootstrap.split(",")]
        assert [registered_brokers(port) for port in ports] == [3, 3, 3]
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        admin.create_topics([NewTopic("copied", 1, 3)])["copied"].result(PATIENCE)
        cluster.kill9(0)
        producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
        producer.produce("copied", b"value")
        assert producer.flush(PATIENCE) == 0
        cluster.start_broker(0)
        assert cluster.running


def test_a_stale_pid_file_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "engine.pid").write_text(str(os.getpid()), "ascii")  # alive, but nothing of that folder
    assert EngineProcess(tmp_path, "engine", tied=False).pid is None


def test_a_process_that_ends_while_starting_shows_its_log(tmp_path: Path) -> None:
    process = EngineProcess(tmp_path, "engine", tied=True)
    process.start([sys.executable, "-c", "print('no room')", str(tmp_path)], end=signal.SIGKILL)
    with pytest.raises(EngineError, match="no room"):
        process.wait_ready(lambda: False, PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_a_tied_process_dies_with_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from scripts.engines.process import EngineProcess\n"
        f"process = EngineProcess(Path({str(tmp_path)!r}), 'engine', tied=True)\n"
        "waiting = 'import signal; print(1, flush=True); signal.pause()'\n"
        "process.start([sys.executable, '-c', waiting, sys.argv[1]], end=signal.SIGKILL)\n"
        "process.wait_ready(lambda: bool(process.log.read_text()), 600)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert parent.returncode == -signal.SIGKILL
    assert EngineProcess(tmp_path, "engine", tied=True).wait_gone(PATIENCE)


def test_free_ports_are_free_distinct_and_never_handed_to_clients() -> None:
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as taken:
        ports = free_ports(50)
        assert taken.getsockname()[1] not in ports
    assert len(set(ports)) == 50
    assert max(ports) < 32768


def test_folders_of_dead_processes_are_swept() -> None:
    folder = new_folder("sweep")
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    dead = folder.with_name(folder.name.replace(f"-{os.getpid()}-", f"-{int(child.stdout)}-"))
    folder.rename(dead)
    new_folder("sweep").rmdir()
    assert not dead.exists()


class Pretended:
    """An engine that is there as soon as it is started."""

    bootstrap = "nowhere:1"

    def __init__(self, calls: list[str], *, broken: bool) -> None:
        self.calls, self.broken = calls, broken

    def start(self) -> None:
        self.calls.append("start")
        if self.broken:
            raise EngineError("no Java")

    def url(self) -> str:
        return "nowhere:1"

    def destroy(self) -> None:
        self.calls.append("destroy")


@pytest.mark.parametrize(("broken", "answer"), [(False, ("nowhere:1", "")), (True, ("", "no Java"))])
def test_an_engine_starts_once_for_all_workers_and_only_when_one_asks(
    broken: bool, answer: tuple[str, str]
) -> None:
    calls: list[str] = []
    source = Source("It", "LIVECARD_TEST_NOTHING", lambda: None, lambda: Pretended(calls, broken=broken))  # type: ignore[arg-type,return-value]  # it pretends
    desk = Desk({"it": source})
    assert calls == []
    with socket.socket(socket.AF_UNIX) as gone:  # a worker that dies while it asks
        gone.connect(desk.place[0])
    assert [ask(desk.place, "it") for _ in range(3)] == [answer] * 3
    assert calls[0] == "start"
    desk.close()
    assert calls == ["start", "destroy"]
    with pytest.raises(FileNotFoundError):
        ask(desk.place, "it")


def test_side_by_side_nothing_starts_for_tests_that_need_nothing_and_a_failure_is_told_at_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('n', range(40))\n"
        "def test_each(n): assert n != 1, 'not one'\n"
    )
    command = [sys.executable, "-m", "pytest", "-n", "2", "-c", "pyproject.toml", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=False)
    assert "Apache Kafka: not used" in done.stdout
    assert "PostgreSQL: not used" in done.stdout
    told = f"test_it.py::test_each[1] (call)\n{tmp_path / 'test_it.py'}:3: AssertionError: not one"
    assert told in done.stdout.partition("= FAILURES =")[0]


def test_no_password_reaches_the_report() -> None:
    assert without_password("postgresql+asyncpg://me:pa@ss@db:5432/x") == "db:5432/x"
    assert sibling("postgresql+asyncpg://me:p@db:5432/x", "y") == "postgresql+asyncpg://me:p@db:5432/y"
