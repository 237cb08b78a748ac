"""The live demo's picture fits the terminal, and what is newest is there."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.console import Console

from contracts.times import SECOND
from services.cli import demo_script
from services.cli.demo_view import ABOVE, Picture
from services.simulator.behaviour import Behaviour
from services.simulator.cards import ChatToolMsg, ListedMember
from services.simulator.model import WeChatModel

TOTALS = (
    "events: 13 taken, 1 repeats · revisions: 18 raised, 12 delivered, 3 superseded, 3 on their way · "
    "calls: 124, unknown outcomes: 12"
)


def played() -> tuple[WeChatModel, list[str]]:
    """The end of the play: everything was said, every card has ended."""
    import random

    model = WeChatModel({}, random.Random(1))
    for number, declaration in enumerate(demo_script.declarations(600 * SECOND)):
        card = model.declare(0, declaration)
        for at, member in enumerate(declaration.participants or demo_script.NAMES):
            listed = (ListedMember(member, 1),)
            card.show(at + number, ChatToolMsg(target_state=1, participator_info_list=listed), Behaviour())
        card.show(SECOND, ChatToolMsg(target_state=3), Behaviour())
    steps = demo_script.play(0, 600 * SECOND).steps
    return model, [f"{step.at:5.1f}  {step.text}" for step in steps]


@pytest.mark.parametrize("size", [(80, 24), (100, 24), (100, 30), (160, 50)])
@pytest.mark.parametrize("step", range(4, 22))
def test_it_fits_and_ends_with_the_newest(size: tuple[int, int], step: int) -> None:
    model, log = played()
    log = log[:step]
    console = Console(width=size[0], height=size[1])
    options = console.options.update(no_wrap=True, overflow="ignore")  # as the command's console has them
    drawn = console.render_lines(Picture(model, log, 23.4, TOTALS), options)
    lines = ["".join(each.text for each in line) for line in drawn]
    assert len(lines) <= size[1] - ABOVE
    assert max(map(cell_len, lines)) <= size[0]
    text = "\n".join(lines)
    shown = "".join(text.split())
    newest = [word for word in log[-1].split() if word.isascii()]
    assert all(word in text for word in newest[-2:]), "the last line is there, to its end"
    assert "周报收集" in shown
    assert shown.count("已结束") >= 3
    assert "unknownoutcomes:12" in shown
