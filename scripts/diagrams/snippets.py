"""The hearts of the example backends, as the READMEs show them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

EXAMPLES: Final = Path(__file__).parents[2] / "examples" / "backend"
PROGRAMS: Final = {
    "python": EXAMPLES / "python" / "backend.py",
    "java": EXAMPLES / "java" / "Backend.java",
    "go": EXAMPLES / "go" / "backend.go",
    "javascript": EXAMPLES / "node" / "backend.mjs",
}
"""The language, as a fenced block names it, and its program."""


def heart(source: str) -> str:
    """What stands between the marks. Raises ValueError where they are missing."""
    lines = source.splitlines()
    bare = [line.strip(" \t/#") for line in lines]
    try:
        inside = slice(bare.index("README begins") + 1, bare.index("README ends"))
    except ValueError:
        raise ValueError("mark the heart of the program: README begins, README ends") from None
    return textwrap.dedent("\n".join(lines[inside])).strip("\n")


def blocks() -> dict[str, str]:
    """A fenced block for each program."""
    return {
        f"backend in {language}": f"```{language}\n{heart(path.read_text('utf-8'))}\n```"
        for language, path in PROGRAMS.items()
    }
