"""The texts of wechat-api.md §1, row by row, as literals."""

from __future__ import annotations

import pytest

from statemachine.subtitles import Viewer, ended_message, member_done_message, subtitle

PUBLISHER, PARTICIPANT, OUTSIDER = Viewer.publisher, Viewer.participant, Viewer.bystander

ROWS = [
    (PUBLISHER, False, 1, "7人已完成", "7人已参与"),
    (PUBLISHER, False, 2, "7人已完成", "7人已参与"),
    (PUBLISHER, False, 3, "已结束", "已结束"),
    (PARTICIPANT, False, 1, "未完成", "未参与"),
    (PARTICIPANT, False, 2, "即将截止", "即将截止"),
    (PARTICIPANT, False, 3, "已结束", "已结束"),
    (PARTICIPANT, True, 1, "已完成", "已参与"),
    (PARTICIPANT, True, 2, "已完成", "已参与"),
    (PARTICIPANT, True, 3, "已结束", "已结束"),
    (OUTSIDER, False, 1, "你无需完成", "你无需参与"),
    (OUTSIDER, False, 2, "你无需完成", "你无需参与"),
    (OUTSIDER, False, 3, "已结束", "已结束"),
]


@pytest.mark.parametrize(("viewer", "done", "target_state", "complete", "participate"), ROWS)
def test_every_viewer_reads_the_documented_subtitle(viewer, done, target_state, complete, participate):
    assert subtitle(viewer, target_state, "complete", done=done, done_count=7) == complete
    assert subtitle(viewer, target_state, "participate", done=done, done_count=7) == participate


@pytest.mark.parametrize("viewer", [PUBLISHER, OUTSIDER])
@pytest.mark.parametrize("target_state", [1, 2, 3])
def test_being_done_changes_what_participants_read_only(viewer, target_state):
    texts = {subtitle(viewer, target_state, "complete", done=done, done_count=3) for done in (False, True)}
    assert len(texts) == 1


def test_the_chat_says_who_became_done():
    assert member_done_message("小明", "小红", "团建报名", "complete") == "小明 已完成 小红 发布的 团建报名"
    assert member_done_message("aaa", "bbb", "春游", "participate") == "aaa 已参与 bbb 发布的 春游"


def test_the_chat_says_that_it_ended():
    assert ended_message("小红", "团建报名统计") == "小红 发布的 团建报名统计 已结束"


@pytest.mark.parametrize("target_state", [0, 4, -1])
def test_a_state_wechat_does_not_have_has_no_subtitle(target_state):
    with pytest.raises(ValueError, match="target_state"):
        subtitle(PUBLISHER, target_state, "complete", done=False, done_count=0)


def test_a_template_wechat_does_not_have_has_no_texts():
    with pytest.raises(ValueError, match="template"):
        subtitle(PUBLISHER, 1, "other", done=False, done_count=0)
    with pytest.raises(ValueError, match="template"):
        member_done_message("a", "b", "c", "other")
