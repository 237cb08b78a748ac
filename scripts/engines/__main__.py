"""Start, stop and find the engines from the command line: `python -m scripts.engines start`."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.engines import (
    EngineError,
    Kafka,
    Postgres,
    chromium,
    kafka,
    npm,
    pgbouncer,
    postgres,
    prometheus,
    redis,
)

PACKAGES = {
    "kafka": ["default-jre-headless", "maven"],
    "postgres": ["postgresql"],
    "pgbouncer": ["pgbouncer"],
    "redis": ["redis-server"],
    "chromium": ["chromium", "fonts-noto-cjk"],
    "npm": ["nodejs", "npm"],
    "prometheus": ["prometheus"],
}
MISSING = {
    "kafka": kafka.missing,
    "postgres": postgres.missing,
    "pgbouncer": pgbouncer.missing,
    "redis": redis.missing,
    "chromium": chromium.missing,
    "npm": npm.missing,
    "prometheus": prometheus.missing,
}


def default_folder() -> Path:
    """Return where the engines of this user live when no folder is named."""
    return Path(tempfile.gettempdir()) / f"livecard-engines-{os.getuid()}"


def install(wanted: list[str]) -> None:
    """Install Debian's packages for the engines that cannot be started yet; needs root and apt-get."""
    absent = [name for name in wanted if MISSING[name]()]
    packages = [package for name in absent for package in PACKAGES[name]]
    if not packages:
        print("everything the engines need is here")
        return
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        raise EngineError(f"install these packages first: {' '.join(packages)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    subprocess.run(command, env=quiet, check=True, stdout=subprocess.DEVNULL)
    print(f"installed {' '.join(packages)}")


class Engines:
    """The engines of one folder, each in a folder of its own."""

    def __init__(self, folder: Path, wanted: list[str], *, brokers: int, durable: bool) -> None:
        """Describe them; a folder of another user is refused."""
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise EngineError(f"{folder} belongs to another user; name a folder with --dir")
        self.folder, self.wanted = folder, wanted
        self._brokers, self._durable = brokers, durable

    def kafka(self) -> Kafka:
        """Return the cluster."""
        return Kafka(self.folder / "kafka", brokers=self._brokers, tied=False)

    def postgres(self) -> Postgres:
        """Return the server."""
        return Postgres(self.folder / "postgres", tied=False, durable=self._durable)

    def known(self, name: str) -> bool:
        """Whether the engine was started here, running or not."""
        return (self.folder / name).exists()

    def start(self) -> None:
        """Start what is wanted and does not run, and print how to reach it."""
        for name in self.wanted:
            began = time.monotonic()
            engine = self.kafka() if name == "kafka" else self.postgres()
            fresh = not engine.running
            engine.start()
            if fresh:
                print(f"# {name} is ready after {time.monotonic() - began:.1f} s", file=sys.stderr)
        self.environment()

    def stop(self) -> None:
        """Stop what is wanted and remove its data."""
        for name in self.wanted:
            if self.known(name):
                (self.kafka() if name == "kafka" else self.postgres()).destroy()
                print(f"{name}: stopped, its folder removed")
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def status(self) -> None:
        """Tell what runs."""
        for name in self.wanted:
            running = self.known(name) and (self.kafka() if name == "kafka" else self.postgres()).running
            print(f"{name}: {'runs' if running else 'does not run'} ({self.folder / name})")

    def environment(self) -> None:
        """Print the environment that the tests read, for a shell's eval."""
        if "kafka" in self.wanted and self.known("kafka") and self.kafka().running:
            print(f"export LIVECARD_TEST_KAFKA={self.kafka().bootstrap}")
        if "postgres" in self.wanted and self.known("postgres") and self.postgres().running:
            print(f"export LIVECARD_TEST_POSTGRES={self.postgres().url()}")


def main() -> int:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m scripts.engines", description=__doc__)
    parser.add_argument(
        "action",
        choices=["start", "stop", "status", "env", "install"],
        help="start: start them and print their addresses; stop: stop them and remove their data; "
        "env: print `export LIVECARD_TEST_…`; install: install Debian's packages for what is missing",
    )
    parser.add_argument("--kafka", type=int, metavar="N", help="only Apache Kafka, with N brokers (1 or 3)")
    parser.add_argument("--postgres", action="store_true", help="only PostgreSQL (with --kafka: both)")
    parser.add_argument(
        "--redis", action="store_true", help="install: only Redis, which `make bench` asks for"
    )
    parser.add_argument("--durable", action="store_true", help="PostgreSQL keeps its durable settings")
    parser.add_argument("--install", action="store_true", help="start: install what is missing first (root)")
    parser.add_argument("--dir", type=Path, default=default_folder(), help="where they live (%(default)s)")
    options = parser.parse_args()
    both = options.kafka is None and not options.postgres
    wanted = [
        name for name, on in [("kafka", both or options.kafka), ("postgres", both or options.postgres)] if on
    ]
    try:
        if options.action == "install" or options.install:
            beside = ["pgbouncer"] if "postgres" in wanted else []
            beside += ["chromium", "npm", "prometheus"] if both else []
            install(["redis"] if options.redis else [*wanted, *beside])
        if options.action != "install":
            engines = Engines(
                options.dir.resolve(), wanted, brokers=options.kafka or 1, durable=options.durable
            )
            actions = {"start": engines.start, "stop": engines.stop, "status": engines.status}
            actions.get(options.action, engines.environment)()
    except (EngineError, subprocess.CalledProcessError) as error:
        print(f"engines: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
