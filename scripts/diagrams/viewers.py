"""What each viewer reads, as a table from statemachine.subtitles."""

from __future__ import annotations

from scripts.diagrams.languages import Say, english
from scripts.diagrams.mermaid import markdown
from statemachine.states import TARGET_STATE
from statemachine.subtitles import Viewer, subtitle

WHO = [
    ("publisher", Viewer.publisher, False),
    ("participant, not done", Viewer.participant, False),
    ("participant, done", Viewer.participant, True),
    ("not a participant", Viewer.bystander, False),
]


def table(say: Say = english) -> str:
    """Each viewer's subtitle in each state, for both templates."""
    head = [say("viewer"), *(f"{say(state)} ({number})" for state, number in TARGET_STATE.items())]
    rows = [
        [say(name), *(_cell(viewer, done, number) for number in TARGET_STATE.values())]
        for name, viewer, done in WHO
    ]
    return markdown(head, rows)


def _cell(viewer: Viewer, done: bool, number: int) -> str:  # noqa: FBT001 (a column of the table)
    texts = [
        subtitle(viewer, number, template, done=done, done_count=3)
        for template in ("complete", "participate")
    ]
    return " / ".join(dict.fromkeys(texts))
