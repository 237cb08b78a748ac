"""What pages tell to type exists: commands with their options, modules, targets of the Makefile."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from services.cli.commands import app
from tests.docs.pages import EVERY, ROOT, name, typed

PAGES: Final = [page for page in EVERY if page.name != "CHANGELOG.md"]
COMMANDS: Final[dict[str, Any]] = getattr(get_command(app), "commands")  # noqa: B009 (typer's group is not typed)
MAKEFILE: Final = (ROOT / "Makefile").read_text("utf-8")
OPTION: Final = re.compile(r"(?<!\S)--?[a-z][\w-]*")


@cache
def options_of(module: str) -> frozenset[str] | None:
    """The options that a module's own source names, its docstring included; None: there is no such module."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    if found is None or found.origin is None:
        return None
    origin = Path(found.origin)
    sources = origin.parent.glob("*.py") if origin.name == "__init__.py" else [origin]
    text = "\n".join(each.read_text("utf-8") for each in sources)
    return frozenset({*re.findall(r"(?<![\w-])--?[a-z][\w-]*", text), "--help", "-h"})


def of_livecard(line: str) -> list[str]:
    """What `livecard NAME --option …` has that the command has not."""
    found = re.match(r"(?:.* -- |(?:export )?(?:[A-Z_]+=\S+ )*)(?:\S*/bin/)?livecard ([a-z]+)(.*)", line)
    if found is None:
        return []
    command = COMMANDS.get(found[1])
    if command is None:
        return [f"livecard {found[1]}"]
    known = {each for parameter in command.params for each in (*parameter.opts, *parameter.secondary_opts)}
    return [
        f"livecard {found[1]} {each}" for each in OPTION.findall(found[2]) if each not in known | {"--help"}
    ]


def of_python(line: str) -> list[str]:
    """The same of `python -m MODULE --option …`, where the module is ours."""
    found = re.search(r"python3? -m ((?:scripts|tests|benchmarks|contracts)[\w.]*)(.*)", line)
    if found is None:
        return []
    known = options_of(found[1])
    if known is None:
        return [f"python -m {found[1]}"]
    return [f"{found[1]} {each}" for each in OPTION.findall(found[2]) if each not in known]


def of_make(line: str) -> list[str]:
    """The same of `make TARGET NAME=…`."""
    found = re.match(r"(?:[A-Z_]+=\S+ )*make (?=[a-z])([a-z -]+?)(?: ([A-Z].*))?$", line)
    if found is None:
        return []
    names = re.findall(r"(?<!\S)([A-Z_]+)=", found[2] or "")
    return [
        f"make {each}" for each in found[1].split() if not re.search(rf"^{each}:", MAKEFILE, re.MULTILINE)
    ] + [f"make {each}=" for each in names if not re.search(rf"^{each} [?:]?=", MAKEFILE, re.MULTILINE)]


def wrong(text: str) -> list[str]:
    """All of it."""
    return [each for line in typed(text) for rule in (of_livecard, of_python, of_make) for each in rule(line)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_tells_to_type_exists(page: Path) -> None:
    assert wrong(page.read_text("utf-8")) == []


def test_every_command_is_told_of_on_some_page() -> None:
    lines = [line for page in PAGES for line in typed(page.read_text("utf-8"))]
    told = {found[1] for line in lines if (found := re.search(r"\blivecard ([a-z]+)", line))}
    assert COMMANDS.keys() - told == set()


def test_these_rules_see() -> None:
    """The test of the test."""
    text = (
        "`livecard nothing`, `livecard gates --shut wx1`, `python -m scripts.nothing`, `make nothing`,"
        " `.venv/bin/python -m scripts.planning --moons 2`, `make test PYTEST_ARG=x`\n"
        "```console\nA=b .venv/bin/livecard show X --rod   # --no\n"
        "kubectl exec x -- livecard init --fin\n```\n"
    )
    assert wrong(text) == [
        "livecard show --rod",
        "livecard init --fin",
        "livecard nothing",
        "livecard gates --shut",
        "python -m scripts.nothing",
        "make nothing",
        "scripts.planning --moons",
        "make PYTEST_ARG=",
    ]
