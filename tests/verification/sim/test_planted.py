"""The simulation sees what is planted, within the number of schedules that the catalogue says."""

from __future__ import annotations

import pytest

from tests.verification.planting.plant import Plant, function
from tests.verification.sim.planted.catalogue import PLANTS
from tests.verification.sim.planted.hunt import hunt

SAMPLE = (
    "delivered-before-the-call",
    "settles-the-current-revision",
    "claims-what-is-leased",
    "a-lapse-keeps-the-fence",
    "parked-events-are-dropped-at-the-opening",
    "the-relay-knows-no-order",
    "a-closed-gate-is-ignored",
    "two-rejected-are-skipped-together",
    "the-inbox-is-pruned-too-young",
    "a-binding-is-read-without-its-lock",
    "an-answer-is-kept-after-the-commit",
    "a-repeated-key-is-not-known",
)
"""One of each kind, soon found; all of them: `python -m tests.verification.sim --planted all`."""


def _plant(name: str) -> Plant:
    (plant,) = (plant for plant in PLANTS if plant.name == name)
    return plant


@pytest.mark.parametrize("name", SAMPLE)
def test_a_planted_mistake_is_found(name: str) -> None:
    """Within its recorded number of schedules, on the dict store."""
    plant = _plant(name)
    assert hunt(plant, "dict", plant.seeds).tries


@pytest.mark.parametrize("name", ["delivered-before-the-call", "claims-without-a-new-fence"])
def test_a_planted_mistake_is_found_on_the_real_store(name: str) -> None:
    """SQLite, the unmodified store."""
    assert hunt(_plant(name), "sqlite", 40).tries


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_every_mistake_can_still_be_planted_and_leaves_no_trace(plant: Plant) -> None:
    """Its functions are there, and as before afterwards."""
    codes = [function(where).__code__ for where in plant.wraps]
    with plant.planted():
        assert all(function(where).__code__ not in codes for where in plant.wraps)
    assert [function(where).__code__ for where in plant.wraps] == codes


def test_a_mistake_whose_function_is_gone_is_told() -> None:
    """The code has changed: the catalogue must follow."""
    plant = Plant("nowhere", 1, {"services.transactions.claim:no_such": lambda real: real})
    with pytest.raises(AssertionError, match="is gone"), plant.planted():
        pass
