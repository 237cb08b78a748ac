"""The metrics of a process, by Prometheus' conventions: base units, `_total` for counters.

Each service names what it reports in a small protocol of its own; this class implements them all. Labels
are bounded: event types, outcomes, verdicts, documented codes, topics, app ids from the apps file and,
for closed gates, the first others.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from contracts.wechat import VERDICTS, Verdict
from services.runtime.series import SERIES
from services.store.ports import Backlog
from statemachine.gate import UNKNOWN_APP, Gate

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)
KNOWN_CODES = frozenset(VERDICTS)
"""Only documented codes are label values: WeChat may answer anything."""
MOST_GATES = 1000
"""Gates with a series each: any producer can name any number of apps."""


class Metrics:
    """One registry per process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._ingest()
        self._calls()
        self._store()
        self._requests()
        known = (self.events, self.dead, self.waits, self.relayed, self.calls, self.rows_pruned)
        for labelled in (*known, self.ids_created, self.logins, self.streams_ended):
            for values in SERIES[labelled._name]:  # noqa: SLF001 (the client tells it nowhere else)
                labelled.labels(*values)

    def _ingest(self) -> None:
        registry = self.registry
        self.events = Counter(
            "livecard_events", "Distinct events by type and outcome.", ["type", "outcome"], registry=registry
        )
        self.repeats = Counter("livecard_event_repeats", "Events taken in more than once.", registry=registry)
        self.dead = Counter("livecard_dead_letters", "Dead letters by reason.", ["reason"], registry=registry)
        self.batch_size = Histogram(
            "livecard_batch_records", "Records per batch.", buckets=SIZES, registry=registry
        )
        self.batch_time = Histogram(
            "livecard_batch_seconds", "Time to take a batch in.", buckets=SECONDS, registry=registry
        )
        self.waits = Counter(
            "livecard_waits", "Times a batch had to wait, by what it waited for.", ["for"], registry=registry
        )
        self.consumer_lag = Gauge(
            "livecard_consumer_lag_records",
            "Records of activity.events that are not taken in yet, in the partitions of this process.",
            ["partition"],
            registry=registry,
        )
        self.stable_offset = Gauge(
            "livecard_consumer_stable_offset",
            "Offset up to which activity.events can be read, in the partitions of this process.",
            ["partition"],
            registry=registry,
        )
        self.held_back = Gauge(
            "livecard_consumer_held_records",
            "Records behind it, which an open transaction of a producer holds back.",
            ["partition"],
            registry=registry,
        )
        self.records_lost = Counter(
            "livecard_lost_records",
            "Offsets of activity.events that were deleted before they were read.",
            registry=registry,
        )
        self.nudges_dropped = Counter(
            "livecard_nudges_dropped",
            "Nudges that could not be handed over (the poll finds their cards).",
            registry=registry,
        )
        self.timer_lateness = Histogram(
            "livecard_timer_lateness_seconds",
            "How long after its due time a timer fired.",
            buckets=SECONDS,
            registry=registry,
        )
        self.relayed = Counter("livecard_relayed", "Outbox rows published.", ["topic"], registry=registry)
        self.relay_failures = Counter(
            "livecard_relay_failures", "Rounds of the relay that failed.", registry=registry
        )

    def _calls(self) -> None:
        registry = self.registry
        self.calls = Counter(
            "livecard_calls",
            "Calls to WeChat by verdict and errcode.",
            ["verdict", "errcode"],
            registry=registry,
        )
        self.call_time = Histogram(
            "livecard_call_seconds", "Time of a call.", buckets=SECONDS, registry=registry
        )
        self.unknown = Counter(
            "livecard_unknown_outcomes", "Calls whose outcome is unknown.", registry=registry
        )
        self.members_repeated = Counter(
            "livecard_members_repeated", "Members sent again after an unknown outcome.", registry=registry
        )
        self.claims = Counter("livecard_claims", "Cards claimed.", registry=registry)
        self.stale = Counter(
            "livecard_stale_settles", "Results settled without their fence.", registry=registry
        )
        self.settle_size = Histogram(
            "livecard_settle_results", "Results settled in one transaction.", buckets=SIZES, registry=registry
        )
        self.in_flight = Gauge("livecard_calls_in_flight", "Calls in flight.", registry=registry)
        self.width = Gauge(
            "livecard_gate_width", "Calls an app may have in flight here.", ["appid"], registry=registry
        )

        self.tokens_replaced = Counter(
            "livecard_tokens_replaced",
            "Tokens that WeChat refused before their time, since somebody else refreshed them.",
            ["appid"],
            registry=registry,
        )

    def _store(self) -> None:
        registry = self.registry

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"livecard_{name}", text, registry=registry)

        self._backlog = {
            "behind": gauge("cards_behind", "Cards with a revision to deliver (10001: or more)."),
            "behind_age": gauge(
                "cards_behind_oldest_seconds", "How long the oldest of them has waited for its delivery."
            ),
            "parked": gauge("parked_events", "Events that wait for their opened (10001: or more)."),
            "parked_age": gauge("parked_oldest_seconds", "How long the oldest of them has waited."),
            "outbox": gauge("outbox_rows", "Changes not published yet (10001: or more)."),
            "outbox_age": gauge("outbox_oldest_seconds", "Age of the oldest of them."),
            "due": gauge("timers_due", "Timers that should have fired (10001: or more)."),
            "due_age": gauge("timers_due_oldest_seconds", "How late the oldest of them is."),
            "unbound": gauge("unbound_openids", "Openids that wait for their binding (10001: or more)."),
            "unbound_age": gauge("unbound_oldest_seconds", "How long the oldest of them has waited."),
            "bindings": gauge("bindings", "Members of rooms whose openid is known (10001: or more)."),
        }
        self.streams_open = gauge("streams", "Streams of the API that are open.")
        self.streams_ended = Counter(
            "livecard_streams_ended", "Streams of the API that ended, by cause.", ["why"], registry=registry
        )
        self.gate_closed = Gauge(
            "livecard_gate_closed_until_seconds",
            "Until when (Unix time) an app's gate is closed; 0: open.",
            ["appid", "reason"],
            registry=registry,
        )
        self.rows_pruned = Counter(
            "livecard_pruned_rows", "Rows deleted by age.", ["table"], registry=registry
        )

    def _requests(self) -> None:
        registry = self.registry
        self.requests = Counter(
            "livecard_http_requests",
            "Requests to the API by route and status.",
            ["route", "code"],
            registry=registry,
        )
        self.request_time = Histogram(
            "livecard_http_request_seconds",
            "Time to the first byte of the answer, by route.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.requests_open = Gauge(
            "livecard_http_requests_in_flight",
            "Requests to the API under way, open streams included.",
            registry=registry,
        )

        self.ids_created = Counter(
            "livecard_activity_ids",
            "Activity ids that callers of the API wanted of WeChat, by what came of it.",
            ["outcome"],
            registry=registry,
        )
        self.logins = Counter(
            "livecard_sessions",
            "Sessions that callers of the API wanted, by what WeChat said of the login.",
            ["outcome"],
            registry=registry,
        )

    def created(self, outcome: str) -> None:
        """An activity id was wanted: a verdict, `closed` (the gate) or `paused` (a limit)."""
        self.ids_created.labels(outcome).inc()

    def logged_in(self, outcome: str) -> None:
        """A session was wanted: a verdict, `refused` (the code) or `paused` (a limit)."""
        self.logins.labels(outcome).inc()

    def request_answered(self, route: str, code: int, seconds: float) -> None:
        """A request to the API has its answer; `route` is one of the API's, or empty."""
        answered = self._answered.get((route, code))
        if answered is None:  # finding a series by its labels takes longer than all the rest
            answered = self.requests.labels(route, str(code)), self.request_time.labels(route)
            self._answered[route, code] = answered
        answered[0].inc()
        answered[1].observe(seconds)

    def requests_in_flight(self, requests: int) -> None:
        """Requests to the API under way in this process."""
        self.requests_open.set(requests)

    def backlog(self, backlog: Backlog) -> None:
        """The store's backlog as last read."""
        for name, gauge in self._backlog.items():
            value = getattr(backlog, name)
            gauge.set(value / 1_000_000 if name.endswith("_age") else value)

    def gates(self, gates: list[Gate]) -> None:
        """The gates as last read; beyond the most, those that WeChat closed stay."""
        self.gate_closed.clear()
        for gate in sorted(gates, key=_hidden)[:MOST_GATES]:
            self.gate_closed.labels(gate.appid, gate.reason).set(gate.closed_until / 1_000_000)

    def timer_fired(self, lateness: float) -> None:
        """One activity moved by the clock, so many seconds late."""
        self.timer_lateness.observe(lateness)

    def pruned(self, table: str, rows: int) -> None:
        """Rows deleted by age."""
        self.rows_pruned.labels(table).inc(rows)

    def called(self, verdict: str, errcode: int | None, seconds: float) -> None:
        """One call to WeChat came back."""
        code = "none" if errcode is None else str(errcode) if errcode in KNOWN_CODES else "other"
        self.calls.labels(verdict, code).inc()
        self.call_time.observe(seconds)
        if verdict == Verdict.unknown:
            self.unknown.inc()

    def repeated(self, members: int) -> None:
        """Members sent again after an unknown outcome."""
        self.members_repeated.inc(members)

    def claimed(self, cards: int) -> None:
        """Cards taken in one transaction."""
        self.claims.inc(cards)

    def settled(self, results: int, stale: int) -> None:
        """Results settled in one transaction, `stale` of them without their fence."""
        self.settle_size.observe(results)
        self.stale.inc(stale)

    def calls_in_flight(self, calls: int) -> None:
        """Calls in flight in this process."""
        self.in_flight.set(calls)

    def gate_width(self, appid: str, width: int) -> None:
        """How many calls this app may have in flight in this process."""
        self.width.labels(appid).set(width)

    def token_replaced(self, appid: str) -> None:
        """Somebody else refreshed this app's token."""
        self.tokens_replaced.labels(appid).inc()

    def nudges_lost(self, count: int) -> None:
        """Nudges that could not be handed over."""
        self.nudges_dropped.inc(count)

    def batch_taken(self, records: int, seconds: float) -> None:
        """One batch is in, its dead letters acknowledged."""
        self.batch_size.observe(records)
        self.batch_time.observe(seconds)

    def events_repeated(self, count: int) -> None:
        """Events taken in before, which changed nothing."""
        self.repeats.inc(count)

    def dead_lettered(self, reason: str, count: int) -> None:
        """Records that went to the dead letters."""
        self.dead.labels(reason).inc(count)

    def waited(self, what: str) -> None:
        """An attempt failed and the batch waits for `what`."""
        self.waits.labels(what).inc()

    def lag(self, records: Mapping[int, int]) -> None:
        """Records not taken in yet, by partition; partitions that are no longer ours go."""
        self.consumer_lag.clear()
        for partition, count in records.items():
            self.consumer_lag.labels(partition).set(count)

    def held(self, records: Mapping[int, tuple[int, int]]) -> None:
        """Last stable offset and records behind it, by partition; those that are no longer ours go."""
        self.stable_offset.clear()
        self.held_back.clear()
        for partition, (stable, count) in records.items():
            self.stable_offset.labels(partition).set(stable)
            self.held_back.labels(partition).set(count)

    def lost(self, records: int) -> None:
        """Offsets that were deleted before they were read."""
        self.records_lost.inc(records)

    def published(self, topic: str, rows: int) -> None:
        """Outbox rows acknowledged by the broker, `topic` by role."""
        self.relayed.labels(topic).inc(rows)

    def relay_failed(self) -> None:
        """A round of the relay failed; it is repeated."""
        self.relay_failures.inc()

    def outcomes(self, outcomes: Mapping[tuple[str, str], int]) -> None:
        """(type, outcome) → how many events."""
        for (kind, outcome), count in outcomes.items():
            self.events.labels(kind, outcome).inc(count)

    def streams(self, count: int) -> None:
        """`services.gateway.feed.FeedMetrics`."""
        self.streams_open.set(count)

    def stream_ended(self, why: str) -> None:
        """`services.gateway.feed.FeedMetrics`."""
        self.streams_ended.labels(why).inc()


def _hidden(gate: Gate) -> int:
    """The lower the sooner it has a series. A made-up app is open until something is to be sent for it."""
    return {"": 1, UNKNOWN_APP: 2}.get(gate.reason, 0)
