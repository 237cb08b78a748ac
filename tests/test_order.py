"""The order of the tests side by side."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.order import slow_ones_first


class Item:
    """What the order asks of a test."""

    def __init__(self, file: str, name: str, *, slow: bool) -> None:
        self.path, self.name, self._slow = Path(file), name, slow

    def get_closest_marker(self, name: str) -> object | None:
        """The mark."""
        return self if self._slow and name == "slow" else None


@pytest.mark.parametrize("workers", [1, 2, 4, 5])
def test_every_second_worker_begins_with_whole_files_of_slow_tests(workers: int) -> None:
    items: list[Any] = [
        Item(f"{file}.py", f"{file}{number}", slow=file in "bdf")
        for file in "abcdefg"
        for number in range(4 if file in "bdf" else 12)
    ]
    order: list[Any] = slow_ones_first(items, workers)
    assert sorted(item.name for item in order) == sorted(item.name for item in items)
    begin = 0
    for worker in range(workers):
        share = (len(items) - begin) // (workers - worker)  # as xdist's `worksteal` cuts it
        slow = [bool(item.get_closest_marker("slow")) for item in order[begin : begin + share]]
        if worker % 2 == 0:
            assert slow[0]
        else:
            assert not slow[0]
        assert slow == sorted(slow, reverse=True)
        begin += share
    of_slow = [item.path.name for item in order if item.get_closest_marker("slow")]
    assert len(of_slow) == 12
    assert sum(a != b for a, b in pairwise(of_slow)) == 2  # each file's in one piece


def test_a_few_tests_are_all_kept() -> None:
    items: list[Any] = [Item("a.py", "a", slow=True), Item("b.py", "b", slow=False)]
    assert len(slow_ones_first(items, 6)) == 2
