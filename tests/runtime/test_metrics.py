"""What a process's metrics hold back: labels that anybody could make."""

from __future__ import annotations

from services.runtime.metrics import MOST_GATES, Metrics
from statemachine.gate import NEVER, UNKNOWN_APP, Gate


def series(metrics: Metrics, name: str) -> list[str]:
    """The app ids that a gauge tells of."""
    return [
        sample.labels["appid"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    ]


def test_apps_that_producers_made_up_do_not_hide_those_that_are_held() -> None:
    """Neither once they were called for, nor before, when their gates are open like any other."""
    metrics = Metrics()
    strangers = [Gate(f"a{each}", NEVER, 1, UNKNOWN_APP) for each in range(2 * MOST_GATES)]
    held, fine = Gate("wx1", 1, 1, "misconfigured"), Gate("wx2")
    metrics.gates([*strangers, held, fine])
    told = series(metrics, "livecard_gate_closed_until_seconds")
    assert len(told) == MOST_GATES
    assert {"wx1", "wx2", "a0"} <= {*told}
    metrics.gates([*(Gate(each.appid) for each in strangers), held])
    assert "wx1" in series(metrics, "livecard_gate_closed_until_seconds")
