"""Every alert fires when it should and keeps still when it should, says so in words, and has its entry in the
runbook; queries name metrics and labels that a process really has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client import ProcessCollector
from prometheus_client.registry import CollectorRegistry

from scripts import dashboard
from scripts.diagrams.metrics import stored_name
from scripts.engines.prometheus import missing, promtool
from services.runtime.metrics import Metrics
from services.runtime.series import SERIES
from tests.engines.support import REQUIRED

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "livecard.rules.yml"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    for rule in group["rules"]
}
D1 = 'job="livecard", service="dispatcher", instance="d1:8083"'
LABELS_OF_D1 = {"job": "livecard", "service": "dispatcher", "instance": "d1:8083"}
LATE = "livecard_cards_behind_oldest_seconds"
needs_promtool = pytest.mark.skipif(
    missing() is not None and not REQUIRED, reason=f"PROMETHEUS IS MISSING: {missing()}"
)


class Case(NamedTuple):
    """Series by the minute, in promtool's notation, with which the alert fires `at` so many minutes, with
    these labels and this summary; and with which it does not, in one way or another."""

    fires: Mapping[str, str]
    quiet: Mapping[str, str]
    says: str
    labels: Mapping[str, str] = {}
    at: int = 15
    or_quiet: Mapping[str, str] | None = None


def dead(reason: str) -> dict[str, str]:
    return {f'livecard_dead_letters_total{{reason="{reason}"}}': "0+0x10 2+0x10"}


def by_hand(appid: str) -> str:
    return f'livecard_gate_closed_until_seconds{{appid="{appid}", reason="operator"}}'


def saving(appid: str) -> str:
    return f'livecard_quota_saving_until_seconds{{appid="{appid}"}}'


def held(at: str) -> dict[str, str]:
    return {
        'livecard_consumer_held_records{partition="3"}': "7+0x40",
        'livecard_consumer_stable_offset{partition="3"}': at,
    }


def up(*services: str) -> dict[str, str]:
    return {f'up{{job="livecard", service="{each}", instance="{each}:1"}}': "1+0x40" for each in services}


CASES = {
    "LivecardCardsLate": Case(
        {LATE: "180+0x40", by_hand("wx1"): "60+0x40", saving("wx1"): "60+0x40"},
        {LATE: "180+0x40", by_hand("wx1"): "90000+0x40"},
        "A card has shown something untrue for 3m 0s",
        or_quiet={LATE: "180+0x40", saving("wx1"): "90000+0x40"},
    ),
    "LivecardDispatchLate": Case(
        {"livecard_cards_due_oldest_seconds": "40+0x40"},
        {"livecard_cards_due_oldest_seconds": "20+0x40"},
        "A card has waited 40s for a dispatcher, and could be called for",
    ),
    "LivecardTimersLate": Case(
        {"livecard_timers_due_oldest_seconds": "40+0x40"},
        {"livecard_timers_due_oldest_seconds": "20+0x40"},
        "A timer should have fired 40s ago",
    ),
    "LivecardCardsGivenUp": Case(
        {'livecard_revisions_total{fate="dead"}': "0+1x40"},
        {
            'livecard_revisions_total{fate="expired"}': "0+1x40",
            'livecard_revisions_total{fate="dead"}': "7+0x40",
        },
        "WeChat refused 15 revisions for good within 15 minutes",
        at=30,
    ),
    "LivecardWeChatAway": Case(
        {
            'livecard_calls_total{verdict="address", errcode="40164"}': "0+60x40",
            'livecard_calls_total{verdict="ok", errcode="0"}': "9+0x40",
        },
        {
            'livecard_calls_total{verdict="busy", errcode="none"}': "0+60x40",
            'livecard_calls_total{verdict="ok", errcode="0"}': "0+1x40",
        },
        "No call to WeChat succeeds any more",
    ),
    "LivecardUnknownOutcomes": Case(
        {"livecard_unknown_outcomes_total": "0+6x40", "livecard_calls_total": "0+60x40"},
        {"livecard_unknown_outcomes_total": "0+1x40", "livecard_calls_total": "0+60x40"},
        "10% of the calls to WeChat have an unknown outcome",
    ),
    "LivecardGateClosed": Case(
        {'livecard_gate_closed_until_seconds{appid="wx1", reason="blocked"}': "90000+0x40"},
        {
            'livecard_gate_closed_until_seconds{appid="wx1", reason="blocked"}': "1+0x40",
            'livecard_gate_closed_until_seconds{appid="wx2", reason="minute_limit"}': "90000+0x40",
        },
        "The cards of wx1 stand still: blocked",
        {"appid": "wx1", "reason": "blocked"},
    ),
    "LivecardGateClosedOften": Case(
        {'livecard_gate_closed_until_seconds{appid="wx1", reason="minute_limit"}': "0+60x40"},
        {'livecard_gate_closed_until_seconds{appid="wx1", reason="minute_limit"}': "60+0x40"},
        "The gate of wx1 closes again and again: minute_limit",
        {"appid": "wx1", "reason": "minute_limit"},
    ),
    "LivecardGateClosedByHand": Case(
        {by_hand("wx1"): "90000+0x300"},
        {by_hand("wx1"): "90000+0x180 0+0x120"},
        "Somebody closed the gate of wx1 hours ago, and for 20h 0m 0s more",
        {"appid": "wx1"},
        at=300,
    ),
    "LivecardQuotaLow": Case(
        {'livecard_quota_left{appid="wx1"}': "50+0x40", 'livecard_quota_limit{appid="wx1"}': "1000+0x40"},
        {'livecard_quota_left{appid="wx1"}': "500+0x40", 'livecard_quota_limit{appid="wx1"}': "1000+0x40"},
        "wx1 has 5% of today's calls left",
        {"appid": "wx1"},
    ),
    "LivecardTokenFetchesFail": Case(
        {'livecard_token_fetches_total{outcome="misconfigured"}': "0+1x40"},
        {'livecard_token_fetches_total{outcome="ok"}': "0+1x40"},
        "WeChat gives out no access token: misconfigured",
        {"outcome": "misconfigured"},
    ),
    "LivecardTokenReplaced": Case(
        {'livecard_tokens_replaced_total{appid="wx1"}': "_x60 1+0x30"},
        {'livecard_tokens_replaced_total{appid="wx1"}': "1+0x90"},
        "Somebody else refreshes the access token of wx1",
        {"appid": "wx1"},
        at=80,
    ),
    "LivecardIngestLags": Case(
        {'livecard_consumer_lag_records{partition="0"}': "1000+100x40"},
        {'livecard_consumer_lag_records{partition="0"}': "5000+0x40"},
        "4k records of activity.events wait, and more by the minute",
        at=30,
    ),
    "LivecardRecordsLost": Case(
        {"livecard_lost_records_total": "0+0x10 2+0x10"},
        {"livecard_lost_records_total": "2+0x20"},
        "2 records were deleted before they were read",
    ),
    "LivecardTransactionOpen": Case(
        held(at="5+0x40"),
        held(at="5+9x40"),
        "A producer's transaction holds back 7 records of partition 3",
        {"partition": "3"},
    ),
    "LivecardUnprocessable": Case(
        dead("unprocessable"), dead("invalid"), "2 good events went to the dead letters"
    ),
    "LivecardDeadLetters": Case(
        dead("invalid"),
        dead("unprocessable"),
        "2 records of producers went to the dead letters: invalid",
        {"reason": "invalid"},
    ),
    "LivecardParkedLong": Case(
        {"livecard_parked_oldest_seconds": "900+0x40"},
        {"livecard_parked_oldest_seconds": "60+0x40"},
        "An event has waited 15m 0s for the opening of its activity",
    ),
    "LivecardChangesLate": Case(
        {"livecard_outbox_oldest_seconds": "90+0x40"},
        {"livecard_outbox_oldest_seconds": "9+0x40"},
        "A change has not been published for 1m 30s",
    ),
    "LivecardServiceMissing": Case(
        up("lifecycle", "clock"),
        up("lifecycle", "clock", "dispatcher"),
        "No dispatcher runs",
        {"service": "dispatcher"},
    ),
    "LivecardDown": Case(
        {f"up{{{D1}}}": "0+0x40"}, {f"up{{{D1}}}": "1+0x40"}, "d1:8083 does not answer", LABELS_OF_D1
    ),
    "LivecardNotReady": Case(
        {f"livecard_ready{{{D1}}}": "0+0x40"},
        {f"livecard_ready{{{D1}}}": "1+0x40"},
        "d1:8083 cannot do its work",
        LABELS_OF_D1,
    ),
    "LivecardBlind": Case(
        {"livecard_backlog_read_timestamp_seconds": "0+0x40"},
        {"livecard_backlog_read_timestamp_seconds": "0+60x40"},
        "What waits has not been read for 15m 0s: the other alerts are blind",
    ),
    "LivecardDatabaseSlow": Case(
        {
            'livecard_statement_seconds_bucket{statement="claim", le="0.5"}': "0+0x40",
            'livecard_statement_seconds_bucket{statement="claim", le="2.5"}': "0+100x40",
            'livecard_statement_seconds_bucket{statement="claim", le="+Inf"}': "0+100x40",
        },
        {
            'livecard_statement_seconds_bucket{statement="claim", le="0.1"}': "0+100x40",
            'livecard_statement_seconds_bucket{statement="claim", le="+Inf"}': "0+100x40",
        },
        "One statement in a hundred takes 2.48s or more",
    ),
    "LivecardStaleSettles": Case(
        {"livecard_stale_settles_total": "0+2x40"},
        {"livecard_stale_settles_total": "99+0x40"},
        "20 results came after their lease was over",
    ),
}


def promtool_tests() -> dict[str, Any]:
    """Two tests for each alert, or three."""
    tests = []
    for name, case in CASES.items():
        rule = ALERTS[name]
        fired = {
            "exp_labels": {**rule["labels"], **case.labels},
            "exp_annotations": {"summary": case.says, "runbook": rule["annotations"]["runbook"]},
        }
        for series, expected in ((case.fires, [fired]), (case.quiet, []), (case.or_quiet, [])):
            if series is None:
                continue
            told = {"eval_time": f"{case.at}m", "alertname": name, "exp_alerts": expected}
            inputs = [{"series": key, "values": values} for key, values in series.items()]
            tests.append({"interval": "1m", "input_series": inputs, "alert_rule_test": [told]})
    return {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}


@needs_promtool
def test_each_alert_fires_when_it_should_and_no_sooner(tmp_path: Path) -> None:
    """By promtool's own arithmetic."""
    file = tmp_path / "alerts.yml"
    file.write_text(yaml.safe_dump(promtool_tests()), "utf-8")
    assert "SUCCESS" in promtool("test", "rules", str(file))


