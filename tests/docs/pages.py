"""Every page of the repository, and what is to be typed on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PLACES: Final = ("docs", "deploy", "examples", "tests")
EVERY: Final = sorted(
    [
        *ROOT.glob("*.md"),
        *(
            page
            for place in PLACES
            for page in (ROOT / place).rglob("*.md")
            if "node_modules" not in page.parts
        ),
    ]
)
FENCED: Final = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    """As the repository calls it."""
    return page.relative_to(ROOT).as_posix()


def spans(text: str) -> list[str]:
    """What is set as code within the prose."""
    return re.findall(r"`([^`\n]+)`", FENCED.sub("", text))


def typed(text: str) -> Iterator[str]:
    """Command lines: those of fenced blocks, and what is set as code within the prose."""
    for block in re.findall(r"^ *```(?:console|sh|bash)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"(^|\s)#.*", "", line).strip()
    yield from spans(text)
