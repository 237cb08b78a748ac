"""The example mini program keeps the platform's rules for chat tools (wechat-api.md §7, WeChat's guides)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from scripts.engines.npm import node_modules
from tests.examples.stage import EXAMPLE, compiled, needs_npm

SOURCES: Final = EXAMPLE / "miniprogram"
LARGEST: Final = 500 * 1024
"""Bytes of a chat tool's subpackage."""
SHIPPED: Final = (".js", ".json", ".wxml", ".wxss")
FORBIDDEN: Final = re.compile(
    r"""open-?type\s*[=:]\s*["']share["']|navigateToMiniProgram|openEmbeddedMiniProgram|openOfficialAccount\w*"""
    r"""|openChannels\w*|<ad[\s>/]|<ad-custom|create\w*Ad\b|onShareAppMessage|onShareTimeline|showShareMenu""",
    re.IGNORECASE,
)
OPEN_MODE: Final = {"selectGroups", "isChatTool", "exitChatTool"}
"""What the typings lack, and typings.d.ts declares."""
TO_GROUP: Final = {
    "SelectGroupMembersOption",
    "ShareAppMessageToGroupOption",
    "ShareImageToGroupOption",
    "ShareEmojiToGroupOption",
    "ShareVideoToGroupOption",
    "ShareFileToGroupOption",
    "NotifyGroupMembersOption",
}
"""Whose `opengid` the typings lack."""
SHOWN: Final = {
    *("getApiCategory", "getChatToolInfo", "getGroupEnterInfo", "getShareInfo", "openChatTool"),
    *(
        "selectGroupMembers",
        "updateShareMenu",
        "shareAppMessageToGroup",
        "notifyGroupMembers",
        "navigateBack",
    ),
    *("shareImageToGroup", "shareVideoToGroup", "shareFileToGroup", "shareEmojiToGroup", "enterChatToolMode"),
    *OPEN_MODE,
}
"""What an example of a chat tool has to show."""


def read(path: Path) -> Any:
    return msgspec.json.decode(path.read_bytes())


APP: Final = read(SOURCES / "app.json")
TOOL: Final = APP["subPackages"][0]
PAGES: Final = [*APP["pages"], *(f"{TOOL['root']}/{page}" for page in TOOL["pages"])]
TOOL_PAGES: Final = PAGES[len(APP["pages"]) :]


def sources(*suffixes: str) -> list[Path]:
    return sorted(path for path in SOURCES.rglob("*") if path.suffix in suffixes)


def code(path: Path) -> str:
    """A script without its comments."""
    return re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", path.read_text("utf-8"), flags=re.DOTALL)


def test_the_app_declares_one_chat_tool_whose_root_is_its_subpackage() -> None:
    """One chat tool at most, with root, desc and an entry page of its own."""
    assert (len(APP["chatTools"]), len(APP["subPackages"])) == (1, 1)
    [tool] = APP["chatTools"]
    assert tool["root"] == TOOL["root"]
    assert tool["entryPagePath"] in TOOL["pages"]
    assert tool["desc"]
    assert all(scope.startswith("scope.") for scope in tool["scopes"])


def test_the_subpackage_is_independent_and_skyline_draws_it() -> None:
    assert TOOL["independent"] is True
    assert TOOL["renderer"] == "skyline"
    assert TOOL["componentFramework"] == "glass-easel"
    assert APP["lazyCodeLoading"] == "requiredComponents"
    skyline = APP["rendererOptions"]["skyline"]
    assert skyline["disableABTest"] is skyline["defaultDisplayBlock"] is skyline["defaultContentBox"] is True
    assert tuple(map(int, skyline["sdkVersionBegin"].split("."))) >= (3, 7, 8)
    for page in TOOL_PAGES:
        own = read(SOURCES / f"{page}.json")
        assert (own["renderer"], own["componentFramework"]) == ("skyline", "glass-easel"), page


