"""One mistake: texts of the code that read otherwise for as long as it is planted, in this process only."""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

FLAGS = __future__.annotations.compiler_flag


@dataclass(frozen=True)
class Edit:
    """`where`: `module:function`, `module:Class.method`, or `module:DICT[key]` for a statement's text."""

    where: str
    old: str
    new: str


@dataclass(frozen=True)
class Plant:
    """`seeds`: within how many schedules of `profile` it is found, with room to spare, on the dict store.

    `engines`: on which stores it can be planted.
    """

    name: str
    seeds: int
    edits: tuple[Edit, ...]
    profile: str = "mixed"
    engines: tuple[str, ...] = ("dict", "sqlite")

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Raises AssertionError where the code does not read as expected any more."""
        undo: list[tuple[Any, Any, Any]] = []
        try:
            undo.extend(_apply(edit) for edit in self.edits)  # as far as it comes
            yield
        finally:
            for target, key, before in reversed(undo):
                if isinstance(target, FunctionType):
                    target.__code__ = before
                else:
                    target[key] = before


def _apply(edit: Edit) -> tuple[Any, Any, Any]:
    """Change it; what it was before."""
    name, _, path = edit.where.partition(":")
    module = importlib.import_module(name)
    if path.endswith("]"):
        table, _, key = path[:-1].partition("[")
        statements: dict[str, str] = getattr(module, table)
        before = statements[key]
        statements[key] = _replaced(edit, before)
        return statements, key, before
    function = _function(module, path)
    code = function.__code__
    function.__code__ = _compiled(edit, function, vars(module))
    return function, None, code


def _function(module: Any, path: str) -> FunctionType:
    found: Any = module
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
    function = getattr(found, "__func__", found)
    assert isinstance(function, FunctionType), f"{path} is no function"
    return function


def _compiled(edit: Edit, function: FunctionType, names: Mapping[str, Any]) -> Any:
    source = _replaced(edit, textwrap.dedent(inspect.getsource(function)))
    made: dict[str, Any] = {}
    exec(compile(source, f"<{edit.where}>", "exec", FLAGS), dict(names), made)  # our own source
    (other,) = made.values()
    return getattr(other, "__func__", other).__code__


def _replaced(edit: Edit, text: str) -> str:
    assert text.count(edit.old) == 1, f"{edit.where} has {text.count(edit.old)} times {edit.old!r}"
    return text.replace(edit.old, edit.new)
