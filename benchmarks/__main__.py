"""Several benchmarks on the same engines: `python -m benchmarks [NAME …]`; no name: those of `make bench`."""

from __future__ import annotations

import argparse
from functools import partial
from importlib import import_module

from benchmarks.report import machine, run
from benchmarks.stage import engines

QUICK = ("dispatch", "ends", "latency", "ingest", "burst", "idle", "gateway")
GROWTH = ("growth", "recovery", "fairness", "joining")


def main() -> None:
    """The command line; options are for each alone, `python -m benchmarks.NAME --help`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join((*QUICK, *GROWTH))}")
    names = parser.parse_args().names or QUICK
    with engines() as on:
        machine(on)
        for name in names:
            module = import_module(f"benchmarks.{name}")
            title = (module.__doc__ or name).partition("\n")[0]
            run(title, partial(module.measure, on, module.Options()))


if __name__ == "__main__":
    main()