@needs_promtool
def test_prometheus_takes_the_configuration() -> None:
    assert "SUCCESS" in promtool("check", "config", str(RULES.with_name("prometheus.yml")))


def test_no_alert_is_without_its_test() -> None:
    assert CASES.keys() == ALERTS.keys()


@pytest.mark.parametrize("page", ["runbook.md", "zh-CN/runbook.md"])
def test_each_alert_has_its_entry_in_the_runbook(page: str) -> None:
    """Under its own name, with how urgent it is, what it means, what to look at, what to do."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    entries = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert entries.keys() == ALERTS.keys()
    words = ("Means:", "Look at:", "Do:") if page == "runbook.md" else ("含义：", "先看：", "做法：")
    urgent = {"page": ("*Page.*", "*叫醒。*"), "ticket": ("*Ticket.*", "*工单。*")}
    for name, entry in entries.items():
        assert all(f"**{word}**" in entry for word in words), name
        assert entry.strip().startswith(urgent[ALERTS[name]["labels"]["severity"]]), name
        assert ALERTS[name]["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"


# What a query may name: metric → its labels → their values, where they are known beforehand.
TARGET = {"job": {"livecard"}, "service": {"lifecycle", "clock", "dispatcher", "gateway"}, "instance": set()}
KEYWORDS = {
    *("sum", "max", "min", "count", "topk", "by", "and", "or", "unless", "offset", "on"),
    *("rate", "increase", "changes", "histogram_quantile", "vector", "time", "absent"),
}


def exported() -> dict[str, dict[str, set[str]]]:
    known: dict[str, dict[str, set[str]]] = {"up": TARGET}
    for families in Metrics().sections.values():
        for family in families:
            values = SERIES.get(family._name, [])
            labels = {name: {each[place] for each in values} for place, name in enumerate(family._labelnames)}
            name = stored_name(family)
            if family._type == "histogram":
                known |= {
                    f"{name}_{part}": {**TARGET, **labels, "le": set()} for part in ("bucket", "sum", "count")
                }
            else:
                known[name] = {**TARGET, **labels}
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for each in registry.collect():
        known[f"{each.name}_total" if each.type == "counter" else each.name] = TARGET
    return known


EXPORTED = exported()
QUERIES = [*(rule["expr"] for rule in ALERTS.values()), *dashboard.queries()]


def faults(query: str) -> list[str]:
    """What a query names that no process has."""
    bare = re.sub(r'"[^"]*"', '""', query.replace(f"[{dashboard.RANGE}]", ""))
    words = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on) \([^)]*\)|\boffset \w+", " ", bare)
    metrics = set(re.findall(r"\b[a-z_][a-z_0-9]*\b", words)) - KEYWORDS
    found = [f"no metric {name}" for name in sorted(metrics - EXPORTED.keys())]
    known = {label for name in metrics & EXPORTED.keys() for label in EXPORTED[name]}
    for grouped in re.findall(r"\bby \(([^)]*)\)", query):
        found += [f"no label {each}" for each in re.split(r",\s*", grouped) if each not in known]
    for name, matchers in re.findall(r"\b(\w+)\{([^}]*)\}", query):
        for label, how, value in re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', matchers):
            values = EXPORTED.get(name, {}).get(label)
            if values is None:
                found.append(f"{name} has no label {label}")
            elif values and (wrong := {*value.split("|")} - values):
                found.append(f"{name}: {label} {how} {wrong}")
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_metrics_and_labels_that_exist(query: str) -> None:
    assert faults(query) == []


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("max(livecard_cards_late)", "no metric livecard_cards_late"),
        ("sum by (appid) (rate(livecard_calls_total[5m]))", "no label appid"),
        ('livecard_revisions_total{fate="lost"}', "livecard_revisions_total: fate = {'lost'}"),
        ('livecard_ready{app="x"} == 0', "livecard_ready has no label app"),
        ("rate(livecard_call_seconds[5m])", "no metric livecard_call_seconds"),
    ],
)
def test_a_query_that_names_something_else_is_seen(query: str, fault: str) -> None:
    """The test of the test."""
    assert faults(query) == [fault]
