"""A failover of PostgreSQL under load: the primary is killed, its standby promoted, and the old primary comes
back as a standby of the new one.

`python -m tests.e2e.failover` starts engines of its own and two of each service, whose URL names both
servers, and tells how long after the promotion all were ready, the first event was handled and the last
card was right. With `--address one` the URL names one address, as that of a load balancer, which leads to
the old primary until that is back as a standby, and only then to the new one.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from scripts.engines import Kafka, Postgres
from scripts.engines.postgres import USER, query
from tests.e2e.line import a_line
from tests.e2e.outage import Figures, Trouble, outage
from tests.verification.chaos.proxy import Proxy

DURABLE: Final = {"synchronous_commit": "on"}
"""A commit that the standby does not have would be lost with the primary."""


@contextmanager
def two_servers() -> Iterator[tuple[Postgres, Postgres]]:
    """A primary, and a standby that has each commit before it is answered."""
    with Postgres(settings=DURABLE) as primary:
        standby = Postgres(settings=DURABLE)
        try:
            standby.follow(primary)
            query(primary.port, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            query(primary.port, "SELECT pg_reload_conf()")
            yield primary, standby
        finally:
            standby.destroy()


def url_of(*ports: int) -> str:
    """A URL that names each of these servers."""
    hosts = "&".join(f"host=127.0.0.1:{port}" for port in ports)
    return f"postgresql+asyncpg://{USER}@/{USER}?{hosts}"


class Failover(Trouble):
    """The database goes, and comes back as another server."""

    more = 3.0

    def __init__(self, primary: Postgres, standby: Postgres, address: Proxy | None = None) -> None:
        self._primary, self._standby, self._address = primary, standby, address
        self._promoted = False

    def strike(self) -> None:
        """The primary is killed."""
        self._primary.kill9()

    def mend(self) -> None:
        """The standby is promoted. Safe to repeat."""
        if self._promoted:
            return
        self._promoted = True
        self._standby.promote()
        if self._address is not None:
            self._primary.follow(self._standby)
            self._address.target = self._standby.port

    def afterwards(self) -> None:
        """The old primary is a standby, at the address that everybody knows."""
        if self._address is None:
            self._primary.follow(self._standby)


async def drill(
    kafka: str,
    prefix: str,
    folder: Path,
    figures: Figures,
    settings: Mapping[str, str],
    *,
    rate: float,
    one_address: bool = False,
) -> Figures:
    """One drill; `figures.seconds` from the kill to the promotion, `rate` in events a second."""
    with two_servers() as (primary, standby):
        address = Proxy(primary.port) if one_address else None
        ports = [primary.port, standby.port]
        if address is not None:
            await address.start()
            ports = [address.port]
        try:
            async with a_line(kafka, url_of(*ports), prefix, folder, **settings) as line:
                await outage(line, Failover(primary, standby, address), figures, rate)
        finally:
            if address is not None:
                await address.stop()
    return figures


async def main(options: argparse.Namespace) -> int:
    """Engines, a line, a failover; 1 when anything was wrong."""
    figures, one = Figures("postgres", "failover", options.seconds), options.address == "one"
    with Kafka() as kafka, tempfile.TemporaryDirectory() as folder:
        await drill(kafka.bootstrap, "drill.", Path(folder), figures, {}, rate=options.rate, one_address=one)
    print(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode())
    return 1 if figures.wrong or figures.not_alive else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="from the kill to the promotion")
    parser.add_argument("--address", choices=["hosts", "one"], default="hosts")
    parser.add_argument("--rate", type=float, default=20, help="events a second")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    sys.exit(asyncio.run(main(parser.parse_args())))
