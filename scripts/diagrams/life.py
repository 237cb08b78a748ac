"""A card's life: its state over time, the calls that bring it there, and what each viewer reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final

from scripts.diagrams.svg import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    INK,
    RED,
    SOFT,
    Colours,
    box,
    labelled,
    picture,
    rule,
    words,
)
from statemachine.states import ENDED, NEARING, OPEN, TARGET_STATE
from statemachine.subtitles import Viewer, ended_message, member_done_message, subtitle

LEFT, COLUMN, WIDTH, HEIGHT = 170, 178, 1080, 500
TITLE, PUBLISHER = "团建报名统计", "Cindy"


@dataclass(frozen=True)
class Phase:
    """A stretch of the card's life: what began it, the call that was made, and who is done since."""

    at: str
    event: str
    state: str
    call: str
    done: frozenset[str] = frozenset()


PHASES: Final = (
    Phase("08:00", "opened", OPEN, "none: a card starts at 1"),
    Phase("10:12", "Alex completed", OPEN, "state 1, [Alex]", frozenset({"Alex"})),
    Phase("17:00", "an hour to go", NEARING, "state 2", frozenset({"Alex"})),
    Phase("17:40", "Bob completed", NEARING, "state 2, [Bob]", frozenset({"Alex", "Bob"})),
    Phase("18:00", "deadline", ENDED, "state 3", frozenset({"Alex", "Bob"})),
)
ROWS: Final = (
    ("Cindy, who published it", Viewer.publisher, ""),
    ("Alex, who takes part", Viewer.participant, "Alex"),
    ("Bob, who takes part", Viewer.participant, "Bob"),
    ("Dora, who does not", Viewer.bystander, ""),
)
STATE_COLOURS: Final[dict[str, Colours]] = {OPEN: GREEN, NEARING: AMBER, ENDED: GREY}


def draw() -> str:
    """The picture for the README."""
    parts = [words(20, 34, f"{TITLE}: a card's life", size=17, bold=True, anchor="start")]
    parts += [rule(_x(index), 62, _x(index), 404) for index in range(len(PHASES))]
    for index, phase in enumerate(PHASES):
        parts.append(
            words(_x(index) + 6, 76, f"{phase.at}  {phase.event}", size=13, bold=True, anchor="start")
        )
        parts.append(words(_x(index) + 6, 162, phase.call, size=12, colour=SOFT, anchor="start"))
    parts += [_side(122, "state"), _side(162, "call to WeChat"), *_states()]
    for number, (name, viewer, person) in enumerate(ROWS):
        y = 190 + number * 52
        parts += [_side(y + 25, name), *_reads(y, viewer, person)]
    parts += [rule(20, 412, WIDTH - 20, 412, dotted=False), *_chat()]
    return picture(WIDTH, HEIGHT, "A card's life: what each viewer reads", parts)


def _x(index: int) -> int:
    return LEFT + index * COLUMN + 10


def _side(y: int, name: str) -> str:
    return words(20, y, name, size=13, colour=INK, anchor="start")


def _states() -> list[str]:
    parts = []
    for state, run in groupby(range(len(PHASES)), key=lambda index: PHASES[index].state):
        columns = list(run)
        caption = [f"{state} ({TARGET_STATE[state]})"]
        width = len(columns) * COLUMN - 8
        parts.append(labelled(_x(columns[0]) + 2, 94, width, 44, colours=STATE_COLOURS[state], lines=caption))
    return parts


def _reads(y: int, viewer: Viewer, person: str) -> list[str]:
    def text(index: int) -> str:
        phase = PHASES[index]
        number, done = TARGET_STATE[phase.state], person in phase.done
        return subtitle(viewer, number, "complete", done=done, done_count=len(phase.done))

    parts = []
    for line, run in groupby(range(len(PHASES)), key=text):
        columns = list(run)
        x, width = _x(columns[0]) + 2, len(columns) * COLUMN - 8
        parts += [
            box(x, y, width, 40, _colours(line), radius=6),
            words(x + width // 2, y + 26, line, size=16),
        ]
    return parts


def _colours(line: str) -> Colours:
    if line == "已结束":
        return GREY
    if line == "即将截止":
        return RED
    return BLUE if line.startswith("已") else ("#ffffff", "#bcccdc")


def _chat() -> list[str]:
    parts = [_side(444, "the chat says")]
    for index, phase in enumerate(PHASES):
        new = phase.done - (PHASES[index - 1].done if index else frozenset())
        lines = [member_done_message(each, PUBLISHER, "…", "complete") for each in sorted(new)]
        lines += [ended_message(PUBLISHER, "…")] if phase.state == ENDED else []
        parts += [words(_x(index) + 6, 444, line, size=12, anchor="start") for line in lines]
    parts.append(words(20, 480, _LEGEND, size=12, colour=SOFT, anchor="start"))
    return parts


_LEGEND: Final = (
    "完成 done · 未完成 not done · 即将截止 closing soon · 已结束 ended · 你无需完成 nothing for you to do"
    " · N人已完成 N are done"
)
