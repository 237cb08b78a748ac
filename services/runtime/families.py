"""Every metric that a process has, with what it means: `docs/metrics.md` is made from this file.

Labels are bounded: event types, outcomes, verdicts, documented codes, topics, names of statements, routes,
app ids from the apps file and, for closed gates, the first others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from services.runtime.series import SERIES

Kind = TypeVar("Kind", Counter, Gauge, Histogram)
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)
STATEMENT_SECONDS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5)
"""Few, since there are a hundred statements."""


class Families:
    """The families of one process in one registry; `sections`: heading → the families told below it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.sections: dict[str, list[Counter | Gauge | Histogram]] = {}
        for heading, define in (
            ("Events taken in (lifecycle)", self._ingest),
            ("Cards and revisions (lifecycle, clock, dispatcher)", self._revisions),
            ("Timers (clock)", self._timers),
            ("Changes out (lifecycle, clock, dispatcher, gateway)", self._relay),
            ("Calls to WeChat (dispatcher)", self._calls),
            ("Apps (dispatcher, gateway)", self._apps),
            ("What waits, in the whole database (every process)", self._waiting),
            ("The process, and its database (every process)", self._process),
            ("The API (gateway)", self._requests),
        ):
            self._section = self.sections[heading] = []
            define()

    def _counter(self, name: str, means: str, labels: Sequence[str] = ()) -> Counter:
        return self._added(Counter(f"livecard_{name}", means, labels, registry=self.registry))

    def _gauge(self, name: str, means: str, labels: Sequence[str] = ()) -> Gauge:
        return self._added(Gauge(f"livecard_{name}", means, labels, registry=self.registry))

    def _histogram(
        self, name: str, means: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        return self._added(
            Histogram(f"livecard_{name}", means, labels, buckets=buckets, registry=self.registry)
        )

    def _added(self, family: Kind) -> Kind:
        """In its section, with every series that is known beforehand."""
        self._section.append(family)
        for values in SERIES.get(family._name, ()):  # noqa: SLF001 (the client tells it nowhere else)
            family.labels(*values)
        return family

    def _ingest(self) -> None:
        self.events = self._counter(
            "events", "Distinct events taken in, by type and by what became of them.", ["type", "outcome"]
        )
        self.repeats = self._counter(
            "event_repeats",
            "Events that came again and changed nothing; a jump after a crash or a rebalance is normal.",
        )
        self.dead = self._counter(
            "dead_letters",
            "Records given up, by lifecycle or (`parked_too_long`) by the clock, by reason.",
            ["reason"],
        )
        self.batch_size = self._histogram(
            "batch_records",
            "Records in one transaction; small batches are normal when there is little to do.",
            buckets=SIZES,
        )
        self.batch_time = self._histogram(
            "batch_seconds", "How long a batch took, its dead letters and offsets included."
        )
        self.waits = self._counter("waits", "Attempts at a batch that failed, by what it waits for.", ["for"])
        self.consumer_lag = self._gauge(
            "consumer_lag_records",
            "Records of activity.events not taken in yet, in the partitions of this process.",
            ["partition"],
        )
        self.stable_offset = self._gauge(
            "consumer_stable_offset",
            "Offset up to which activity.events can be read: the first of an open transaction, else the end.",
            ["partition"],
        )
        self.held_back = self._gauge(
            "consumer_held_records",
            "Records from there on, which an open transaction of a producer holds back.",
            ["partition"],
        )
        self.records_lost = self._counter(
            "lost_records", "Offsets of activity.events that retention deleted before they were read."
        )
        self.nudges_dropped = self._counter(
            "nudges_dropped",
            "Nudges not handed over; each costs up to one poll (`LIVECARD_SWEEP`) of latency.",
        )

    def _revisions(self) -> None:
        self.raised = self._counter(
            "revisions_raised", "Revisions raised: changes of what a card should show, each opening included."
        )
        self.fates = self._counter(
            "revisions",
            "Revisions settled, by what became of them; `superseded` ones were jumped over by a later one. "
            "Delivered and superseded ones together, by delivered ones, are the coalescing factor.",
            ["fate"],
        )
        self.repairs = self._counter(
            "repairs", "States that WeChat confirmed once more after an unknown outcome."
        )

    def _timers(self) -> None:
        self.timer_lateness = self._histogram(
            "timer_lateness_seconds", "How long after its due time a timer fired."
        )
        self.rows_pruned = self._counter("pruned_rows", "Rows deleted by age, by table.", ["table"])

    def _relay(self) -> None:
        self.relayed = self._counter(
            "relayed", "Rows of the outbox that the broker acknowledged, by topic.", ["topic"]
        )
        self.relay_failures = self._counter(
            "relay_failures", "Rounds of the relay that failed and are repeated."
        )

    def _calls(self) -> None:
        self.calls = self._counter(
            "calls",
            "Calls by verdict and code; `errcode` is `none` without an answer, `other` where undocumented.",
            ["verdict", "errcode"],
        )
        self.app_calls = self._counter(
            "app_calls",
            "The same by app. A thousand apps at most, further ones together as `other`; a series "
            "begins with its first call.",
            ["appid", "verdict", "errcode"],
        )
        self.call_time = self._histogram("call_seconds", "How long a call took.")
        self.unknown = self._counter("unknown_outcomes", "Calls that WeChat may or may not have applied.")
        self.members_repeated = self._counter("members_repeated", "Members sent again after one of those.")
        self.claims = self._counter("claims", "Cards claimed for a call.")
        self.stale = self._counter("stale_settles", "Results that came after the fence had moved on.")
        self.settle_size = self._histogram(
            "settle_results", "Results settled in one transaction.", buckets=SIZES
        )
        self.in_flight = self._gauge("calls_in_flight", "Calls in flight in this process.")
        self.width = self._gauge(
            "gate_width",
            "How many of them an app may have here: 4 after a closing, doubled by each success; none "
            "for an app that the apps file does not name.",
            ["appid"],
        )

    def _apps(self) -> None:
        self.token_fetches = self._counter(
            "token_fetches",
            "Access tokens asked for, by what WeChat answered; `no_token`: nothing of use.",
            ["outcome"],
        )
        self.tokens_replaced = self._counter(
            "tokens_replaced",
            "Tokens that WeChat refused before their time, since somebody else refreshed them.",
            ["appid"],
        )
        self.quota_left = self._gauge(
            "quota_left",
            "Calls of setChatToolMsg that an app has left today, as quota/get last said. Every "
            "dispatcher asks about each app, every `LIVECARD_QUOTA_PROBE`.",
            ["appid"],
        )
        self.quota_limit = self._gauge(
            "quota_limit", "Calls of setChatToolMsg that an app has a day, as quota/get last said.", ["appid"]
        )

    def _waiting(self) -> None:
        self._backlog = {
            "behind": self._gauge("cards_behind", "Undelivered cards."),
            "behind_age": self._gauge(
                "cards_behind_oldest_seconds", "How long the oldest of them has been undelivered."
            ),
            "claimable_age": self._gauge(
                "cards_due_oldest_seconds",
                "How long the oldest card that a dispatcher may take has been due. Cards that back "
                "off, and those behind a closed gate, are not: what this tells, more dispatchers shorten.",
            ),
            "parked": self._gauge("parked_events", "Events ahead of their `opened`."),
            "parked_age": self._gauge("parked_oldest_seconds", "How long the oldest of them has waited."),
            "outbox": self._gauge("outbox_rows", "Changes not published yet."),
            "outbox_age": self._gauge("outbox_oldest_seconds", "How old the oldest of them is."),
            "due": self._gauge("timers_due", "Timers that should have fired."),
            "due_age": self._gauge("timers_due_oldest_seconds", "How late the oldest of them is."),
            "unbound": self._gauge(
                "unbound_openids",
                "People whom events name by an openid that is not bound in the activity's room; they "
                "are told at their binding. Many for hours: the page does not bind its users.",
            ),
            "unbound_age": self._gauge("unbound_oldest_seconds", "How long the first of them has waited."),
            "bindings": self._gauge("bindings", "People whose openid is known in a room."),
        }
        self.gate_closed = self._gauge(
            "gate_closed_until_seconds",
            "Unix time until which an app's gate is closed, and why; in the past, or 0: open. A "
            "thousand apps at most: those that WeChat refuses first, `unknown_app` last.",
            ["appid", "reason"],
        )
        self.quota_saving = self._gauge(
            "quota_saving_until_seconds",
            "Unix time until which what is left of an app's quota is kept for ends "
            "(`LIVECARD_QUOTA_RESERVE`); in the past, or no series: all its cards are called.",
            ["appid"],
        )
        self.backlog_read = self._gauge(
            "backlog_read_timestamp_seconds",
            "Unix time at which all this was read last; it stands still while the database is away.",
        )

    def _process(self) -> None:
        self.is_ready = self._gauge("ready", "1 while `/readyz` answers 200, else 0.")
        self.statement_time = self._histogram(
            "statement_seconds",
            "How long a statement took, by its name in the code, the way to the database included.",
            ["statement"],
            STATEMENT_SECONDS,
        )

    def _requests(self) -> None:
        self.requests = self._counter(
            "http_requests",
            "Requests by route and status; without a route: an unknown path, or turned away before one was "
            "looked for.",
            ["route", "code"],
        )
        self.request_time = self._histogram(
            "http_request_seconds", "Time to the first byte of the answer, by route.", ["route"]
        )
        self.requests_open = self._gauge(
            "http_requests_in_flight",
            "Requests under way in this process, streams included; 503 with `Retry-After` beyond 100 "
            "that are worked on.",
        )
        self.ids_created = self._counter(
            "activity_ids",
            "Activity ids that callers wanted of WeChat: what its answer meant, `closed` (the gate), "
            "`paused` (a limit of this call, kept by this process).",
            ["outcome"],
        )
        self.logins = self._counter(
            "sessions",
            "Logins of users: what WeChat's answer meant, `refused` (the code), `paused` (a limit).",
            ["outcome"],
        )
        self.streams_open = self._gauge("streams", "Streams of an activity's changes that are open here.")
        self.streams_ended = self._counter(
            "streams_ended",
            "Streams that ended, because the client `left`, its key was `revoked`, it was too `slow` "
            "to read, changes were lost (`gap`), or the process `drained`.",
            ["why"],
        )
