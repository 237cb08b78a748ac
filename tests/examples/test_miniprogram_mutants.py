"""Each of the platform's rules is broken in a copy of the example mini program, and its test reports it."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from tests.examples import stage
from tests.examples.stage import needs_npm

RULES: Final = Path(__file__).parent / "test_miniprogram_rules.py"
LIST: Final = "tool/pages/list/list"
ADDRESS: Final = "resolved"
"""Where npm writes a registry's address."""
Mutation = tuple[str, str, str]
"""A file of the mini program, what stands there, what takes its place; in place of nothing: at the end."""


def in_app(old: str, new: str) -> Mutation:
    return "app.json", old, new


def in_list(call: str) -> Mutation:
    return f"{LIST}.ts", "", f"{call}\n"


def shown(tag: str) -> Mutation:
    return f"{LIST}.wxml", "", f"{tag}\n"


CHAT_TOOL: Final = "test_the_app_declares_one_chat_tool_whose_root_is_its_subpackage"
SUBPACKAGE: Final = "test_the_subpackage_is_independent_and_skyline_draws_it"
HEAD: Final = "test_pages_that_skyline_draws_bring_their_own_head_and_scroll_in_themselves"
PROJECT: Final = "test_the_project_asks_for_a_base_library_with_the_open_mode"
EXISTS: Final = "test_every_page_listed_exists_and_every_page_is_listed"
OUTWARD: Final = "test_the_chat_tool_goes_by_navigate_to_only_to_its_own_pages"
FORBIDDEN: Final = "test_nothing_is_forbidden_in_a_chat_tool"
INSIDE: Final = "test_an_independent_subpackage_imports_nothing_from_outside"
SHOWS: Final = "test_the_example_shows_every_call_of_a_chat_tool"
TSC: Final = "test_tsc_accepts_every_call_and_the_subpackage_is_small"
TYPINGS: Final = "test_the_typings_lack_exactly_what_the_example_declares"
TOOL: Final = '"root": "tool",\n      "entryPagePath"'

