"""What a planted bug is, and how it is planted in a copy of the tree."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[3]


class Mutant(msgspec.Struct, frozen=True):
    """In `file` the text `old`, which stands there exactly once, becomes `new`.

    `tool` is what should find it: pytest's arguments, or, beginning with `-m`, a module's.
    """

    name: str
    file: str
    old: str
    new: str
    tool: str

    def planted(self, text: str) -> str:
        """The file's text with the bug in it; raises `ValueError` when the code has moved on."""
        count = text.count(self.old)
        if count != 1:
            raise ValueError(f"{self.name}: its text stands {count} times in {self.file}, not once")
        return text.replace(self.old, self.new)


def copy_tree(target: Path) -> None:
    """What git knows of, as it is in the work tree, with the same interpreter beside it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    if (ROOT / ".venv").exists():
        (target / ".venv").symlink_to(ROOT / ".venv")
