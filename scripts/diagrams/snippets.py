"""The hearts of the example backends, as the READMEs show them, and the producers of docs/events.md."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

_EXAMPLES: Final = Path(__file__).parents[2] / "examples"
_BACKENDS: Final = _EXAMPLES / "backend"
_PRODUCERS: Final = _EXAMPLES / "producer"
PROGRAMS: Final = {
    "python": _BACKENDS / "python" / "backend.py",
    "java": _BACKENDS / "java" / "Backend.java",
    "go": _BACKENDS / "go" / "backend.go",
    "javascript": _BACKENDS / "node" / "backend.mjs",
}
"""The language, as a fenced block names it, and its program."""
PRODUCERS: Final = {
    "python": ("python", _PRODUCERS / "python" / "publish.py"),
    "python with contracts": ("python", _PRODUCERS / "python" / "publish_checked.py"),
    "java": ("java", _PRODUCERS / "java" / "Publish.java"),
    "go": ("go", _PRODUCERS / "go" / "publish.go"),
    "javascript": ("javascript", _PRODUCERS / "node" / "publish.mjs"),
}
"""Its part of the page, its language, and the program, which is shown whole."""


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


def producers() -> dict[str, str]:
    """A fenced block for each producer."""
    return {
        f"producer in {name}": f"```{language}\n{path.read_text('utf-8').rstrip()}\n```"
        for name, (language, path) in PRODUCERS.items()
    }