def test_pages_that_skyline_draws_bring_their_own_head_and_scroll_in_themselves() -> None:
    """The developer tools take no other: skyline has neither a navigation bar nor a page that scrolls."""
    for page in TOOL_PAGES:
        own = read(SOURCES / f"{page}.json")
        assert (own["navigationStyle"], own["disableScroll"]) == ("custom", True), page
        for name, path in own["usingComponents"].items():
            assert (SOURCES / f"{page}.json").parent.joinpath(f"{path}.wxml").exists(), f"{page}: {name}"
        wxml = (SOURCES / f"{page}.wxml").read_text("utf-8")
        assert "<page-head " in wxml, page
        assert "<scroll-view " in wxml, page


def test_the_subpackage_has_its_entry_file() -> None:
    assert TOOL["entry"].endswith(".js")
    assert (SOURCES / TOOL["root"] / TOOL["entry"]).with_suffix(".ts").exists()


def test_the_project_asks_for_a_base_library_with_the_open_mode() -> None:
    project = read(EXAMPLE / "project.config.json")
    assert tuple(map(int, project["libVersion"].split("."))) >= (3, 12, 0)
    assert project["miniprogramRoot"].rstrip("/") == SOURCES.name
    assert project["setting"]["useCompilerPlugins"] == ["typescript"]


def test_every_page_listed_exists_and_every_page_is_listed() -> None:
    for page in PAGES:
        for suffix in (".ts", ".json", ".wxml", ".wxss"):
            assert (SOURCES / f"{page}{suffix}").exists(), f"{page}{suffix}"
    found = {path.relative_to(SOURCES).with_suffix("").as_posix() for path in sources(".wxml")}
    components = {name for name in found if read(SOURCES / f"{name}.json").get("component")}
    assert found - components == set(PAGES)


def test_every_page_that_the_code_names_exists() -> None:
    named = {
        name for path in sources(".ts") for name in re.findall(r"['\"`]/((?:pages|tool)/[\w/]+)", code(path))
    }
    assert named
    assert named <= set(PAGES)


def test_the_chat_tool_goes_by_navigate_to_only_to_its_own_pages() -> None:
    """Out of it leads navigateBack alone."""
    for path in sources(".ts"):
        if path.is_relative_to(SOURCES / TOOL["root"]):
            assert "/pages/home" not in code(path), path
            assert not re.search(r"wx\.(switchTab|reLaunch)", code(path)), path


@pytest.mark.parametrize("page", PAGES)
def test_every_handler_of_a_page_is_in_its_code(page: str) -> None:
    wxml = (SOURCES / f"{page}.wxml").read_text("utf-8")
    script = code(SOURCES / f"{page}.ts")
    handlers = set(re.findall(r"\b(?:capture-)?(?:bind|catch|mut-bind):?\w+=\"(\w+)\"", wxml))
    assert handlers
    absent = {name for name in handlers if not re.search(rf"^  (?:async )?{name}\(", script, re.MULTILINE)}
    assert absent == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_value_that_a_page_shows_is_in_its_data(page: str) -> None:
    wxml = (SOURCES / f"{page}.wxml").read_text("utf-8")
    script = code(SOURCES / f"{page}.ts")
    data = re.search(r"^  data: \{(.*?)^(?:  )?\}?,?$|^  data: \{(.*?)\},$", script, re.MULTILINE | re.DOTALL)
    assert data
    shown = {
        name
        for inner in re.findall(r"\{\{(.*?)\}\}", wxml)
        for name in re.findall(r"(?<![\w.'])[a-z]\w*(?![\w'])", re.sub(r"'[^']*'", "", inner))
    } - {"item", "index", "true", "false"}
    absent = {name for name in shown if not re.search(rf"\b{name}:", data[0])}
    assert absent == set()


def test_nothing_is_forbidden_in_a_chat_tool() -> None:
    for path in sources(".ts", ".wxml", ".json"):
        text = code(path) if path.suffix == ".ts" else path.read_text("utf-8")
        assert not (found := FORBIDDEN.search(text)), f"{path}: {found}"


