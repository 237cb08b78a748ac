"""What people read: the card's subtitle per viewer and the chat's system messages (wechat-api.md §1)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from contracts.wechat import TARGET_ENDED, TARGET_NEARING, TARGET_OPEN


class Viewer(StrEnum):
    """Who looks at the card. `bystander` is in the chat but takes no part."""

    publisher = "publisher"
    participant = "participant"
    bystander = "bystander"


_VERBS: Final[dict[str, str]] = {"complete": "完成", "participate": "参与"}

_SUBTITLES: Final[dict[tuple[Viewer, bool], dict[int, str]]] = {
    (Viewer.publisher, False): {
        TARGET_OPEN: "{count}人已{verb}",
        TARGET_NEARING: "{count}人已{verb}",
        TARGET_ENDED: "已结束",
    },
    (Viewer.participant, False): {
        TARGET_OPEN: "未{verb}",
        TARGET_NEARING: "即将截止",
        TARGET_ENDED: "已结束",
    },
    (Viewer.participant, True): {
        TARGET_OPEN: "已{verb}",
        TARGET_NEARING: "已{verb}",
        TARGET_ENDED: "已结束",
    },
    (Viewer.bystander, False): {
        TARGET_OPEN: "你无需{verb}",
        TARGET_NEARING: "你无需{verb}",
        TARGET_ENDED: "已结束",
    },
}


def subtitle(viewer: Viewer, target_state: int, template: str, *, done: bool, done_count: int) -> str:
    """The line under the card's title as `viewer` reads it (wechat-api.md §1).

    `done` matters for a participant only, `done_count` (members done) for the publisher only.
    Raises ValueError for a target state or template that WeChat does not have.
    """
    row = _SUBTITLES[viewer, done and viewer is Viewer.participant]
    if target_state not in row:
        raise ValueError(f"no such target_state: {target_state}")
    return row[target_state].format(count=done_count, verb=_verb(template))


def member_done_message(member: str, publisher: str, title: str, template: str) -> str:
    """What the chat says when a member becomes done; names, not ids, where they are known.

    Raises ValueError for a template that WeChat does not have.
    """
    return f"{member} 已{_verb(template)} {publisher} 发布的 {title}"


def ended_message(publisher: str, title: str) -> str:
    """What the chat says when the activity ends (documented for mini games only)."""
    return f"{publisher} 发布的 {title} 已结束"


def _verb(template: str) -> str:
    if template not in _VERBS:
        raise ValueError(f"no such template: {template!r}")
    return _VERBS[template]
