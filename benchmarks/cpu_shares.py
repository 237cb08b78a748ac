"""Where a profiled process spent its time, by package: `python -m benchmarks.cpu_shares FILE.prof`.

`BENCH_PROFILE=FOLDER python -m benchmarks.dispatch` leaves such files. Functions written in C count for who
called them. The event loop's own time, in which it also waits, is told apart: the shares are of the rest.
"""

from __future__ import annotations

import pstats
import sys
from collections import defaultdict
from pathlib import Path

from benchmarks.report import table
from benchmarks.wechat import ROOT

Function = tuple[str, int, str]
LOOP = "the event loop and waiting"
MOST = 25


def group(function: Function) -> str:
    """The package that a function belongs to; of ours, the folder."""
    name, _, called = function
    if name == "~":
        return LOOP if "uvloop" in called or "epoll" in called or "Context" in called else ""
    if name.startswith("<frozen importlib"):
        return "Python's import machinery"
    path = Path(name)
    if "site-packages" in path.parts:
        inner = path.parts[path.parts.index("site-packages") + 1]
        return inner.removesuffix(".py")
    if path.is_relative_to(ROOT):
        return "/".join(path.relative_to(ROOT).parts[:2]).removesuffix(".py")
    return f"Python's {path.parent.name if path.parent.name == 'asyncio' else 'library'}"


def shares(file: str) -> dict[str, float]:
    """Seconds of own time by group."""
    found: dict[str, float] = defaultdict(float)
    statistics: dict[Function, tuple[int, int, float, float, dict[Function, tuple[int, int, float, float]]]]
    statistics = vars(pstats.Stats(file))["stats"]
    for function, (_, _, own, _, callers) in statistics.items():
        if of := group(function):
            found[of] += own
            continue
        for caller, (_, _, part, _) in callers.items():
            found[group(caller) or "Python's library"] += part
    return found


def main() -> None:
    """The table."""
    found = shares(sys.argv[1])
    waited = found.pop(LOOP, 0.0)
    total = sum(found.values())
    print(f"{total:.1f} s in Python and what it called; {LOOP}: {waited:.1f} s")
    largest = sorted(found.items(), key=lambda each: -each[1])[:MOST]
    table(["", "share"], [[name, f"{own / total:.1%}"] for name, own in largest])


if __name__ == "__main__":
    main()
