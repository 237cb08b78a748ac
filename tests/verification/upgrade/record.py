"""Records the histories anew: `python -m tests.verification.upgrade.record` tells what would change.

`--write` changes it.

Only what the reference and the state machines agree upon is recorded.
"""

from __future__ import annotations

import argparse
import sys

import msgspec

from tests.verification.model.harness import Machines
from tests.verification.model.reference import Reference
from tests.verification.upgrade.history import (
    FOLDER,
    MARGIN,
    History,
    by_model,
    differences,
    read_histories,
    write_histories,
)
from tests.verification.upgrade.scenarios import everything


def play(history: History) -> History:
    """With what it comes to. Raises ValueError where the two judges do not agree."""
    expected = by_model(history, Reference(MARGIN))
    found = by_model(history, Machines(MARGIN))
    if other := differences(expected, found):
        raise ValueError(f"{history.name}: reference → machines differ: {other}")
    played = msgspec.structs.replace(history, came_to=expected)
    return msgspec.json.decode(msgspec.json.encode(played), type=History)


def changes(before: History | None, after: History) -> list[str]:
    """What a history comes to now and did not before."""
    if before is None:
        return ["is new"]
    found = [] if before.steps == after.steps else ["its steps are others"]
    return found + differences(before.came_to, after.came_to)


def main() -> int:
    """The command line; 1 where something would change and was not written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="record what they come to now")
    options = parser.parse_args()
    changed = 0
    for file, histories in everything().items():
        path = FOLDER / f"{file}.jsonl"
        recorded = {each.name: each for each in read_histories(file)} if path.exists() else {}
        played = [play(history) for history in histories]
        for each in played:
            for line in changes(recorded.get(each.name), each):
                changed += 1
                print(f"{file}: {each.name}: {line}")
        gone = recorded.keys() - {each.name for each in played}
        for name in sorted(gone):
            changed += 1
            print(f"{file}: {name}: is gone")
        if options.write:
            write_histories(file, played)
    print(f"{changed} differences" + (", recorded" if options.write and changed else ""))
    return 1 if changed and not options.write else 0


if __name__ == "__main__":
    sys.exit(main())
