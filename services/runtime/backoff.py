"""How long a process waits before it tries again, whatever failed."""

from __future__ import annotations

from typing import Final

_DOUBLINGS: Final = 10
"""Most of them: beyond any `longest`, and no float overflows however long an outage."""


def wait_after(failures: int, first: float, longest: float, jitter: float) -> float:
    """Seconds until the next try, after so many failures in a row: 1 and more.

    `first` after one failure, doubled by each further one up to `longest`. Of that, half to all by
    `jitter` in [0, 1): those who failed together do not come back together.
    """
    return min(longest, first * 2.0 ** min(failures - 1, _DOUBLINGS)) * (0.5 + jitter / 2)
