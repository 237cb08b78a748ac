"""What the members of an app's activities do in a day, second by second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

DAY = 86_400
HOUR = 3_600


@dataclass(frozen=True)
class Load:
    """The activities of one app on one day.

    Each opens before `opens` and ends on one of the hours of `ends` (hour → share). `done` of its `members`
    finish: `rush` of them in the last hour before the end, the others evenly before. An hour before the end
    the card says that it is near.
    """

    activities: int
    members: int = 10
    done: float = 0.8
    rush: float = 0.5
    opens: int = 8
    ends: tuple[tuple[int, float], ...] = ((12, 0.1), (18, 0.3), (20, 0.2), (22, 0.4))

    @property
    def completions(self) -> float:
        """Of the whole day."""
        return self.activities * self.members * self.done

    @property
    def events(self) -> float:
        """That other services publish: an opening and its completions."""
        return self.activities + self.completions


class Second(NamedTuple):
    """What comes in one second: completions, cards that come near, cards that end; and the activities that
    are open."""

    completions: float
    nearing: float
    ends: float
    open: float


def seconds(load: Load) -> Iterator[Second]:
    """The day, from midnight to midnight."""
    rates = [0.0] * DAY
    nearing, ends = [0.0] * DAY, [0.0] * DAY
    for hour, share in load.ends:
        activities, end = load.activities * share, hour * HOUR
        finish = activities * load.members * load.done
        rushing, early = end - HOUR, load.opens * HOUR
        for second in range(rushing, end):
            rates[second] += finish * load.rush / HOUR
        for second in range(early, rushing):
            rates[second] += finish * (1 - load.rush) / (rushing - early)
        nearing[rushing] += activities
        ends[end] += activities
    still = float(load.activities)
    for second in range(DAY):
        still -= ends[second]
        yield Second(rates[second], nearing[second], ends[second], max(still, 0.0))
