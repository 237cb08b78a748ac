"""One word for one thing: the glossary agrees with the code, and retired words stay away."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
GLOSSARY: Final = ROOT / "docs" / "glossary.md"
ROW: Final = re.compile(r"^\| (?!term |---)([^|]+) \| ([^|]+) \| `([^`|]+)` `([^`|]+)` \|$", re.MULTILINE)
PAGES: Final = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md")),
]
PACKAGES: Final = ("services", "statemachine", "contracts")
CODE: Final = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]

RETIRED_PHRASES: Final = {
    r"\b(?:a|this|that|each|every|next|first|one|per|of|fewer) looks?\b(?! (?:at|for|like))": "call, claim",
    r"\bset(?:s|ting)? (?:an? \w+ )?aside\b": "skip",
    r"\bsuspects?\b": "in doubt, uncertain",
    r"\b(?:the|a|their|its) behind\b": "undelivered",
    r"\b(?:are|is) behind(?! (?:what|the|a|it|them)\b)": "undelivered",
    r"\bcrowds?\b": "what waits, what is parked",
    r"\blanes?\b": "publisher, connection",
    r"\bput(?:s|ting)?[ -]backs?\b": "release",
    r"\b(?:dead|closing the|our) books\b": "close, the ledger",
    r"\bfitting\b": "shorten",
    r"\blenient(?:ly)?\b": "what it accepts",
    r"\bsweep(?:s|er|ing)?\b": "poll",
}
"""What people wrote once, and what they write now. Code spans are no prose: the poll is `LIVECARD_SWEEP`."""

RETIRED_NAMES: Final = frozenset(
    {
        *("look", "looks", "looked", "suspect", "suspects", "crowd", "crowds", "crowded", "lane", "lanes"),
        *("fitting", "lenient", "told", "aside", "sweeper", "permits", "books"),
    }
)
"""No identifier has one of these as a part."""

RETIRED_FILE_NAMES: Final = RETIRED_NAMES | {"part", "parts", "word", "words", "watch", "why"}
"""Nor has the name of a file, nor one of these, which say nothing of what is inside."""
NAMED: Final = [
    path
    for name in (*PACKAGES, "scripts", "tests", "benchmarks", "examples")
    for path in sorted((ROOT / name).rglob("*"))
    if path.suffix in {".py", ".js", ".json", ".html", ".css"} and "node_modules" not in path.parts
]


def rows() -> list[tuple[str, str, str, str]]:
    return ROW.findall(GLOSSARY.read_text("utf-8"))


@cache
def everything() -> str:
    """Code and docs, without the glossary itself."""
    pages = [path for path in PAGES if path != GLOSSARY]
    tests = sorted((ROOT / "tests" / "verification").rglob("*.py"))
    return "\n".join(path.read_text("utf-8") for path in (*pages, *CODE, *tests)).lower()


def test_every_row_of_the_glossary_has_a_term_a_sentence_and_a_place() -> None:
    text = GLOSSARY.read_text("utf-8")
    written = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| term ")]
    assert len(rows()) == len(written) > 100


def test_the_glossary_defines_each_term_once() -> None:
    terms = [term for term, *_ in rows()]
    assert sorted(terms) == sorted(set(terms))


@pytest.mark.parametrize(("term", "file", "name"), [(term, file, name) for term, _, file, name in rows()])
def test_a_term_is_used_and_lives_where_the_glossary_says(term: str, file: str, name: str) -> None:
    assert term.strip("`").lower() in everything()
    assert re.search(rf"\b{re.escape(name)}\b", (ROOT / file).read_text("utf-8")), f"no {name} in {file}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_retired_words_stay_out_of_the_docs(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    found = [
        f"{match[0]!r} (now: {now}) in: {_line(text, match.start())}"
        for pattern, now in RETIRED_PHRASES.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]
    assert found == []


def _line(text: str, at: int) -> str:
    start = text.rfind("\n", 0, at) + 1
    return text[max(start, at - 60) : at + 60].replace("\n", " ")


def words_in(name: str) -> set[str]:
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def identifiers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "name", "attr", "arg", "asname"):
            if isinstance(name := getattr(node, field, None), str):
                yield from name.split(".")


def retired_names(source: str) -> set[str]:
    return {name for name in identifiers(source) if words_in(name) & RETIRED_NAMES}


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_retired_words_name_nothing_in_the_code(path: Path) -> None:
    assert not retired_names(path.read_text("utf-8"))


def test_every_file_is_named_by_what_it_holds() -> None:
    assert [str(path.relative_to(ROOT)) for path in NAMED if words_in(path.stem) & RETIRED_FILE_NAMES] == []


def test_the_rule_about_names_sees() -> None:
    assert retired_names("class LenientBatch: ...") == {"LenientBatch"}
    assert retired_names("def f(told): self._looked = crowds") == {"told", "_looked", "crowds"}
    assert words_in("page_parts") & RETIRED_FILE_NAMES
    assert not words_in("watchdog") & RETIRED_FILE_NAMES
    assert not retired_names("lookup = outlook = plane = behind_since = 1")
