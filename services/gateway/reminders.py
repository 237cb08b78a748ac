"""What a page hands to `wx.notifyGroupMembers` to remind who is missing (wechat-api.md §7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from unicodedata import east_asian_width

import msgspec

WIDEST_TITLE: Final = 30
"""A Chinese character counts 2."""


class Notify(msgspec.Struct, frozen=True):
    """The argument of `wx.notifyGroupMembers`, with WeChat's own names; `type` is the verb that is shown."""

    title: str
    members: Sequence[str]
    entrancePath: str  # noqa: N815  # WeChat's name
    type: str


def short_title(title: str) -> str:
    """As much of the title as `wx.notifyGroupMembers` takes; whatever some font shows wide counts 2."""
    width = 0
    for place, character in enumerate(title):
        width += 2 if character > "\xff" and east_asian_width(character) in "WFA" else 1
        if width > WIDEST_TITLE:
            return title[:place]
    return title
