"""What the delivery machine works on and answers: a claimed card, what its call came to, and a step."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Final

import msgspec

from contracts.changes import CardDelivered, CardFailed, FailedVerdict
from contracts.wechat import Verdict
from statemachine.card import Card, DeliveryRules
from statemachine.gate import Passage
from statemachine.plan import Call
from statemachine.waits import believed

UNGATED: Final = Passage()
ALL_SKIPPED: Final = ("*",)
"""`Step.owed_again` of a card whose members were not to blame: every skipped one."""


class Owed(msgspec.Struct, frozen=True):
    """A member owed to WeChat; `doubtful`: a call with it had an unknown outcome before."""

    group_openid: str
    doubtful: bool = False


class Claimed(msgspec.Struct, frozen=True):
    """A card in hand until its lease ends, and the one call to make.

    `card` is a snapshot; `at` is the database's now. `more`: the plan has further calls. `repair`: there is
    no news, the call only repeats the state after a doubt. `passage`: what the claim saw of the app's gate.
    """

    card: Card
    call: Call
    owed: tuple[Owed, ...] = ()
    at: int = 0
    more: bool = False
    repair: bool = False
    passage: Passage = UNGATED

    @property
    def repeats(self) -> int:
        """How many members of the call were in one before whose outcome is unknown."""
        doubtful = {each.group_openid for each in self.owed if each.doubtful}
        return sum(each in doubtful for each in self.call.members) if doubtful else 0


class Result(msgspec.Struct, frozen=True):
    """What came of a claimed card's call.

    `verdict` None: nothing was sent and nothing learnt, the card is given back. `sent`: whether the message
    may have left this process. `duration` µs; `jitter` in [0, 1) spreads the next try.
    """

    claimed: Claimed
    verdict: Verdict | None = None
    sent: bool = False
    errcode: int | None = None
    errmsg: str = ""
    rid: str = ""
    duration: int = 0
    jitter: float = 0.0


class Step(msgspec.Struct):
    """A changed card, and what follows: members by what became of them, changes to publish under their keys,
    counters of the ledger. `claimed` is set by a claim that has a call to make."""

    card: Card
    confirmed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    owed_again: tuple[str, ...] = ()
    in_doubt: tuple[str, ...] = ()
    published: list[tuple[str, CardDelivered | CardFailed]] = msgspec.field(default_factory=list)
    counters: dict[str, int] = msgspec.field(default_factory=dict)
    claimed: Claimed | None = None

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter of the ledger."""
        if by:
            self.counters[name] = self.counters.get(name, 0) + by

    def settle(self, revision: int, how: str, now: int) -> None:
        """Account for every revision up to this one: the last as `how`, those jumped over as superseded."""
        card = self.card
        jumped = revision - card.settled
        if jumped > 0:
            self.count(f"revisions.{how}")
            self.count("revisions.superseded", jumped - 1)
            card.settled = revision
        card.behind_since = (card.behind_since or now) if card.behind else None

    def fail(
        self, verdict: FailedVerdict, revision: int, result: Result | None = None, members: Sequence[str] = ()
    ) -> None:
        """Publish that this revision, or just these members of it, failed."""
        fields: dict[str, object] = {"revision": revision, "verdict": verdict}
        for name in ("errcode", "errmsg", "rid"):
            fields[name] = (getattr(result, name) or None) if result is not None else None
        if members:
            fields["members"] = tuple(members)
        key = f"failed:{revision}:{verdict}:{self.card.fence}" + (":members" if members else "")
        self.published.append((key, msgspec.convert(fields, CardFailed)))

    def progress(self, members: Sequence[str]) -> None:
        """One more call of an unfinished plan has confirmed these; each is told once."""
        card = self.card
        card.progress_calls += 1
        known = set(card.progress_members)
        card.progress_members += tuple(each for each in members if each not in known)

    def tell_progress(self, revision: int, fence: int) -> None:
        """Publish what the calls of this plan have confirmed; `fence`: of the claim that tells."""
        card = self.card
        delivered = CardDelivered(
            revision=revision,
            target_state=card.shown,
            members=card.progress_members,
            calls=card.progress_calls,
        )
        self.published.append((f"delivered:{revision}:{fence}", delivered))
        card.progress_calls, card.progress_members = 0, ()


def with_believed_waits(card: Card, now: int, rules: DeliveryRules) -> Card:
    """The card with no wait longer than its own longest setting: one that lies further ahead is over, a doubt
    begins anew, and so does the end's wait for members."""
    card = copy(card)
    card.throttled_until = believed(card.throttled_until, now, rules.coalesce)
    card.retry_at = believed(card.retry_at, now, rules.backoff_cap)
    card.lease_until = believed(card.lease_until, now, rules.lease)
    if card.doubt_at is not None:
        card.doubt_at = min(card.doubt_at, now)
    if card.end_by is not None:
        card.end_by = min(card.end_by, now + rules.end_wait)
    return card
