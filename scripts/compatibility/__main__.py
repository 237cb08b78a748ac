"""`python -m scripts.compatibility [--release]`: does a change of contracts/ break who publishes or reads?"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Final

from contracts import generate
from scripts.compatibility.breaks import breaks
from scripts.compatibility.shape import Json

HERE: Final = Path(__file__).parent
RELEASED: Final = HERE / "released.json"
"""The AsyncAPI document of the last release."""
ACCEPTED: Final = HERE / "accepted.toml"


def accepted() -> dict[str, str]:
    """The breaks that were decided on since the last release, each with its reason."""
    read = tomllib.loads(ACCEPTED.read_text("utf-8"))
    return {what: each["why"] for each in read.get("break", []) for what in each["what"]}


def meant(decided: str, found: str) -> bool:
    """Whether a line that was decided on, in which `*` stands for anything, is the one that was found."""
    return re.fullmatch(".*".join(map(re.escape, decided.split("*"))), found) is not None


def verdict(old: Json, new: Json, decided: dict[str, str]) -> list[str]:
    """What is wrong, a line each; nothing when nobody is broken who was not meant to be."""
    found = breaks(old, new)
    wrong = [
        f"breaks who uses the last release: {each}"
        for each in found
        if not any(meant(line, each) for line in decided)
    ]
    return wrong + [
        f"accepted, but no longer so: {line}"
        for line in decided
        if not any(meant(line, each) for each in found)
    ]


def release() -> None:
    """Today's contracts are the last release's from now on."""
    shutil.copy(generate.FOLDER / "asyncapi.json", RELEASED)
    head = "".join(line for line in ACCEPTED.read_text("utf-8").splitlines(keepends=True) if line[:1] == "#")
    ACCEPTED.write_text(head, "utf-8")


def main() -> int:
    """Exit 1 when something breaks."""
    parser = argparse.ArgumentParser(prog="python -m scripts.compatibility", description=__doc__)
    parser.add_argument("--release", action="store_true", help="at a release: compare with it from now on")
    if parser.parse_args().release:
        release()
        return 0
    wrong = verdict(json.loads(RELEASED.read_text("utf-8")), generate.asyncapi(), accepted())
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        print(
            "Keep what others use. Where that cannot be, add it to scripts/compatibility/accepted.toml with "
            "the reason, and to CHANGELOG.md under Changed.",
            file=sys.stderr,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
