"""One mistake: named functions that behave otherwise for as long as it is planted, in this process only.

A mistake is told by the function it is made in and by what is done differently there, never by source text:
a refactoring that keeps the function keeps the mistake.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

Wrap = Callable[[Any], Any]
"""Takes the real function, or the text of a statement; answers what stands in its place."""


@dataclass(frozen=True)
class Plant:
    """`wraps`: `module:function`, `module:Class.method`, or `module:DICT[name]` for the text of a statement →
    what it is replaced by.

    `seeds`: within how many schedules of `profile` it is found, with room to spare, on the dict store.
    `engines`: on which stores it can be planted.
    """

    name: str
    seeds: int
    wraps: Mapping[str, Wrap]
    profile: str = "mixed"
    engines: tuple[str, ...] = ("dict", "sqlite")

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Raises AssertionError where a function is gone."""
        undo: list[Callable[[], None]] = []
        try:
            undo.extend(_replace(where, wrap) for where, wrap in self.wraps.items())
            yield
        finally:
            for each in reversed(undo):
                each()


def function(where: str) -> FunctionType:
    """The function that `module:path` names."""
    name, _, path = where.partition(":")
    found: Any = importlib.import_module(name)
    for part in path.split("."):
        found = inspect.getattr_static(found, part, None)
        assert found is not None, f"{where} is gone"
    found = getattr(found, "__func__", found)
    assert isinstance(found, FunctionType), f"{where} is no function"
    return found


def _replace(where: str, wrap: Wrap) -> Callable[[], None]:
    """Replace the code of the function itself, so that everybody who holds it gets the mistake."""
    if where.endswith("]"):
        return _reword(where, wrap)
    found = function(where)
    code, defaults, keywords = found.__code__, found.__defaults__, found.__kwdefaults__
    real = FunctionType(code, found.__globals__, found.__name__, defaults, found.__closure__)
    real.__kwdefaults__ = keywords
    key = f"_planted_in_{found.__qualname__.replace('.', '_')}"
    found.__globals__[key] = wrap(real)
    made: dict[str, Any] = {}
    exec(f"def instead(*args, **more):\n    return {key}(*args, **more)", made)  # our own text
    _become(found, made["instead"].__code__, None, None)

    def undo() -> None:
        _become(found, code, defaults, keywords)
        del found.__globals__[key]

    return undo


def _become(found: FunctionType, code: Any, defaults: Any, keywords: Any) -> None:
    """A coroutine's code gives way to a plain function's, and back: Python 3.13 warns of that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found.__code__, found.__defaults__, found.__kwdefaults__ = code, defaults, keywords


def _reword(where: str, wrap: Wrap) -> Callable[[], None]:
    """Replace a statement's text, for every store that is opened from now on."""
    name, _, path = where[:-1].partition(":")
    table, _, key = path.partition("[")
    statements: dict[str, str] = getattr(importlib.import_module(name), table)
    text = statements[key]
    statements[key] = wrap(text)
    assert statements[key] != text, f"{where} reads the same with the mistake"

    def undo() -> None:
        statements[key] = text

    return undo
