"""Apache Kafka: the broker's jars in a cache folder, one or several KRaft nodes on 127.0.0.1."""

import base64
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.engines.process import EngineError, EngineProcess, free_ports, new_folder, remember
from scripts.patience import PATIENCE

POM = Path(__file__).resolve().parent.parent / "kafka" / "pom.xml"
MINIMUM_JAVA = 17
LOGGING = """<Configuration status="error"><Appenders><Console name="out">
<PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
<Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


def cache_folder() -> Path:
    """Return where the jars are kept: LIVECARD_ENGINES_CACHE, or `livecard` in the user's cache folder."""
    if named := os.environ.get("LIVECARD_ENGINES_CACHE"):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "livecard"


def jars_folder() -> Path:
    """Return the folder of the jars that the present pom asks for, whether it exists or not."""
    return cache_folder() / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"


def java_command() -> str | None:
    """Return the path of a Java that can run the broker, or None."""
    home = os.environ.get("JAVA_HOME")
    for candidate in [f"{home}/bin/java" if home else None, shutil.which("java")]:
        if candidate is None or not Path(candidate).exists():
            continue
        told = subprocess.run([candidate, "-version"], capture_output=True, text=True, check=False).stderr
        version = told.partition('"')[2].partition('"')[0].split(".")[0].split("-")[0]
        if version.isdigit() and int(version) >= MINIMUM_JAVA:
            return candidate
    return None


def missing() -> str | None:
    """Say what keeps Apache Kafka from being started here, or None when nothing does."""
    if java_command() is None:
        return f"no Java {MINIMUM_JAVA} or newer (Debian: default-jre-headless)"
    if not jars_folder().exists() and shutil.which("mvn") is None:
        return "no Maven to fetch the broker with (Debian: maven)"
    return None


