"""Seeds that once found something, by profile and store; each stays green from then on.

They repeat their schedule only as long as weather and script draw the same; the mistake itself is
kept from coming back by the test named beside it.
"""

from __future__ import annotations

from typing import Final

FOUND: Final[tuple[tuple[int, str, str], ...]] = (
    # A result that was never sent, settled without its fence, ended the dispatcher
    # (tests/statemachine/test_delivery_cells.py).
    (2544, "mixed", "dict"),
    (18042, "mixed", "dict"),
    # A late doubt reopened a closed card whose id was dead, for ever (the same test).
    (5376, "mixed", "dict"),
    (9534, "mixed", "dict"),
    # The judges were wrong: who had lost its fence confirmed a member that another was just sending.
    (5386, "mixed", "dict"),
    # The judges were wrong: a late doubt of a closed card writes its activity, which ended long before.
    (837663396, "mixed", "dict"),
    # The judges were wrong: a settle after its lease puts an end off by the time in which nobody took it.
    (1554, "mixed", "dict"),
)
