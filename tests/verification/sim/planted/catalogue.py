"""The mistakes, by the promise that they break; here those of delivery, fences and doubts.

`seeds` was measured, and doubled at least.
"""

from __future__ import annotations

from typing import Final

from tests.verification.sim.planted.around import DISPATCH, EVENTS, RELAYS, TIMERS, UPKEEP
from tests.verification.sim.planted.plant import Edit, Plant

CARDS: Final = "services.transactions.claim"
SETTLE: Final = "services.transactions.settle"
MEMORY: Final = "tests.verification.dict_store.store"
REJECT: Final = f"{SETTLE}:_Books._reject"

DELIVERY: Final = (
    Plant(
        "delivered-before-the-call",
        100,
        (
            Edit(
                f"{CARDS}:claim",
                "        if out.cards:\n            await tx.write(out)\n",
                "        for name, whom in owed.items():\n"
                "            for each in whom:\n"
                "                out.marks.append(MemberMark(name, each.group_openid, 1, False))\n"
                "        if out.cards:\n            await tx.write(out)\n",
            ),
        ),
    ),
    Plant(
        "shown-after-an-unknown-outcome",
        100,
        (
            Edit(
                f"{SETTLE}:_Books._doubt",
                "    card.suspect_at = self.now\n",
                "    card.suspect_at, card.shown = self.now, call.target_state\n",
            ),
        ),
    ),
    Plant(
        "delivered-though-calls-are-left",
        100,
        (Edit(f"{SETTLE}:_Books._confirm", "if not look.more:", "if True:"),),
    ),
    Plant(
        "everybody-owed-counts-as-told",
        100,
        (
            Edit(
                f"{SETTLE}:_Books._confirm",
                "CONFIRMED, doubtful=False) for each in call.members",
                "CONFIRMED, doubtful=False) for each, _ in look.claimed.owed",
            ),
        ),
    ),
    Plant(
        "settles-the-current-revision",
        100,
        (
            Edit(
                f"{SETTLE}:_Books._deliver",
                "revision = look.claimed.card.revision",
                "revision = card.revision",
            ),
        ),
    ),
    Plant(
        "superseded-revisions-are-not-counted",
        100,
        (Edit(f"{CARDS}:settle_revision", '        out.count("revisions.superseded", jumped - 1)\n', ""),),
    ),
    Plant(
        "the-end-is-preceded-by-a-near-that-is-over",
        100,
        (
            Edit(
                "statemachine.plan:plan",
                "        return Plan((Call(target),), left_out=desired.owed)",
                "        near = (Call(2),) if delivered.target_state == 1 else ()\n"
                "        return Plan((*near, Call(target)), left_out=desired.owed)",
            ),
        ),
    ),
    Plant(
        "the-left-out-are-not-named",
        600,
        (Edit(f"{SETTLE}:_Books._deliver", 'self._fail(card, look, "expired", look.left_out)', "pass"),),
    ),
)

FENCES: Final = (
    Plant(
        "claims-what-is-leased",
        100,
        (Edit(f"{CARDS}:waits", " or card.lease_until > now", ""),),
    ),
    Plant("claims-without-a-new-fence", 100, (Edit(f"{CARDS}:_take", "card.fence += 1", "pass"),)),
    Plant(
        "claims-without-a-lock",
        600,
        (
            Edit(
                f"{MEMORY}:MemoryTx.lock_cards",
                'elif not self._lock_free(("activity", name)):',
                "elif False:",
            ),
        ),
        engines=("dict",),
    ),
    Plant(
        "settles-without-the-fence",
        600,
        (Edit(f"{SETTLE}:_Books.decide", "held = card.fence == look.claimed.card.fence", "held = True"),),
    ),
    Plant(
        "the-lease-goes-by-the-process-clock",
        100,
        (
            Edit(
                "tests.verification.sim.store:FrontTx.now",
                "self._commit.now = now = await self._tx.now()",
                "self._commit.now = now = self._actor.clock.wall()",
            ),
        ),
    ),
    Plant(
        "the-lease-is-shorter-than-the-call",
        100,
        (
            Edit(f"{CARDS}:CardRules.of", 'lease=settings.us("lease")', "lease=8_000_000"),
            Edit("services.dispatcher.worker:Worker._call", "now <= ends <= leased", "now <= leased"),
        ),
    ),
    Plant(
        "no-check-of-the-lease-before-the-send",
        2_000,
        (Edit("services.dispatcher.worker:Worker._call", "now <= ends <= leased", "True"),),
        profile="paused",
    ),
    Plant(
        "the-lease-counts-from-the-answer",
        2_000,
        (
            Edit(
                "services.dispatcher.dispatcher:Dispatcher._claim",
                "closings), began, group)",
                "closings), self._clock.monotonic(), group)",
            ),
        ),
        profile="paused",
    ),
)

DOUBTS: Final = (
    Plant(
        "an-unknown-outcome-is-no-doubt",
        600,
        (Edit(f"{SETTLE}:_Books._doubt", "card.suspect_at = self.now", "pass"),),
    ),
    Plant(
        "an-expired-lease-is-no-doubt",
        20_000,
        (
            Edit(
                f"{CARDS}:_lapse",
                'card.suspect_at, card.lease_until, card.lease_by = now, 0, ""',
                'card.lease_until, card.lease_by = 0, ""',
            ),
        ),
    ),
    Plant(
        "a-stale-settle-is-no-doubt",
        2_000,
        (Edit(f"{SETTLE}:_Books.decide", "if look.sent and not card.final:", "if False:"),),
    ),
    Plant(
        "a-repair-clears-a-doubt-younger-than-itself",
        2_000,
        (
            Edit(
                f"{SETTLE}:_Books._confirm",
                "if card.suspect_at == look.claimed.card.suspect_at:",
                "if True:",
            ),
        ),
        profile="repair",
    ),
    Plant(
        "any-success-clears-a-doubt",
        600,
        (
            Edit(
                f"{SETTLE}:_Books._confirm",
                "    if look.claimed.repair:\n",
                "    card.suspect_at = None\n    if look.claimed.repair:\n",
            ),
        ),
    ),
    Plant(
        "repair-without-delay",
        600,
        (Edit(f"{CARDS}:waits", "card.suspect_at + rules.repair_after", "card.suspect_at"),),
    ),
    Plant(
        "47502-on-a-doubted-card-blames-its-member",
        20_000,
        (
            Edit(
                REJECT, "look.errcode == ILLEGAL_STATE and call.target_state == TARGET_OPEN and", "False and"
            ),
        ),
    ),
)

PLANTS: Final = (*DELIVERY, *FENCES, *DOUBTS, *EVENTS, *TIMERS, *RELAYS, *DISPATCH, *UPKEEP)
