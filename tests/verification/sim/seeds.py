"""Seeds that once found something, by profile and store; each stays green from then on.

They repeat their schedule only as long as weather and script draw the same; the mistake itself is
kept from coming back by the test named beside it.
"""

from __future__ import annotations

from typing import Final

FOUND: Final[tuple[tuple[int, str, str], ...]] = (
    # 47502 on a doubted card set an innocent member aside (tests/dispatcher/test_verdicts.py).
    (392, "mixed", "dict"),
    (749, "mixed", "dict"),
    (1619, "mixed", "dict"),
    (1811, "mixed", "dict"),
    (2027, "mixed", "dict"),
    # The judges were wrong: a process came to have the name of one that was killed in a call.
    (608900, "mixed", "dict"),
    # The judges were wrong: a deadline passed between what they expected and what they read.
    (788987, "mixed", "dict"),
    # The judges were wrong: who is answered with undocumented codes before the end is set aside.
    (5000456, "mixed", "dict"),
)
