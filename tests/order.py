"""The order of the tests side by side: the slow ones early."""

from __future__ import annotations

from itertools import groupby

import pytest


def slow_ones_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """In the order in which xdist's `worksteal` gives each worker an even share, one after the other."""
    quick = [item for item in items if not item.get_closest_marker("slow")]
    slow: list[list[pytest.Item]] = [[] for _ in range((workers + 1) // 2)]
    of_files = groupby(filter(lambda item: item.get_closest_marker("slow"), items), lambda item: item.path)
    for number, (_, of_one) in enumerate(of_files):  # a file's tests share what they start
        slow[number % len(slow)] += of_one
    order: list[pytest.Item] = []
    for worker in range(workers):
        share = (len(items) - len(order)) // (workers - worker)
        first = slow[worker // 2] if worker % 2 == 0 else []
        room = max(0, share - len(first))
        order += first + quick[:room]
        del quick[:room]
    return order + quick
