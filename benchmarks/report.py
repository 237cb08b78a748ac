"""How a benchmark is called and what it prints: the machine, tables of what was measured."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from statistics import quantiles
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from benchmarks.database import version
from benchmarks.stage import Engines, engines
from benchmarks.wechat import ROOT

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Chosen = TypeVar("Chosen", bound="DataclassInstance")
T = TypeVar("T")
PACKAGES = (
    "aiohttp",
    "aiokafka",
    "asyncpg",
    "sqlalchemy",
    "uvloop",
    "httpx",
    "faststream",
    "litestar",
    "celery",
    "procrastinate",
)


def option(default: T, text: str) -> T:
    """A field of a benchmark's options: what it is by default, and what it means."""
    chosen: T = dataclasses.field(default=default, metadata={"help": text})
    return chosen


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        first, *others = row
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([f"  {first:<{widths[0]}}", *cells]).rstrip(), flush=True)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return cuts[49], cuts[98]


def commit() -> str:
    """Which livecard it is."""
    command = ["git", "describe", "--always", "--dirty"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or installed("livecard")


def machine(on: Engines) -> None:
    """Print where it is measured, and with which versions."""
    pom = (ROOT / "scripts" / "kafka" / "pom.xml").read_text("utf-8")
    kafka = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>([\d.]+)", pom)
    print(f"livecard {commit()} on {os.cpu_count()} cores for everything, {platform.platform(terse=True)}")
    print(
        f"Python {platform.python_version()}, PostgreSQL {asyncio.run(version(on.postgres))}, "
        f"Apache Kafka {kafka[1] if kafka else '?'}"
    )
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {installed(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    print(", ".join(found), flush=True)


def run(title: str, measure: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """One benchmark, on a loop of its own."""
    print(f"\n{title}", flush=True)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # a new topic has no leader for a moment
    began = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure())
    print(f"  ({time.monotonic() - began:.0f} s)", flush=True)


def command_line(
    doc: str | None, kind: type[Chosen], measure: Callable[[Engines, Chosen], Coroutine[Any, Any, None]]
) -> None:
    """Read the options from the command line, start engines, measure."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for each in dataclasses.fields(kind):
        parser.add_argument(
            f"--{each.name.replace('_', '-')}",
            type=type(each.default),
            default=each.default,
            help=f"{each.metadata['help']} (%(default)s)",
        )
    chosen = kind(**vars(parser.parse_args()))
    with engines() as on:
        machine(on)
        run((doc or "").partition("\n")[0], lambda: measure(on, chosen))
