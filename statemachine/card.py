"""The card's delivery as data: its columns, its phases and the table of its transitions (design.md §6).

The phase is read from the columns, so a row says one thing only. `statemachine.delivery` is the one place
that changes them, and it checks each change against `DELIVERY_TABLE`. All times are µs since the epoch, UTC.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from statemachine.gate import Gate, as_believed, saves
from statemachine.plan import END, Delivered
from statemachine.states import ENDED, IllegalTransition
from statemachine.waits import believed


class Phase(StrEnum):
    """Where a card's delivery stands."""

    in_sync = "in_sync"
    due = "due"
    calling = "calling"
    uncertain = "uncertain"
    given_up = "given_up"
    closed = "closed"


IN_SYNC, DUE, CALLING, UNCERTAIN, GIVEN_UP, CLOSED = Phase

EXPIRED: Final = "expired"
"""The `verdict` of a card that was closed because its id is dead."""
CONTINUED: Final = "continued"
"""The `verdict` of a card that was closed because another one continues it."""
FINAL: Final = (EXPIRED, CONTINUED)
"""Of a card with such a `verdict` nothing can follow, whatever an old call may come to."""


class Card(msgspec.Struct):
    """A card: what its activity desires, and what became of its delivery.

    From the activity: `appid`, `template`, `version`, `state`, `revision`, `expires_at`. The rest is the
    delivery's: `settled` is the last revision accounted for. `shown` is the `target_state` that WeChat
    confirmed, `may_show` the highest that it may show; `cannot_lower`: it refused to go from 2 to 1.
    `throttled_until`: no new plan before; `retry_at`: no call before; `attempts`: calls in a row that failed;
    `code_attempts`: answers in a row with a code that says to give up after some. `fence` rises with every
    claim; `lease_until` and `lease_by` say until when a dispatcher has the card (0: nobody), and which.
    `doubt_at`: since when a call's outcome is unknown. `verdict`: why it is given up, or one of `FINAL`.
    `list_limit`: longest list while a rejected one is bisected (0: not narrowed); `singles`: members rejected
    alone; `succeeded`: whether a call of this activity ever did. `end_by`: until when the end waits for
    members. `behind_since`: since when a revision is undelivered. `progress_calls`, `progress_members`: what
    the calls of an unfinished plan have confirmed.
    """

    activity_id: str
    appid: str = ""
    template: str = ""
    version: str = ""
    state: str = ""
    revision: int = 0
    expires_at: int = 0
    settled: int = 0
    shown: int = 1
    may_show: int = 1
    cannot_lower: bool = False
    throttled_until: int = 0
    retry_at: int = 0
    attempts: int = 0
    code_attempts: int = 0
    fence: int = 0
    lease_until: int = 0
    lease_by: str = ""
    doubt_at: int | None = None
    verdict: str = ""
    list_limit: int = 0
    singles: int = 0
    succeeded: bool = False
    end_by: int | None = None
    behind_since: int | None = None
    progress_calls: int = 0
    progress_members: tuple[str, ...] = ()

    @property
    def behind(self) -> bool:
        """Whether a revision is undelivered."""
        return self.revision > self.settled

    @property
    def ending(self) -> bool:
        """Whether the end is undelivered: it goes before everything else and is not throttled."""
        return self.behind and self.state == ENDED

    @property
    def delivered(self) -> Delivered:
        """What the plan of calls needs to know of it."""
        return Delivered(self.shown, self.may_show, self.cannot_lower)


class DeliveryRules(msgspec.Struct, frozen=True):
    """The settings that decide about calls. All durations µs.

    `lease`: how long a claim holds. `coalesce`: at most one plan per so long. `backoff` to `backoff_cap`:
    retry delays. `repair_after`: how long after a doubt a state is repeated. `end_wait`: how long the end
    waits for members owed. `margin`, `expiring`: before `expires_at`, as `statemachine.model.Rules` has them.
    `probe`: the longest wait between two tries of an app that WeChat refuses.
    """

    lease: int = 30_000_000
    coalesce: int = 1_000_000
    backoff: int = 1_000_000
    backoff_cap: int = 60_000_000
    repair_after: int = 30_000_000
    end_wait: int = 60_000_000
    margin: int = 60_000_000
    expiring: int = 0
    probe: int = 60_000_000
    members_per_call: int = 100
    unknown_code_attempts: int = 5

    @property
    def longest_wait(self) -> int:
        """Nothing that `attempt_at` may be lies further ahead. The column does not say what is waited for, so
        this is the longest of all."""
        return max(self.lease, self.coalesce, self.backoff_cap, self.repair_after)

    @property
    def longest_closing(self) -> int:
        """No gate is closed for longer, unless `statemachine.gate.LONGEST` names its reason."""
        return max(self.probe, self.lease)


def resting_phase(card: Card) -> Phase:
    """The phase of a card that nobody has and that is not given up: `R` in the design's table."""
    if card.verdict in FINAL:
        return CLOSED
    if card.behind:
        return DUE
    if card.doubt_at is not None:
        return UNCERTAIN
    return CLOSED if card.shown == END else IN_SYNC


def phase(card: Card) -> Phase:
    """The phase that the columns say."""
    if card.lease_until:
        return CALLING
    given_up = card.verdict and card.verdict not in FINAL and not card.behind
    return GIVEN_UP if given_up else resting_phase(card)


