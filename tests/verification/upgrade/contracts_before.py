"""What the release before reads: run in a process of its own, `PYTHONPATH=TREE python contracts_before.py`.

A record's value a line on standard input; a JSON list on standard output: for each, null where it is refused,
else `[source, id, type, activity_id, time]`.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any


def read(value: bytes) -> Any:
    """One record."""
    event = import_module("contracts.decode").decode(value)
    if type(event).__name__ != "Event":
        return None
    return [event.source, event.id, event.type, event.activity_id, event.time]


if __name__ == "__main__":
    json.dump([read(line.rstrip(b"\n")) for line in sys.stdin.buffer], sys.stdout)