BROKEN: Final[dict[str, tuple[str, Mutation]]] = {
    "two chat tools": (CHAT_TOOL, in_app('"chatTools": [', '"chatTools": [{"root": "a"},')),
    "another root": (CHAT_TOOL, in_app(TOOL, TOOL.replace("tool", "other"))),
    "an entry page that is none of its own": (
        CHAT_TOOL,
        in_app('"entryPagePath": "pages/list', '"entryPagePath": "a'),
    ),
    "no description": (CHAT_TOOL, in_app('"desc": "在聊天里发起任务，查看谁已完成"', '"desc": ""')),
    "a scope that there is not": (CHAT_TOOL, in_app('"scopes": []', '"scopes": ["userLocation"]')),
    "a dependent subpackage": (SUBPACKAGE, in_app('"independent": true', '"independent": false')),
    "another renderer": (SUBPACKAGE, in_app('"renderer": "skyline"', '"renderer": "webview"')),
    "another framework": (SUBPACKAGE, in_app('"glass-easel"', '"exparser"')),
    "code that is loaded at once": (SUBPACKAGE, in_app('"requiredComponents"', '"none"')),
    "skyline on trial": (SUBPACKAGE, in_app('"disableABTest": true', '"disableABTest": false')),
    "too old a base library": (SUBPACKAGE, in_app('"3.7.8"', '"3.7.7"')),
    "a page that skyline does not draw": (SUBPACKAGE, (f"{LIST}.json", '"skyline"', '"webview"')),
    "a page with the platform's head": (HEAD, (f"{LIST}.json", '"custom"', '"default"')),
    "a page that scrolls": (HEAD, (f"{LIST}.json", '"disableScroll": true', '"disableScroll": false')),
    "a page without a head": (HEAD, (f"{LIST}.wxml", '<page-head title="群任务" />', "")),
    "a component that there is not": (HEAD, (f"{LIST}.json", "/page-head/page-head", "/page-head/none")),
    "no entry file": ("test_the_subpackage_has_its_entry_file", in_app('"entry.js"', '"start.js"')),
    "a base library without the open mode": (
        PROJECT,
        ("../project.config.json", '"libVersion": "3.12.0"', '"libVersion": "3.11.9"'),
    ),
    "a page that is listed alone": (EXISTS, in_app('"pages/send/send"', '"pages/send/send", "pages/a/a"')),
    "a page that is not listed": (EXISTS, in_app(', "pages/send/send"', "")),
    "a way to no page": (
        "test_every_page_that_the_code_names_exists",
        in_list("wx.navigateTo({ url: '/tool/pages/a/a' })"),
    ),
    "a way out by navigateTo": (OUTWARD, in_list("wx.navigateTo({ url: '/pages/home/home' })")),
    "a way out by switchTab": (OUTWARD, in_list("wx.switchTab({ url: '/pages/a/a' })")),
    "a handler that there is not": (
        "test_every_handler_of_a_page_is_in_its_code",
        (f"{LIST}.wxml", 'bindtap="leave"', 'bindtap="go"'),
    ),
    "a value that there is not": (
        "test_every_value_that_a_page_shows_is_in_its_data",
        (f"{LIST}.wxml", "{{problem}}", "{{trouble}}"),
    ),
    "a button that shares": (FORBIDDEN, shown('<button open-type="share">a</button>')),
    "an advertisement": (FORBIDDEN, shown('<ad unit-id="a" />')),
    "an advertisement of one's own": (FORBIDDEN, shown('<ad-custom unit-id="a" />')),
    "sharing from the menu": (FORBIDDEN, in_list("Page({ onShareAppMessage() {} })")),
    **{
        f"wx.{call}": (FORBIDDEN, in_list(f"wx.{call}({{}})"))
        for call in (
            "navigateToMiniProgram",
            "openEmbeddedMiniProgram",
            "openOfficialAccountArticle",
            "openChannelsUserProfile",
            "openChannelsLive",
            "openChannelsEvent",
            "openChannelsActivity",
            "createRewardedVideoAd",
        )
    },
    "an import from outside": (INSIDE, (f"{LIST}.ts", "'../../lib/paths'", "'../../../lib/backend'")),
    "an import from inside": (
        INSIDE,
        ("pages/home/home.ts", "'../../lib/wechat'", "'../../tool/lib/wechat'"),
    ),
    "a style from outside": (INSIDE, (f"{LIST}.wxss", "../../tool.wxss", "../../../app.wxss")),
    "two copies that differ": (
        "test_what_both_packages_need_is_the_same_in_both",
        ("lib/wechat.ts", "", "// a\n"),
    ),
    "a call that is not shown": (SHOWS, ("tool/pages/send/send.ts", "=> wx.shareEmojiToGroup", "=> wx.a")),
    "text that is not sent": (SHOWS, ("tool/pages/send/send.wxml", "bind:submitToGroup", "bind:submit")),
    "a registry in the lock": (
        "test_the_lock_names_no_registry",
        ("../package-lock.json", '"license"', f'"{ADDRESS}": "a", "license"'),
    ),
}
BROKEN_FOR_NPM: Final[dict[str, tuple[str, Mutation]]] = {
    "a call that WeChat does not have": (TSC, in_list("wx.openChatTools({})")),
    "a large subpackage": (TSC, ("tool/tool.wxss", "", f"/* {'a' * 500_000} */\n")),
    "a declaration that the typings have": (
        TYPINGS,
        ("typings.d.ts", "    selectGroups(", "    openChatTool(option: object): void\n    selectGroups("),
    ),
    "a field that the typings have": (
        TYPINGS,
        ("typings.d.ts", "interface SelectGroupMembersOption", "interface OpenChatToolOption"),
    ),
}


def rules(example: Path, patch: pytest.MonkeyPatch) -> ModuleType:
    """The rules' tests, of the mini program in this folder."""
    patch.setattr(stage, "EXAMPLE", example)
    spec = importlib.util.spec_from_file_location("rules_of_a_copy", RULES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rule(module: ModuleType, name: str, folder: Path) -> Callable[[], None]:
    """One of them with its arguments: the page that is broken here, a folder for the compiler."""
    test = getattr(module, name)
    given = {"page": LIST, "tmp_path": folder}
    return lambda: test(**{name: given[name] for name in inspect.signature(test).parameters})


def copy(folder: Path) -> Path:
    return shutil.copytree(stage.EXAMPLE, folder / "example", ignore=shutil.ignore_patterns("node_modules"))


def reported(folder: Path, patch: pytest.MonkeyPatch, name: str, mutation: Mutation) -> None:
    """The rule's test holds for the copy until it is broken here."""
    example, (file, old, new) = copy(folder), mutation
    path = example / "miniprogram" / file
    text = path.read_text("utf-8")
    assert old in text, f"{file} has no {old}"
    path.write_text(text.replace(old, new, 1) if old else text + new, "utf-8")
    with pytest.raises(AssertionError):
        rule(rules(example, patch), name, folder / "build")()


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_a_rule_is_reported(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported(tmp_path, monkeypatch, *BROKEN[what])


@needs_npm
@pytest.mark.parametrize("what", BROKEN_FOR_NPM)
def test_what_the_typings_forbid_is_reported(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported(tmp_path, monkeypatch, *BROKEN_FOR_NPM[what])


def test_no_rule_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the one about how the example is written."""
    module = rules(stage.EXAMPLE, monkeypatch)
    about = {"test_each_page_stays_short_and_says_where_to_read_more"}
    tests = {name for name in vars(module) if name.startswith("test_")}
    assert tests - about == {name for name, _ in [*BROKEN.values(), *BROKEN_FOR_NPM.values()]}
