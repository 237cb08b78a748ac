"""`python -m tests.verification.mutants [NAME…]`: plant each bug alone, run its tool, print what found it.

Exits 1 when a bug was not found, or when a tool fails on the code as it is (then it proves nothing).
Engines: those of LIVECARD_TEST_KAFKA and LIVECARD_TEST_POSTGRES, or each run's own.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.patience import PATIENCE
from tests.verification.mutants.catalogue import MUTANTS, Mutant

FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
ROOT = Path(__file__).resolve().parents[3]
SEED = re.compile(r"seed\D{0,3}(\d+)", re.IGNORECASE)
NOT_COLLECTED = re.compile(r"^ERROR \S+\.py( -|$)|no tests ran", re.MULTILINE)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.verification.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="which bugs (default: all)")
    parser.add_argument("--list", action="store_true", help="tell the names and stop")
    # A test that waits for what a mistake withholds gives up after `PATIENCE`, and has found it then.
    parser.add_argument("--budget", type=float, default=2 * PATIENCE, help="seconds a tool gets")
    options = parser.parse_args()
    known = {mutant.name: mutant for mutant in MUTANTS}
    if unknown := set(options.names) - known.keys():
        parser.error(f"no such bug: {', '.join(sorted(unknown))}; --list tells the names")
    chosen = [known[name] for name in options.names] or list(MUTANTS)
    if options.list:
        print("\n".join(f"{mutant.name:48} {mutant.tool}" for mutant in chosen))
        return 0
    return _all(chosen, options.budget)


def _all(chosen: Sequence[Mutant], budget: float) -> int:
    for tool in dict.fromkeys(mutant.tool for mutant in chosen):
        code, seconds, told = _run(tool, budget)
        if code != 0:
            print(f"{tool} fails on the code as it is, so it proves nothing:\n{told[-2000:]}")
            return 1
        print(f"# {tool}: finds nothing in the code as it is ({seconds:.0f} s)", flush=True)
    missed = [mutant.name for mutant in chosen if not _found(mutant, budget)]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} found", *(f"; not found: {each}" for each in missed))
    return 1 if missed else 0


def _found(mutant: Mutant, budget: float) -> bool:
    code, seconds, told = _run(mutant.tool, budget, mutant.name)
    found = code == 1 and not NOT_COLLECTED.search(told)
    by = (FAILED.search(told) or SEED.search(told)) if found else None
    words = by[0].removeprefix("FAILED ") if by else f"exit {code}"
    print(f"{'found' if found else 'MISSED':6} {mutant.name:44} {seconds:5.0f} s  {words}", flush=True)
    return found


def _run(tool: str, budget: float, mutant: str = "") -> tuple[int, float, str]:
    plugin = ["-p", "tests.verification.mutants.plugin", "-p", "no:cacheprovider"]
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", *plugin, *shlex.split(tool)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LIVECARD_MUTANT": mutant},
            capture_output=True,
            text=True,
            timeout=budget,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return 124, budget, str(late)
    return done.returncode, time.monotonic() - began, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())
