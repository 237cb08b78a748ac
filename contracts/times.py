"""RFC 3339 on the wire, µs since the epoch inside (design.md §4: an offset, years 2000–2100 as written)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

MILLISECOND: Final = 1_000
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

EARLIEST: Final = 946_684_800 * SECOND
"""2000-01-01T00:00:00Z."""
LATEST: Final = 4_133_980_800 * SECOND - 1
"""The last µs of the year 2100, UTC."""

LONGEST_TIME: Final = 64
"""Characters: nobody needs more digits, and errors stay short."""

_LEAP_DAY = "20(?:[02468][048]|[13579][26])-02-29"
_DAY = (
    "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8])"
)
TIME_PATTERN: Final = (
    f"^(?:(?:20[0-9]{{2}}|2100)-(?:{_DAY})|{_LEAP_DAY})"
    "[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\\.[0-9]+)?"
    "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
"""What `parse_rfc3339` accepts, for the schemas: in the dialect that all of them share (no look-ahead)."""

# Days, minutes and seconds that do not exist are left to `fromisoformat`, which is quicker than a pattern.
_SHAPE = re.compile(
    r"(?:20\d\d|2100)-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):\d\d:(\d\d)(?:\.\d+)?(?:[Zz]|[+-]\d\d:[0-5]\d)",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_rfc3339(text: str) -> int:
    """µs since the epoch; digits beyond the µs are cut off.

    A leap second counts as the second after `:59`. Raises ValueError, saying what is wrong, for another
    format, a missing offset, a date that does not exist, or a year outside 2000–2100 (as written).
    """
    shape = _SHAPE.fullmatch(text) if len(text) <= LONGEST_TIME else None
    if shape is None:
        raise ValueError("not RFC 3339 with an offset and a year of 2000–2100, such as 2026-11-21T08:00:00Z")
    leap = 0
    if shape[1] == "60":
        text, leap = f"{text[:17]}59{text[19:]}", SECOND
    try:
        since = datetime.fromisoformat(text.upper()) - _EPOCH
    except ValueError:
        raise ValueError("not an existing date and time") from None
    return since.days * DAY + since.seconds * SECOND + since.microseconds + leap


@lru_cache(maxsize=4096)
def _to_the_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=64)  # the changes of one batch have one time
def format_rfc3339(us: int) -> str:
    """UTC with `Z`; no fraction when it is 0, else six digits without trailing zeros."""
    seconds, fraction = divmod(us, SECOND)
    if not fraction:
        return f"{_to_the_second(seconds)}Z"
    return f"{_to_the_second(seconds)}.{fraction:06d}".rstrip("0") + "Z"
