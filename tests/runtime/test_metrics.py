"""Which series a process has: those it knows of from the start, and no labels that anybody could make."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

from contracts.records import DeadReason
from contracts.wechat import VERDICTS, Verdict, verdict_of_answer, verdict_of_token
from contracts.wire import WIRE
from services.runtime.clock import RealClock
from services.runtime.health import Dependency, Health
from services.runtime.metrics import MOST_APPS, MOST_GATES, Metrics
from services.runtime.series import OPEN, SERIES
from statemachine.gate import NEVER, UNKNOWN_APP, Gate
from statemachine.model import OutcomeKind


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


def labelled(metrics: Metrics) -> dict[str, Any]:
    """Metric with labels → itself; told by the client's registry, so that none is forgotten."""
    known = vars(metrics.registry)["_collector_to_names"]
    return {each._name: each for each in known if getattr(each, "_labelnames", ())}


def test_every_series_of_a_fixed_label_set_exists_from_the_start() -> None:
    """An alert on an increase does not see a series that is born with its first event."""
    for name, metric in labelled(Metrics()).items():
        found = set(metric._metrics)
        if OPEN & set(metric._labelnames):
            assert name not in SERIES
            assert found == set(), name
        else:
            assert found == set(SERIES[name]) != set(), name


def test_no_series_is_born_later() -> None:
    """Everything that services tell, in every way that the contracts know."""
    metrics = Metrics()
    fixed = {name: each for name, each in labelled(metrics).items() if name in SERIES}
    before = {name: set(each._metrics) for name, each in fixed.items()}
    for kind, outcome in product(WIRE, get_args(OutcomeKind)):
        metrics.outcomes({("" if outcome == "dead" else kind, outcome): 1})
    for reason in get_args(DeadReason):
        metrics.dead_lettered(reason, 1)
    for status, code in product((200, 429, 500), (None, 12345, *VERDICTS)):
        metrics.called("wx1", verdict_of_answer(status, code), code, 0.1)
    for code in VERDICTS:
        metrics.called("wx1", verdict_of_token(code), code, 0.1)
        metrics.called("wx1", Verdict.no_token, code, 0.1)
    for verdict in Verdict:
        metrics.called("wx1", verdict, None, 0.1)
    for role in ("changes", "dead"):
        metrics.published(role, 1)
    for what in ("store", "broker"):
        metrics.waited(what)
    after = {name: set(each._metrics) for name, each in fixed.items()}
    assert after == before


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_the_ledgers_counters_are_revisions_by_fate_and_repairs() -> None:
    """What else a transaction counts has metrics of its own."""
    metrics = Metrics()
    metrics.counted(
        {"revisions.raised": 3, "revisions.delivered": 1, "revisions.superseded": 2, "repairs": 1}
    )
    metrics.counted({"revisions.delivered": 1, "events.taken": 7})
    assert value(metrics, "livecard_revisions_raised_total") == 3
    assert value(metrics, "livecard_revisions_total", fate="delivered") == 2
    assert value(metrics, "livecard_revisions_total", fate="superseded") == 2
    assert value(metrics, "livecard_revisions_total", fate="dead") == 0
    assert value(metrics, "livecard_repairs_total") == 1


def test_calls_are_counted_by_app_and_the_apps_are_bounded() -> None:
    """What is beyond the most is counted together."""
    metrics = Metrics()
    for number in range(MOST_APPS + 2):
        metrics.called(f"wx{number}", "ok", 0, 0.1)
    metrics.called("wx0", "ok", 0, 0.1)
    name = "livecard_app_calls_total"
    assert value(metrics, name, appid="wx0", verdict="ok", errcode="0") == 2
    assert value(metrics, name, appid="other", verdict="ok", errcode="0") == 2
    assert len({*series(metrics, name)}) == MOST_APPS + 1
    assert value(metrics, "livecard_calls_total", verdict="ok", errcode="0") == MOST_APPS + 3


async def test_the_metrics_say_whether_the_process_is_ready() -> None:
    """As `/readyz` does, by each check."""
    metrics, clock = Metrics(), RealClock()
    store = Dependency("store", forever, 60.0, clock)
    health = Health(list, clock, 60.0, store=store, tell=metrics.ready)
    await health.waiting()
    assert value(metrics, "livecard_ready") == 0
    store.away = None
    await health.waiting()
    assert value(metrics, "livecard_ready") == 1


async def forever() -> None:
    """A dependency that is never asked here."""
