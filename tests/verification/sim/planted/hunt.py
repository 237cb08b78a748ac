"""Plant each mistake and look for it: after how many schedules does the simulation see it?"""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import dataclass

from tests.verification.planting.plant import Plant
from tests.verification.sim.planted.catalogue import PLANTS
from tests.verification.sim.run import Campaign, Plan

CHUNK = 40


@dataclass(frozen=True)
class Catch:
    """`tries`: schedules until the first that showed it, 0 when none did; `saw`: what it showed."""

    plant: Plant
    store: str
    tries: int
    saw: str = ""


def hunt(plant: Plant, store: str, budget: int, first: int = 1, workers: int = 1) -> Catch:
    """Up to `budget` schedules from seed `first`."""
    with plant.planted():
        plan = Plan(first, plant.profile, store, schedules=budget, workers=workers, chunk=CHUNK)
        campaign = Campaign(plan)
        with contextlib.redirect_stdout(io.StringIO()):
            campaign.search()
    if not campaign.failures:
        return Catch(plant, store, 0)
    found = min(campaign.failures, key=lambda each: each.seed)
    return Catch(plant, store, found.seed - first + 1, found.found)


def hunt_all(name: str, store: str, budget: int, first: int, workers: int) -> int:
    """Tell of each; how many were not found."""
    plants = [plant for plant in PLANTS if name in ("all", plant.name) and store in plant.engines]
    if not plants:
        print(f"no mistake is called {name}; there are: " + " ".join(plant.name for plant in PLANTS))
        return 1
    missed = 0
    for plant in plants:
        began = time.monotonic()
        catch = hunt(plant, store, budget, first, workers)
        missed += not catch.tries
        told = f"{catch.tries:>6}" if catch.tries else f"NOT in {budget}"
        where = "" if plant.profile == "mixed" else f" ({plant.profile})"
        took = time.monotonic() - began
        print(f"{told} {store:6} {plant.name}{where} [{took:.0f} s]: {catch.saw[:100]}", flush=True)
    print(f"{len(plants) - missed} of {len(plants)} found")
    return missed
