"""An honest record for each test that doctors one."""

from __future__ import annotations

import copy

import pytest

from tests.verification.chaos.honest import honest
from tests.verification.chaos.record import Record


@pytest.fixture(scope="package")
def innocent() -> Record:
    """An honest record; do not change it."""
    return honest()


@pytest.fixture
def record(innocent: Record) -> Record:
    """An honest record to doctor."""
    return copy.deepcopy(innocent)