def fetch_jars() -> Path:
    """Return the folder of the broker's jars, fetching them once; several processes may do it together."""
    target = jars_folder()
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        told = subprocess.run(
            [
                *("mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"),
                *(f"-DoutputDirectory={partial / 'libs'}", "-DincludeScope=runtime"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            raise EngineError(f"Maven could not fetch the broker:\n{(told.stdout + told.stderr)[-2000:]}")
        try:
            (partial / "libs").rename(target)
        except OSError:
            if not target.exists():  # otherwise somebody else was faster, and theirs is as good
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def registered_brokers(port: int) -> int:
    """Ask the broker on `port` how many the cluster has (Metadata v1, no topics); 0 without an answer."""
    body = struct.pack(">hhihi", 3, 1, 1, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link, link.makefile("rb") as answer:
            link.sendall(struct.pack(">i", len(body)) + body)
            head = answer.read(12)
        return int(struct.unpack(">iii", head)[2])
    except (OSError, struct.error):
        return 0


class Kafka:
    """A cluster of Apache Kafka brokers on this machine, each also a controller."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        brokers: int = 1,
        tied: bool = True,
        heap_mb: int = 384,
        fast_start: bool = True,
        settings: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the cluster; `start` starts it.

        `folder`: where data and logs live (default: a temporary one); `destroy` removes it. `tied`: the
        brokers die with the thread that starts them. `fast_start`: quick to start, slower under load; turn it
        off and raise `heap_mb` for benchmarks. `settings`: more broker properties, they win over ours.
        `listeners`: more doors of each broker, name → protocol (`SSL`, `SASL_SSL`, …), advertised as
        localhost; `address` tells them, and `settings` (listener.name.…) say what is shown and asked there.
        """
        self.folder = folder or new_folder("kafka")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._listeners = dict(listeners or {})
        facts = remember(self.folder, "kafka", lambda: self._facts(brokers, len(self._listeners)))
        self._cluster = facts["cluster"]
        self._ports = [int(port) for port in facts["ports"].split(",")]
        self._controllers = [int(port) for port in facts["controllers"].split(",")]
        self._doors = [int(port) for port in facts.get("doors", "").split(",") if port]
        self._heap_mb, self._fast_start, self._settings = heap_mb, fast_start, dict(settings or {})
        self.processes = [
            EngineProcess(self.folder, f"kafka-{node}", tied=tied) for node in range(1, len(self._ports) + 1)
        ]

    @staticmethod
    def _facts(brokers: int, listeners: int) -> dict[str, str]:
        ports = [str(port) for port in free_ports((2 + listeners) * brokers)]
        noise = os.urandom(16)
        # The top bit is cleared: an id that begins with "-" looks like an option to the storage tool.
        cluster = base64.urlsafe_b64encode(bytes([noise[0] & 127]) + noise[1:]).decode().rstrip("=")
        return {
            "cluster": cluster,
            "ports": ",".join(ports[:brokers]),
            "controllers": ",".join(ports[brokers : 2 * brokers]),
            "doors": ",".join(ports[2 * brokers :]),
        }

    @property
    def bootstrap(self) -> str:
        """The addresses of all brokers, comma-separated."""
        return ",".join(f"127.0.0.1:{port}" for port in self._ports)

    def address(self, listener: str) -> str:
        """The addresses of all brokers at one of the `listeners`, comma-separated."""
        place, brokers = list(self._listeners).index(listener), len(self._ports)
        return ",".join(f"localhost:{port}" for port in self._doors[place * brokers : (place + 1) * brokers])

    @property
    def running(self) -> bool:
        """Whether every broker's process runs."""
        return all(process.pid is not None for process in self.processes)

    def start(self, *, seconds: float = PATIENCE) -> Self:
        """Start what does not run and wait until every broker answers and knows all the others."""
        for index in range(len(self.processes)):
            self._launch(index)
        for index, process in enumerate(self.processes):
            process.wait_ready(lambda index=index: self._knows_all(index), seconds)  # type: ignore[misc]  # mypy cannot infer a lambda's default
        return self

    def _knows_all(self, index: int) -> bool:
        return registered_brokers(self._ports[index]) >= len(self._ports)

    def start_broker(self, index: int, *, seconds: float = PATIENCE) -> None:
        """Start one broker (counted from 0) and wait until it answers."""
        self._launch(index)
        self.processes[index].wait_ready(lambda: registered_brokers(self._ports[index]) > 0, seconds)

    def stop(self, *, seconds: float = 30) -> None:
        """Shut all brokers down in order, killing those that take longer than `seconds`; the data stays."""
        for process in self.processes:
            process.send(signal.SIGTERM)
        for process in self.processes:
            if not process.wait_gone(seconds):
                process.kill9()

    def stop_broker(self, index: int, *, seconds: float = 30) -> None:
        """Shut one broker down in order."""
        self.processes[index].send(signal.SIGTERM)
        if not self.processes[index].wait_gone(seconds):
            self.processes[index].kill9()

    def kill9(self, index: int | None = None) -> None:
        """Kill one broker, or all."""
        for process in self.processes if index is None else [self.processes[index]]:
            process.kill9()

    def restart(self, index: int | None = None) -> None:
        """Stop and start one broker, or all."""
        if index is None:
            self.stop()
            self.start()
        else:
            self.stop_broker(index)
            self.start_broker(index)

    def destroy(self) -> None:
        """Kill all brokers and remove their data and logs."""
        self.kill9()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """Start the cluster."""
        try:
            return self.start()
        except BaseException:
            self.destroy()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the cluster."""
        self.destroy()

    def _launch(self, index: int) -> None:
        process = self.processes[index]
        if process.pid is not None:
            return
        if reason := missing():
            raise EngineError(f"Apache Kafka cannot be started: {reason}")
        java, classes = str(java_command()), f"{fetch_jars()}/*"
        properties = self.folder / f"kafka-{index + 1}.properties"
        logging = self.folder / "log4j2.xml"
        logging.write_text(LOGGING, "utf-8")
        if not (self.folder / f"kafka-{index + 1}").exists():
            properties.write_text(self._properties(index), "utf-8")
            self._format(java, classes, properties)
        tuning = ["-XX:TieredStopAtLevel=1"] if self._fast_start else []
        process.start(
            [
                *(java, "-Xms128m", f"-Xmx{self._heap_mb}m", "-XX:+UseSerialGC", *tuning),
                *(f"-Dlog4j2.configurationFile={logging}", "-cp", classes, "kafka.Kafka", str(properties)),
            ],
            end=signal.SIGKILL,
        )

    def _format(self, java: str, classes: str, properties: Path) -> None:
        told = subprocess.run(
            [
                *(java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", classes, "kafka.tools.StorageTool"),
                *("format", "-t", self._cluster, "-c", str(properties)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            raise EngineError(f"Apache Kafka's storage could not be formatted:\n{told.stdout}{told.stderr}")

    def _properties(self, index: int) -> str:
        node, copies = index + 1, min(3, len(self._ports))
        in_sync = max(1, copies - 1)
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(self._controllers, 1))
        doors = {name: self.address(name).split(",")[index] for name in self._listeners}
        values = {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": voters,
            "listeners": ",".join(
                [
                    f"PLAINTEXT://127.0.0.1:{self._ports[index]}",
                    f"CONTROLLER://127.0.0.1:{self._controllers[index]}",
                    *(f"{name}://{address}" for name, address in doors.items()),
                ]
            ),
            "advertised.listeners": ",".join(
                [
                    f"PLAINTEXT://127.0.0.1:{self._ports[index]}",
                    *(f"{name}://{address}" for name, address in doors.items()),
                ]
            ),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}"
                for name, protocol in {
                    "PLAINTEXT": "PLAINTEXT",
                    "CONTROLLER": "PLAINTEXT",
                    **self._listeners,
                }.items()
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / f"kafka-{node}"),
            "num.partitions": "4",
            "auto.create.topics.enable": "false",
            "default.replication.factor": str(copies),
            "min.insync.replicas": str(in_sync),
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": str(copies),
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": str(copies),
            "transaction.state.log.min.isr": str(in_sync),
            "share.coordinator.state.topic.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": str(copies),
            "share.coordinator.state.topic.min.isr": str(in_sync),
            "group.initial.rebalance.delay.ms": "0",
            "broker.session.timeout.ms": "3000",  # a killed broker is noticed in 3 s instead of 9
            "log.cleaner.dedupe.buffer.size": "16777216",
            **self._settings,
        }
        return "".join(f"{key}={value}\n" for key, value in values.items())