def test_an_independent_subpackage_imports_nothing_from_outside() -> None:
    """Nor the main package anything from inside."""
    tool = SOURCES / TOOL["root"]
    for path in sources(".ts", ".wxss"):
        for name in re.findall(r"(?:from|@import) ['\"](\.[^'\"]+)['\"]", path.read_text("utf-8")):
            target = (path.parent / name).resolve()
            assert target.is_relative_to(tool) == path.is_relative_to(tool), f"{path}: {name}"
            assert target.exists() or target.with_name(f"{target.name}.ts").exists(), f"{path}: {name}"


def test_what_both_packages_need_is_the_same_in_both() -> None:
    for path in sorted((SOURCES / "lib").iterdir()):
        assert path.read_bytes() == (SOURCES / TOOL["root"] / "lib" / path.name).read_bytes(), path.name


def test_the_example_shows_every_call_of_a_chat_tool() -> None:
    used = {name for path in sources(".ts") for name in re.findall(r"\bwx\.(\w+)", code(path))}
    assert used >= SHOWN
    pages = "".join(path.read_text("utf-8") for path in sources(".wxml"))
    for name in ("<open-data-list", "<open-data-item", 'bind:submitToGroup="', 'form-type="submitToGroup"'):
        assert name in pages


def test_each_page_stays_short_and_says_where_to_read_more() -> None:
    for path in sources(".ts"):
        assert len(path.read_text("utf-8").splitlines()) <= 180, path
    for name in (
        "openChatTool",
        "getGroupEnterInfo",
        "getChatToolInfo",
        "getShareInfo",
        "selectGroupMembers",
    ):
        told = "".join(path.read_text("utf-8") for path in sources(".ts"))
        assert "https://developers.weixin.qq.com/miniprogram/dev/api" in told
        assert f"wx.{name}.html" in told


def test_the_lock_names_no_registry() -> None:
    """It is installed from whichever registry npm is set to."""
    text = (EXAMPLE / "package-lock.json").read_text("utf-8")
    assert "resolved" not in text
    assert "://" not in text
    wanted = read(EXAMPLE / "package.json")["devDependencies"]
    assert all(re.fullmatch(r"[\d.]+", version) for version in wanted.values())


@needs_npm
def test_tsc_accepts_every_call_and_the_subpackage_is_small(tmp_path: Path) -> None:
    """Strict, against the platform's own typings; at most 500 KB are sent to a phone."""
    assert read(EXAMPLE / "tsconfig.json")["compilerOptions"]["strict"] is True
    files = compiled(tmp_path)
    root = f"{TOOL['root']}/"
    size = sum(
        len(text.encode()) for path, text in files.items() if path.startswith(root) and path.endswith(SHIPPED)
    )
    assert f"{root}{TOOL['entry']}" in files
    assert 0 < size <= LARGEST


@needs_npm
def test_the_typings_lack_exactly_what_the_example_declares() -> None:
    """Where they have gained a call, it goes from typings.d.ts."""
    typings = "".join(
        path.read_text("utf-8")
        for path in (node_modules(EXAMPLE) / "miniprogram-api-typings" / "types").rglob("*.d.ts")
    )
    own = code(SOURCES / "typings.d.ts")
    wx = re.search(r"interface Wx \{(.*?)^  \}", own, re.DOTALL | re.MULTILINE)
    assert wx
    assert set(re.findall(r"^    (\w+)\(", wx[1], re.MULTILINE)) == OPEN_MODE
    assert [
        name for name in sorted(OPEN_MODE) if re.search(rf"^\s+{name}\s*[(<]", typings, re.MULTILINE)
    ] == []
    assert set(re.findall(r"interface (\w+) extends ToGroup", own)) == TO_GROUP
    for name in sorted(TO_GROUP):
        found = re.search(rf"interface {name} \{{(.*?)^    \}}", typings, re.DOTALL | re.MULTILINE)
        assert found, name
        assert not re.search(r"^\s+opengid\??:", found[1], re.MULTILINE), name
