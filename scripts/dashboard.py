"""The Grafana dashboard, from a table of its panels: `make generate` writes it.

Its rows answer in order: are cards true, how late are they, why, and how much room is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
RANGE: Final = "$__rate_interval"
WIDE: Final = 24
"""Columns of Grafana's grid."""


class Panel(NamedTuple):
    """`queries`: legend → PromQL. `kind`: Grafana's name. `bad`: from where on a stat is red. `says`: how to
    read it."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    bad: float | None = None
    says: str = ""


def rate(metric: str, by: str = "") -> str:
    """The sum of a counter's rates, by these labels."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}[{RANGE}]))"


def quantile(share: float, metric: str, by: str = "") -> str:
    """A quantile of a histogram over all processes."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({metric}_bucket[{RANGE}])))"


def quantiles(metric: str) -> dict[str, str]:
    """The middle and the slow end."""
    return {"half": quantile(0.5, metric), "99 of 100": quantile(0.99, metric)}


_CLOSED: Final = "max by (appid, reason) (livecard_gate_closed_until_seconds) > time()"
ROWS: Final[Mapping[str, tuple[Panel, ...]]] = {
    "Are cards true?": (
        Panel("Undelivered cards", {"": "max(livecard_cards_behind)"}, kind="stat", width=4, bad=1_000),
        Panel(
            "Oldest undelivered card",
            {"": "max(livecard_cards_behind_oldest_seconds)"},
            "s",
            "stat",
            4,
            bad=120,
        ),
        Panel(
            "Apps whose gate is closed",
            {"": f"count({_CLOSED}) or vector(0)"},
            kind="stat",
            width=4,
            bad=1,
        ),
        Panel("Processes not ready", {"": "count(livecard_ready == 0) or vector(0)"}, "short", "stat", 4, 1),
        Panel(
            "Revisions given up, last hour",
            {"": 'sum(increase(livecard_revisions_total{fate="dead"}[1h]))'},
            kind="stat",
            width=4,
            bad=1,
        ),
        Panel(
            "Database last read",
            {"": "time() - max(livecard_backlog_read_timestamp_seconds)"},
            "s",
            "stat",
            4,
            bad=60,
            says="What waits is read every 10 s; older than that, everything about it here is old.",
        ),
        Panel("Undelivered cards", {"undelivered": "max(livecard_cards_behind)"}, width=12),
        Panel(
            "Revisions",
            {
                "raised": rate("livecard_revisions_raised_total"),
                "{{fate}}": rate("livecard_revisions_total", "fate"),
            },
            "ops",
            width=12,
            says="Raised ones are soon delivered or superseded; expired and dead ones were never shown.",
        ),
    ),
    "How late?": (
        Panel(
            "Oldest that waits",
            {
                "undelivered card": "max(livecard_cards_behind_oldest_seconds)",
                "card due for a dispatcher": "max(livecard_cards_due_oldest_seconds)",
                "timer": "max(livecard_timers_due_oldest_seconds)",
                "change to publish": "max(livecard_outbox_oldest_seconds)",
            },
            "s",
            says="An undelivered card that is not due backs off or stands behind a closed gate.",
        ),
        Panel("Lateness of timers", quantiles("livecard_timer_lateness_seconds"), "s"),
        Panel("Time of a call to WeChat", quantiles("livecard_call_seconds"), "s"),
        Panel(
            "Records of activity.events not taken in",
            {"partition {{partition}}": "sum by (partition) (livecard_consumer_lag_records)"},
        ),
        Panel(
            "Events ahead of their opening",
            {"events": "max(livecard_parked_events)", "oldest, s": "max(livecard_parked_oldest_seconds)"},
        ),
        Panel(
            "Time of an API request",
            {"{{route}}": quantile(0.99, "livecard_http_request_seconds", "route")},
            "s",
        ),
    ),
    "Why?": (
        Panel(
            "Closed gates",
            {"{{appid}}: {{reason}}": f"({_CLOSED}) - time() or vector(0)"},
            "s",
            says="For how much longer each gate is closed.",
        ),
        Panel(
            "Calls by verdict",
            {"{{verdict}}": f"{rate('livecard_calls_total', 'verdict')} > 0 or vector(0)"},
            "ops",
        ),
        Panel(
            "Calls by app and code",
            {
                "{{appid}} {{verdict}} {{errcode}}": (
                    f"topk(20, {rate('livecard_app_calls_total', 'appid, verdict, errcode')})"
                )
            },
            "ops",
        ),
        Panel(
            "Doubt",
            {
                "unknown outcomes": rate("livecard_unknown_outcomes_total"),
                "members repeated": rate("livecard_members_repeated_total"),
                "repairs": rate("livecard_repairs_total"),
                "stale settles": rate("livecard_stale_settles_total"),
            },
            "ops",
        ),
        Panel("Events by outcome", {"{{outcome}}": rate("livecard_events_total", "outcome")}, "ops"),
        Panel(
            "Dead letters",
            {"{{reason}}": f"sum by (reason) (increase(livecard_dead_letters_total[{RANGE}]))"},
        ),
        Panel(
            "Token fetches",
            {"{{outcome}}": f"sum by (outcome) (increase(livecard_token_fetches_total[{RANGE}]))"},
        ),
        Panel(
            "Failures that are repeated",
            {
                "batches that wait for {{for}}": rate("livecard_waits_total", "for"),
                "rounds of the relay": rate("livecard_relay_failures_total"),
                "nudges dropped": rate("livecard_nudges_dropped_total"),
            },
            "ops",
        ),
        Panel(
            "Slowest statements, 99 of 100",
            {"{{statement}}": f"topk(10, {quantile(0.99, 'livecard_statement_seconds', 'statement')})"},
            "s",
        ),
    ),
    "How much room is left?": (
        Panel(
            "Calls left today",
            {"{{appid}}": "min by (appid) (livecard_quota_left) / max by (appid) (livecard_quota_limit)"},
            "percentunit",
        ),
        Panel(
            "Apps that keep the rest for ends",
            {"apps": "count(max by (appid) (livecard_quota_saving_until_seconds) > time()) or vector(0)"},
            says="LIVECARD_QUOTA_RESERVE is reached: their other cards wait for midnight in Asia/Shanghai.",
        ),
        Panel(
            "Coalescing factor",
            {
                "revisions for each one delivered": (
                    f'sum(rate(livecard_revisions_total{{fate=~"delivered|superseded"}}[{RANGE}])) '
                    f'/ sum(rate(livecard_revisions_total{{fate="delivered"}}[{RANGE}]))'
                )
            },
            says="1: every change is a delivery of its own. More under load: one call tells several changes.",
        ),
        Panel(
            "Calls in flight",
            {
                "in flight, {{instance}}": "livecard_calls_in_flight",
                "width of {{appid}}": "sum by (appid) (livecard_gate_width)",
            },
        ),
        Panel(
            "Records in a batch",
            {"mean": f"{rate('livecard_batch_records_sum')} / {rate('livecard_batch_records_count')}"},
            says="Batches grow before anything gets late.",
        ),
        Panel("Time of a batch", quantiles("livecard_batch_seconds"), "s"),
        Panel(
            "Time in the database, by statement",
            {"{{statement}}": (f"topk(10, {rate('livecard_statement_seconds_sum', 'statement')})")},
            "s",
            says="Seconds in each second.",
        ),
        Panel(
            "CPU of each process",
            {"{{service}} {{instance}}": f'rate(process_cpu_seconds_total{{job="livecard"}}[{RANGE}])'},
            "percentunit",
        ),
        Panel(
            "Memory of each process",
            {"{{service}} {{instance}}": 'process_resident_memory_bytes{job="livecard"}'},
            "bytes",
        ),
        Panel(
            "Requests and streams of the API",
            {
                "requests, {{instance}}": "livecard_http_requests_in_flight",
                "streams, {{instance}}": "livecard_streams",
            },
        ),
    ),
}


def queries() -> Iterator[str]:
    """Every query."""
    for panels in ROWS.values():
        for panel in panels:
            yield from panel.queries.values()


def draw() -> str:
    """The dashboard, as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for heading, row in ROWS.items():
        panels.append(
            _placed({"type": "row", "title": heading, "collapsed": False, "panels": []}, 0, y, WIDE, 1)
        )
        x, y, height = 0, y + 1, 0
        for panel in row:
            if x + panel.width > WIDE:
                x, y = 0, y + height
            height = 4 if panel.kind == "stat" else 8
            panels.append(_placed(_panel(panel), x, y, panel.width, height))
            x += panel.width
        y += height
    for number, each in enumerate(panels, 1):
        each["id"] = number
    board = {
        "uid": "livecard",
        "title": "livecard",
        "tags": ["livecard"],
        "timezone": "browser",
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "annotations": {"list": []},
        "templating": {"list": [_WHICH]},
        "panels": panels,
    }
    return json.dumps(board, ensure_ascii=False, indent=1) + "\n"


def _placed(panel: dict[str, Any], x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {**panel, "gridPos": {"x": x, "y": y, "w": width, "h": height}}


def _panel(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad is not None:
        steps.append({"color": "red", "value": panel.bad})
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": _OPTIONS[panel.kind],
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }


_WHICH: Final = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "current": {"text": "Prometheus", "value": "prometheus"},
}
"""The Prometheus that is asked, for whoever has several; the provisioned one at first."""
_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "none"},
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
}
