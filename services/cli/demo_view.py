"""The demo's picture: the cards as each viewer reads them, the chat, and what is going on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from services.cli.demo_script import readers
from services.simulator.cards import ChatCard
from services.simulator.model import WeChatModel

COLOURS: Final = {1: "green", 2: "yellow", 3: "bright_black"}
STATES: Final = {1: "1 collecting", 2: "2 closing soon", 3: "3 ended"}
ABOVE: Final = 3
"""Lines of the terminal that the picture leaves alone: where the chat is, and the cursor's."""
TALLEST: Final = 10
LOWEST: Final = 4
"""Lines of the two panels below the cards, frames included."""


class Picture:
    """One frame. It fits the terminal; what has no room is the oldest."""

    def __init__(self, model: WeChatModel, log: Sequence[str], seconds: float, totals: str) -> None:
        self._cards, self._log, self._seconds = list(model.cards.values()), log, seconds
        self._totals = Text(totals, style="dim", no_wrap=False, overflow="fold")  # the console folds nothing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The cards side by side, the chat beside what is going on, the totals."""
        cards = Table.grid(expand=True)
        for _ in self._cards:
            cards.add_column(ratio=1)
        cards.add_row(*(_card(card) for card in self._cards))
        free = options.update(height=None)
        taken = sum(len(console.render_lines(each, free)) for each in (cards, self._totals))
        height = max(LOWEST, min(TALLEST, console.height - ABOVE - taken))
        said = sorted((each for card in self._cards for each in card.chat), key=lambda each: each.at)
        chat = Panel(_Tail([each.text for each in said]), title="chat", height=height, border_style="cyan")
        happening = Panel(_Tail(self._log), title=f"{self._seconds:4.1f} s", height=height)
        below = Table.grid(expand=True)
        below.add_column(ratio=2)
        below.add_column(ratio=3)
        below.add_row(chat, happening)
        yield cards
        yield below
        yield self._totals


class _Tail:
    """The last of these lines, folded where they are too long, as many as there is room for."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or TALLEST
        shown: list[Text] = []
        for line in reversed(self._lines):
            shown[:0] = Text(line).wrap(console, options.max_width)
            if len(shown) >= height:
                break
        yield from shown[-height:]


def _card(card: ChatCard) -> Panel:
    view = card.viewers()
    rows = Table.grid(padding=(0, 1))
    rows.add_row("publisher", Text(view["publisher"], style="bold"))
    for name, subtitle in readers(view):
        rows.add_row(name, Text(subtitle, style=_style(subtitle)))
    rows.add_row("others", Text(view["others"], style="dim"))
    colour = COLOURS[card.target_state]
    return Panel(rows, title=card.declaration.title, subtitle=STATES[card.target_state], border_style=colour)


def _style(subtitle: str) -> str:
    if subtitle == "即将截止":
        return "yellow"
    return "green" if subtitle.startswith("已") and subtitle != "已结束" else "dim"
