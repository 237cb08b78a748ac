"""What services tell of themselves, by Prometheus' conventions: base units, `_total` for counters.

Each service names what it reports in a small protocol of its own; `Metrics` implements them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import Counter, Histogram

from contracts.wechat import VERDICTS, Verdict
from services.runtime.families import Families
from services.runtime.series import FATES
from services.store.ports import Backlog
from statemachine.gate import UNKNOWN_APP, Gate

KNOWN_CODES = frozenset(VERDICTS)
"""Only documented codes are label values: WeChat may answer anything."""
MOST_GATES = 1000
"""Gates with a series each: any producer can name any number of apps."""
MOST_APPS: Final = 1000
"""Apps whose calls are counted apart."""
OTHER: Final = "other"


class Metrics(Families):
    """One per process."""

    def __init__(self) -> None:
        super().__init__()
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._timed: dict[str, Histogram] = {}
        self._called: dict[tuple[str, str, str], Counter] = {}
        self._apps_called: set[str] = set()

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
        self.backlog_read.set_to_current_time()

    def ready(self, ready: bool) -> None:  # noqa: FBT001 (a fact, and its only argument)
        """Whether the process can do its work."""
        self.is_ready.set(ready)

    def gates(self, gates: list[Gate]) -> None:
        """The gates as last read; beyond the most, those that WeChat closed stay."""
        self.gate_closed.clear()
        self.quota_saving.clear()
        for gate in sorted(gates, key=_hidden)[:MOST_GATES]:
            self.gate_closed.labels(gate.appid, gate.reason).set(gate.closed_until / 1_000_000)
            if gate.saving_until:
                self.quota_saving.labels(gate.appid).set(gate.saving_until / 1_000_000)

    def timer_fired(self, lateness: float) -> None:
        """One activity moved by the clock, so many seconds late."""
        self.timer_lateness.observe(lateness)

    def pruned(self, table: str, rows: int) -> None:
        """Rows deleted by age."""
        self.rows_pruned.labels(table).inc(rows)

    def called(self, appid: str, verdict: str, errcode: int | None, seconds: float) -> None:
        """One call to WeChat came back."""
        code = "none" if errcode is None else str(errcode) if errcode in KNOWN_CODES else OTHER
        self.calls.labels(verdict, code).inc()
        self._called_by(appid, verdict, code).inc()
        self.call_time.observe(seconds)
        if verdict == Verdict.unknown:
            self.unknown.inc()

    def _called_by(self, appid: str, verdict: str, code: str) -> Counter:
        if appid not in self._apps_called:
            if len(self._apps_called) < MOST_APPS:
                self._apps_called.add(appid)
            else:
                appid = OTHER
        found = self._called.get((appid, verdict, code))
        if found is None:
            found = self._called[appid, verdict, code] = self.app_calls.labels(appid, verdict, code)
        return found

    def token_fetched(self, outcome: str) -> None:
        """`services.wechat.ports.WeChatMetrics`."""
        self.token_fetches.labels(outcome).inc()

    def token_replaced(self, appid: str) -> None:
        """`services.wechat.ports.WeChatMetrics`."""
        self.tokens_replaced.labels(appid).inc()

    def quota(self, appid: str, left: int, limit: int) -> None:
        """`services.wechat.ports.WeChatMetrics`."""
        self.quota_left.labels(appid).set(left)
        self.quota_limit.labels(appid).set(limit)

    def ran(self, statement: str, seconds: float) -> None:
        """`services.store.measured.StoreMetrics`."""
        timed = self._timed.get(statement)
        if timed is None:  # finding a series by its labels takes longer than all the rest
            timed = self._timed[statement] = self.statement_time.labels(statement)
        timed.observe(seconds)

    def counted(self, counters: Mapping[str, int]) -> None:
        """`services.store.measured.StoreMetrics`: of the ledger's counters those that have a metric."""
        for fate, name in FATES.items():
            if count := counters.get(name):
                self.fates.labels(fate).inc(count)
        self.raised.inc(counters.get("revisions.raised", 0))
        self.repairs.inc(counters.get("repairs", 0))

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

    def app_gone(self, appid: str) -> None:
        """`services.dispatcher.metrics.DispatcherMetrics`."""
        for gauge in (self.quota_left, self.quota_limit):
            gauge.remove(appid)

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
