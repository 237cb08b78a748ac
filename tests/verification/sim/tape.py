"""Every choice of a schedule, on a tape on which 0 is harmless, so that shrinking is writing zeros."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

SIDES: Final = 1 << 16
"""Of the die that is thrown at each use of a port."""
PARTS: Final = 255
"""A share is drawn in so many steps."""


class Tape:
    """Draws from a seed, or replays what was drawn once; past the end of a replay all is harmless.

    `throw()` is one of `SIDES`, 0 the harmless one: whoever throws reads more than one choice off it.
    What is drawn is written down only where somebody wants it: a seed draws the same again.
    """

    def __init__(self, seed: int, choices: Sequence[int] | None = None, *, written: bool = False) -> None:
        self._random = random.Random(f"tape-{seed}")
        self._given = choices
        self._written = written or choices is not None
        self.drawn: list[int] = []
        quick = partial(self._random.getrandbits, SIDES.bit_length() - 1)
        self.throw: Callable[[], int] = self._noted if self._written else quick

    def _noted(self) -> int:
        return self._note(self._random.getrandbits(SIDES.bit_length() - 1), SIDES)

    def _note(self, value: int, options: int) -> int:
        """What was given instead, if so; written down."""
        if self._given is not None:
            place = len(self.drawn)
            value = min(self._given[place], options - 1) if place < len(self._given) else 0
        self.drawn.append(value)
        return value

    def pick(self, options: int) -> int:
        """One of `options`, 0 the harmless one."""
        if options <= 1:
            return 0
        value = int(self._random.random() * options)
        return self._note(value, options) if self._written else value

    def strikes(self, rate: float) -> bool:
        """Whether something happens that does so with this probability; never leaves a trace at 0."""
        if rate <= 0:
            return False
        value = int(self._random.random() < rate)
        return (self._note(value, 2) if self._written else value) > 0

    def share(self) -> float:
        """Something in [0, 1]."""
        return self.pick(PARTS + 1) / PARTS


def shrink(
    choices: Sequence[int], fails: Callable[[Sequence[int]], bool], may_go_on: Callable[[], bool]
) -> tuple[list[int], int]:
    """Write zeros for as long as it still fails and may go on; the choices, and how many tries."""
    kept, tries = list(choices), 0
    size = max(1, len(kept) // 2)
    while size and may_go_on():
        changed = False
        for start in range(0, len(kept), size):
            if not may_go_on():
                break
            block = kept[start : start + size]
            if not any(block):
                continue
            trial = [*kept[:start], *[0] * len(block), *kept[start + size :]]
            tries += 1
            if fails(trial):
                kept, changed = trial, True
        if size == 1 and not changed:
            break
        size = max(1, size // 2) if size > 1 else (1 if changed else 0)
    while kept and not kept[-1]:
        kept.pop()
    return kept, tries


def pack(choices: Sequence[int]) -> str:
    """Choices as text: runs of zeros as `_n`, the others as they are."""
    words: list[str] = []
    zeros = 0
    for choice in [*choices, -1]:
        if choice == 0:
            zeros += 1
            continue
        if zeros:
            words.append(f"_{zeros}")
            zeros = 0
        words.append(str(choice))
    return ".".join(words[:-1])


def unpack(text: str) -> list[int]:
    """The inverse of `pack`."""
    choices: list[int] = []
    for word in text.split("."):
        if word.startswith("_"):
            choices += [0] * int(word[1:])
        elif word:
            choices.append(int(word))
    return choices


def odds_of(active: Sequence[tuple[str, float]]) -> list[tuple[int, str]]:
    """Each fault with the lowest throw at which it strikes, the highest of all first; 0 never does."""
    odds: list[tuple[int, str]] = []
    lowest = SIDES
    for name, rate in active:
        lowest -= round(rate * SIDES)
        odds.append((max(1, lowest), name))
    return odds


def struck_by_throw(odds: Sequence[tuple[int, str]], thrown: int) -> str:
    """The fault that this throw stands for, or none."""
    if thrown < odds[-1][0]:
        return ""
    return next(name for lowest, name in odds if thrown >= lowest)
