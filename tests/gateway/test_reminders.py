"""The title of a reminder, as long as `wx.notifyGroupMembers` takes it (wechat-api.md §7)."""

from __future__ import annotations

import pytest

from services.gateway.reminders import short_title


@pytest.mark.parametrize(
    ("title", "short"),
    [
        ("", ""),
        ("团建报名统计", "团建报名统计"),
        ("团" * 15, "团" * 15),
        ("团" * 16, "团" * 15),
        ("a" * 30, "a" * 30),
        ("a" * 31, "a" * 30),
        ("a" + "团" * 15, "a" + "团" * 14),
        ("a" * 29 + "团", "a" * 29),
        ("a" * 28 + "团b", "a" * 28 + "团"),
        ("，" * 16, "，" * 15),
        ("“" * 16, "“" * 15),
        ("🎉" * 16, "🎉" * 15),
        ("é" * 31, "é" * 30),
    ],
)
def test_a_title_is_cut_where_it_gets_too_wide(title: str, short: str) -> None:
    """A Chinese character counts 2, and so does what may be shown as wide; none is cut in half."""
    assert short_title(title) == short
