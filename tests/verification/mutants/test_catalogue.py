"""The catalogue keeps up with the code: each bug can be planted, and what comes of it is Python."""

from __future__ import annotations

import ast

import pytest

from tests.verification.mutants.catalogue import MUTANTS
from tests.verification.mutants.mutant import ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_can_be_planted(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    planted = mutant.planted(text)
    assert planted != text
    ast.parse(planted)


def test_names_are_unique() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names))


def test_a_bug_whose_place_is_gone_is_told() -> None:
    with pytest.raises(ValueError, match="stands 0 times"):
        Mutant("x", "f.py", "nowhere", "", "tests").planted("some text")
