"""A plugin of pytest's that plants one mistake for the whole run: `-p tests.verification.mutants.plugin`.

`LIVECARD_MUTANT` names it. Without it nothing happens.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from tests.verification.mutants.catalogue import MUTANTS

_PLANTED = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is collected."""
    name = os.environ.get("LIVECARD_MUTANT")
    if name:
        (mutant,) = (each for each in MUTANTS if each.name == name)
        _PLANTED.enter_context(mutant.planted())
        config.add_cleanup(_PLANTED.close)
