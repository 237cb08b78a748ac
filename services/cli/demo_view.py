"""The demo's picture: the cards as each viewer reads them, the chat, and what is going on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from services.cli.demo_script import readers
from services.simulator.cards import Card
from services.simulator.model import WeChatModel

COLOURS: Final = {1: "green", 2: "yellow", 3: "bright_black"}
STATES: Final = {1: "1 collecting", 2: "2 closing soon", 3: "3 ended"}


def picture(model: WeChatModel, log: Sequence[str], seconds: float, totals: str) -> RenderableType:
    """One frame."""
    cards = Table.grid(expand=True, padding=(0, 1))
    for _ in model.cards:
        cards.add_column(ratio=1)
    cards.add_row(*(_card(card) for card in model.cards.values()))
    said = sorted((each for card in model.cards.values() for each in card.chat), key=lambda each: each.at)
    chat = Panel(
        Text("\n".join(each.text for each in said[-8:])), title="chat", height=10, border_style="cyan"
    )
    happening = Panel(Text("\n".join(log[-8:])), title=f"{seconds:4.1f} s", height=10)
    below = Table.grid(expand=True, padding=(0, 1))
    below.add_column(ratio=2)
    below.add_column(ratio=3)
    below.add_row(chat, happening)
    return Group(cards, below, Text(totals, style="dim"))


def _card(card: Card) -> Panel:
    view = card.viewers()
    rows = Table.grid(padding=(0, 1))
    rows.add_row("小琳 (publisher)", Text(view["publisher"], style="bold"))
    for name, subtitle in readers(view):
        rows.add_row(name, Text(subtitle, style=_style(subtitle)))
    rows.add_row("others", Text(view["others"], style="dim"))
    colour = COLOURS[card.target_state]
    return Panel(rows, title=card.declaration.title, subtitle=STATES[card.target_state], border_style=colour)


def _style(subtitle: str) -> str:
    if subtitle == "即将截止":
        return "yellow"
    return "green" if subtitle.startswith("已") and subtitle != "已结束" else "dim"
