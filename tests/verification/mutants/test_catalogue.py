"""The catalogue keeps up with the code: each mistake can be planted, and leaves no trace."""

from __future__ import annotations

import pytest

from tests.verification.mutants.catalogue import MUTANTS, Mutant
from tests.verification.planting.plant import function


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_can_be_planted(mutant: Mutant) -> None:
    functions = [where for where in mutant.wraps if not where.endswith("]")]
    codes = [function(where).__code__ for where in functions]
    with mutant.planted():
        assert all(function(where).__code__ not in codes for where in functions)
    assert [function(where).__code__ for where in functions] == codes


def test_names_are_unique() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names))
