"""The Chinese pages say what the English ones say: what is not translated stands in both, part by part."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from scripts.diagrams import __main__ as diagrams
from scripts.diagrams.languages import CHINESE, chinese

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "zh-CN").glob("*.md"))


class Part(NamedTuple):
    """What stands under one heading, and is the same in every language."""

    level: int
    names: frozenset[str]
    """Settings, metrics, commands, columns, codes: all that is set as code."""
    rows: int
    points: int
    blocks: tuple[str, ...]
    """What is to be typed, without its comments."""


def parts(text: str) -> list[Part]:
    """A page by its headings; what is generated is compared by `make lint`."""
    text = re.sub(r"(<!-- ([\w ]+): generated .*?-->).*?(<!-- /\2 -->)", r"\1\3", text, flags=re.DOTALL)
    found = []
    for piece in re.split(r"^(?=#+ )", text, flags=re.MULTILINE):
        if not piece.strip():
            continue
        blocks = re.findall(r"^```.*?^```", piece, flags=re.MULTILINE | re.DOTALL)
        prose = re.sub(r"^```.*?^```", "", piece, flags=re.MULTILINE | re.DOTALL)
        names = {" ".join(each.split()) for each in re.findall(r"`([^`]+)`", prose)}
        found.append(
            Part(
                len(piece) - len(piece.lstrip("#")),
                frozenset(names),
                len(re.findall(r"^\|", prose, re.MULTILINE)),
                len(re.findall(r"^(?:- |\d+\. )", prose, re.MULTILINE)),
                tuple(re.sub(r"\s+#.*", "", block) for block in blocks),
            )
        )
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_chinese_page_has_what_its_english_page_has(page: Path) -> None:
    """Heading by heading: settings, metrics, commands, rows of tables, points of lists, blocks to type."""
    ours, theirs = parts(page.read_text("utf-8")), parts((DOCS / page.name).read_text("utf-8"))
    assert [part.level for part in ours] == [part.level for part in theirs]
    for number, (chinese_part, english_part) in enumerate(zip(ours, theirs, strict=True)):
        assert chinese_part == english_part, f"heading {number}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_two_pages_name_each_other_at_their_top(page: Path) -> None:
    """A reader of one finds the other."""
    assert f"\n[English](../{page.name})\n" in page.read_text("utf-8")[:80]
    assert f"\n[简体中文](zh-CN/{page.name})\n" in (DOCS / page.name).read_text("utf-8")[:80]


def test_the_chinese_readme_leads_to_chinese_pages() -> None:
    """Where there is one."""
    links = re.findall(r"\]\(docs/([\w.-]+\.md)", (ROOT / "README.zh-CN.md").read_text("utf-8"))
    assert set(links) & {page.name for page in PAGES} == set()
    assert len(PAGES) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_chinese_page_leads_to_chinese_pages(page: Path) -> None:
    """Where there is one; the first link is to its own English page."""
    links = re.findall(r"\]\(\.\./([\w.-]+\.md)", page.read_text("utf-8"))
    assert links[0] == page.name
    assert set(links[1:]) & {each.name for each in PAGES} == set()


def test_no_word_of_a_generated_table_lacks_its_chinese() -> None:
    """All that are missing at once, so that whoever adds a field writes them in one go."""
    asked: set[str] = set()

    def listen(words: str) -> str:
        asked.add(words)
        return words

    for made in diagrams.PAGES.values():
        made(listen)
    assert "" not in asked, "a field without a meaning"
    assert asked - CHINESE.keys() == set(), "write them into scripts/diagrams/languages.py"


def test_words_without_a_translation_are_told() -> None:
    """Whoever adds a row to a machine learns where its Chinese goes."""
    with pytest.raises(ValueError, match=r"no Chinese for 'something new'.*languages\.py"):
        chinese("something new")


def test_a_part_that_drifts_is_seen() -> None:
    """The test of the test."""
    page = "# A\n\n`LIVECARD_DRAIN` and `livecard show`\n\n| a |\n|---|\n| `x` |\n"
    assert parts(page) == parts("# 甲\n\n先 `livecard show`，后 `LIVECARD_DRAIN`\n\n| 乙 |\n|---|\n| `x` |\n")
    assert parts(page) != parts(page.replace("_DRAIN", "_LEASE"))
    assert parts(page) != parts(page + "| y |\n")
    assert parts("```\na  # why\n```") == parts("```\na  # 为什么\n```") != parts("```\nb  # why\n```")
