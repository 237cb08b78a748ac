"""Links and the files that pages name lead somewhere, on every page of the repository."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import EVERY, FENCED, ROOT, name, spans
from tests.test_layout import FILES

LINK: Final = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)")
FILE: Final = re.compile(r"[\w*./-]*[\w*-]+\.(?:py|js|css|html|json|toml|ya?ml|md|ini)")
FOLDER: Final = re.compile(r"[\w-]+(?:/[\w-]+)*/")
TRACKED: Final = [f"/{path.relative_to(ROOT).as_posix()}" for path in FILES]
FOLDERS: Final = {f"{Path(each).parent}/" for each in TRACKED}
ABOUT_THE_CODE: Final = [
    page
    for page in EVERY
    if name(page) in {"CONTRIBUTING.md", "README.md", "README.zh-CN.md", "docs/architecture.md"}
]


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them; a Chinese heading's is the heading."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", each.lower()).replace(" ", "-") for each in headings}


def astray(page: Path, text: str) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for target, anchor in LINK.findall(FENCED.sub("", text)):
        if "://" in target:
            continue
        there = page.parent / target if target else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            found.append(f"{target}#{anchor}" if anchor else target)
    return found


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file, and to a heading of it."""
    assert astray(page, page.read_text("utf-8")) == []


@pytest.mark.parametrize("page", EVERY, ids=name)
def test_every_address_is_an_https_one(page: Path) -> None:
    """But for those of one's own machine and network."""
    plain = re.findall(r"\]\(http://([^/)]+)", page.read_text("utf-8"))
    assert plain == []


def unknown(text: str) -> list[str]:
    """Files and folders set as code that the repository has not, whole or by the end of their path."""
    files = {each for each in spans(text) if FILE.fullmatch(each)}
    folders = {each for each in spans(text) if FOLDER.fullmatch(each)}
    found = {each for each in files if not any(fnmatch(path, f"*/{each}") for path in TRACKED)}
    found |= {each for each in folders if not any(path.endswith(f"/{each}") for path in FOLDERS)}
    return sorted(found)


@pytest.mark.parametrize("page", ABOUT_THE_CODE, ids=name)
def test_every_file_that_a_page_about_the_code_names_exists(page: Path) -> None:
    assert unknown(page.read_text("utf-8")) == []


def test_these_rules_see() -> None:
    """The test of the test."""
    assert astray(
        ROOT / "README.md", "[a](docs/no.md) [b](docs/events.md#no) [c](docs/events.md#events)"
    ) == [
        "docs/no.md",
        "docs/events.md#no",
    ]
    assert unknown("`services/no.py`, `lives/`, `nowhere/`, `page*.js`, `no*.js`, `a.b`") == [
        "no*.js",
        "nowhere/",
        "services/no.py",
    ]