def attempt_at(card: Card, rules: DeliveryRules) -> int | None:
    """When the card wants a dispatcher, µs; None: never. The one place where its waits come together."""
    where = phase(card)
    if where is CALLING:
        return card.lease_until
    if where is DUE:
        return card.retry_at if card.ending else max(card.retry_at, card.throttled_until)
    if where is UNCERTAIN and card.doubt_at is not None:
        return max(card.retry_at, card.doubt_at + rules.repair_after)
    return None


def not_in_sync_since(card: Card) -> int | None:
    """Since when the card is due, calling, uncertain or given up, µs: its oldest cause counts. None: it is in
    sync or closed. It only moves forward, so whoever pages through such cards by it misses none."""
    where = phase(card)
    if where in (IN_SYNC, CLOSED):
        return None
    given_up_at = card.retry_at if where is GIVEN_UP else None
    causes = (card.behind_since, given_up_at, card.doubt_at)
    return min((at for at in causes if at is not None), default=None)


class Status(msgspec.Struct, frozen=True):
    """Where a delivery stands, for people: the phase, why, and until when (µs; None: for no time)."""

    phase: Phase
    why: str = ""
    until: int | None = None


def status(card: Card, gate: Gate | None, now: int, rules: DeliveryRules) -> Status:
    """The phase, why the card is in it, and when that changes by itself.

    `why` is the reason of a closed gate (`gate:minute_limit`), `quota_reserve` where the rest of the app's
    quota is kept for ends, the verdict of a card that is given up, `throttled`, `backing_off`, `in_doubt`,
    the holder of a lease, or empty.
    """
    where = phase(card)
    if where is CALLING:
        return Status(where, card.lease_by, believed(card.lease_until, now, rules.longest_wait))
    if where is CLOSED:
        return Status(where, card.verdict or "ended")
    if where is GIVEN_UP:
        return Status(where, card.verdict)
    if where is IN_SYNC:
        return Status(where)
    if card.expires_at <= now:
        return Status(where, EXPIRED, card.expires_at)
    if gate is not None and as_believed(gate, now, rules.longest_closing).closed_until > now:
        return Status(where, f"gate:{gate.reason}", gate.closed_until)
    if gate is not None and saves(gate, now) and not card.ending:
        return Status(where, "quota_reserve", gate.saving_until)
    until = attempt_at(card, rules)
    if until is None or believed(until, now, rules.longest_wait) <= now:
        return Status(where)
    if where is UNCERTAIN and card.retry_at < until:
        return Status(where, "in_doubt", until)
    return Status(where, "backing_off" if card.retry_at == until else "throttled", until)


_R: Final = "as the row then is"

DELIVERY_TABLE: Final = tuple(
    {"trigger": trigger, "source": str(source), "dest": str(dest), "when": when}
    for trigger, sources, dests, when in (
        ("raise", (IN_SYNC, DUE, UNCERTAIN, GIVEN_UP), (DUE,), "a later revision"),
        ("raise", (CALLING,), (CALLING,), "a later revision, called after this one"),
        ("raise", (CLOSED,), (CLOSED,), "the revision is dead or expired"),
        ("claim", (DUE, UNCERTAIN), (CALLING,), "attempt_at is reached and the app's gate is open"),
        ("claim", (DUE,), (IN_SYNC, UNCERTAIN, CLOSED), "nothing differs: delivered without a call"),
        ("lapse", (CALLING,), (DUE, UNCERTAIN), "the lease is over and nobody settled"),
        ("release", (CALLING,), (DUE, UNCERTAIN), "unsent, or the answer is about the app"),
        ("confirm", (CALLING,), (IN_SYNC, DUE, UNCERTAIN, CLOSED), _R),
        ("retry", (CALLING,), (DUE, UNCERTAIN), "busy, or the rest of a rejected list: at retry_at"),
        ("doubt", (CALLING,), (DUE, UNCERTAIN), "the outcome is unknown: backing off"),
        ("doubt_late", (IN_SYNC, UNCERTAIN), (UNCERTAIN,), "a call was settled without its fence"),
        ("doubt_late", (DUE,), (DUE,), "a call was settled without its fence"),
        ("doubt_late", (CALLING,), (CALLING,), "a call was settled without its fence"),
        ("doubt_late", (GIVEN_UP,), (GIVEN_UP,), "a call was settled without its fence"),
        ("doubt_late", (CLOSED,), (UNCERTAIN,), "3 is shown and the id lives"),
        ("give_up", (CALLING,), (GIVEN_UP,), "WeChat refuses this revision"),
        ("give_up", (CALLING,), (DUE,), "a later revision, or the end with members owed"),
        ("give_up", (CALLING,), (IN_SYNC, CLOSED), "a repair is refused: its doubt is dropped"),
        ("give_up", (CALLING,), (UNCERTAIN,), "a repair is refused, and another call is in doubt by now"),
        ("redeliver", (IN_SYNC, DUE, UNCERTAIN, GIVEN_UP), (DUE,), "an operator asks"),
        ("redeliver", (CALLING,), (CALLING,), "an operator asks"),
        ("close", tuple(Phase), (CLOSED,), "the id is dead, or another card continues this one"),
    )
    for source in sources
    for dest in dests
)
"""Every transition. `when` is for people: the diagram in docs/ is drawn from these rows."""

_ALLOWED: Final = frozenset((row["trigger"], row["source"], row["dest"]) for row in DELIVERY_TABLE)


def check(trigger: str, before: Phase, after: Phase) -> None:
    """Raise `IllegalTransition` unless the table has this row."""
    if (trigger, before, after) not in _ALLOWED:
        raise IllegalTransition(f"{trigger} is not possible from {before} to {after}")
