"""The three machines as Mermaid diagrams and tables, row by row from statemachine.states and .card."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.diagrams.languages import Say, english
from statemachine.card import CLOSED, DELIVERY_TABLE, IN_SYNC, Phase
from statemachine.states import ACTIVITY_TABLE, ENDED, OPEN, PARTICIPANT_TABLE, PENDING, TARGET_STATE

Row = dict[str, str]


def diagram(table: Sequence[Row], first: str, last: str, names: dict[str, str]) -> str:
    """A `stateDiagram-v2` fenced for Markdown; `names` are the states' captions."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR"]
    lines += [f"    {state}: {caption}" for state, caption in names.items()]
    lines.append(f"    [*] --> {first}")
    lines += [f"    {row['source']} --> {row['dest']}: {row['trigger']}" for row in table]
    lines += [f"    {last} --> [*]", "```"]
    return "\n".join(lines)


def triggers(table: Sequence[Row], say: Say) -> str:
    """The same rows as a table, with the words that say when."""
    return markdown(
        [say(head) for head in ("trigger", "from", "to", "when")],
        [[f"`{row['trigger']}`", row["source"], row["dest"], say(row["when"])] for row in table],
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def activity(say: Say = english) -> str:
    """The activity machine."""
    names = {state: f"{say(state)} (target_state {number})" for state, number in TARGET_STATE.items()}
    return f"{diagram(ACTIVITY_TABLE, OPEN, ENDED, names)}\n\n{triggers(ACTIVITY_TABLE, say)}"


def participant(say: Say = english) -> str:
    """The participant machine."""
    table, done = PARTICIPANT_TABLE, PARTICIPANT_TABLE[-1]["dest"]
    names = {PENDING: f"{say(PENDING)} (0)", done: f"{say(done)} (1)"}
    return f"{diagram(table, PENDING, done, names)}\n\n{triggers(table, say)}"


def delivery(say: Say = english) -> str:
    """The delivery machine. An arrow carries every trigger that goes its way; the table has the words."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in DELIVERY_TABLE:
        arrows.setdefault((row["source"], row["dest"]), []).append(row["trigger"])
    drawn = [
        {"source": source, "dest": dest, "trigger": ", ".join(names)}
        for (source, dest), names in arrows.items()
    ]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for row in DELIVERY_TABLE:
        rows.setdefault((row["trigger"], row["dest"], row["when"]), []).append(row["source"])
    table = [
        {"trigger": trigger, "source": ", ".join(sources), "dest": dest, "when": when}
        for (trigger, dest, when), sources in rows.items()
    ]
    names = {str(phase): say(str(phase)) for phase in Phase}
    return f"{diagram(drawn, IN_SYNC, CLOSED, names)}\n\n{triggers(table, say)}"
