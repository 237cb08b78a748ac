"""Tables for people and for pipes: folded to a terminal's width, and whole everywhere else."""

from __future__ import annotations

from io import StringIO
from typing import Final

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

ENDLESS: Final = 1_000_000
"""Characters; no line is as long."""


def table(*columns: str, title: str = "", justify: JustifyMethod = "left") -> Table:
    """An empty one; nothing in it is ever cut off."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        made.add_column(name, justify=justify, overflow="fold")
    return made


def print_table(out: Console, made: Table) -> None:
    """A terminal's lines are folded; `grep` and files get one line a row."""
    if out.file.isatty():
        out.print(made, soft_wrap=False)
        return
    whole = Console(file=StringIO(), width=ENDLESS, color_system=None)
    with whole.capture() as captured:
        whole.print(made)
    for line in captured.get().splitlines():
        out.print(Text(line.rstrip()), soft_wrap=True)
