"""`python -m scripts.planning --activities N …`: the day of one app, simulated with your figures."""

from __future__ import annotations

import argparse
import math

from scripts.planning.day import Limits, simulate
from scripts.planning.load import Load
from scripts.planning.tables import CALLS, lasts, length, many


def main() -> None:
    """Print the forecast."""
    parser = argparse.ArgumentParser(prog="python -m scripts.planning", description=__doc__)
    parser.add_argument("--activities", type=int, required=True, help="of one app, on one day")
    parser.add_argument("--members", type=int, default=Load.members, help="of each (%(default)s)")
    parser.add_argument("--minute", type=float, default=math.inf, help="WeChat's quota of calls a minute")
    parser.add_argument("--day", type=float, default=math.inf, help="WeChat's quota of calls a day")
    parser.add_argument("--reserve", type=float, default=0, help="calls of the day that are kept for ends")
    parser.add_argument("--calls", type=float, default=CALLS, help="a second that your dispatchers make")
    parser.add_argument("--coalesce", type=float, default=1.0, help="LIVECARD_COALESCE in seconds")
    options = parser.parse_args()
    load = Load(options.activities, options.members)
    limits = Limits(options.calls, options.minute, options.day, options.coalesce, options.reserve)
    day = simulate(load, limits)
    print(f"events           {many(load.events)} in the day, {many(day.busiest_completions)}/s at most")
    print(f"calls            {many(day.calls)} made, {many(day.busiest)}/s wanted at most")
    print(f"coalesced        {many(day.saved)} changes travelled with another call")
    for name, waiting in (("ends", day.ends), ("news", day.news)):
        late = " · ".join(f"{share:.0%} within {length(waiting.within(share))}" for share in (0.5, 0.99, 1.0))
        print(f"{name:<16} {late}")
    print(f"the day's quota  {lasts(day)}")
    print(f"at midnight      {many(day.untold)} calls are still due, {many(day.ends.total)} of them ends")


if __name__ == "__main__":
    main()
