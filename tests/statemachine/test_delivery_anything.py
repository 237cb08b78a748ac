"""Whatever happens to a card, in whatever order: what always holds, and that nobody else writes it."""

from __future__ import annotations

import ast
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.wechat import ILLEGAL_STATE, Verdict
from statemachine import delivery
from statemachine.card import (
    CLOSED,
    DELIVERY_TABLE,
    DUE,
    EXPIRED,
    GIVEN_UP,
    IN_SYNC,
    Card,
    Phase,
    attempt_at,
    check,
    phase,
)
from statemachine.states import ENDED, NEARING, OPEN
from statemachine.step import ALL_SKIPPED, Claimed, Owed, Result, Step
from tests.statemachine.cards import EXPIRES, MINUTE, NOW, RULES, SECOND, card_of

ROOT = Path(__file__).parents[2]

waits = st.sampled_from([0, 1, SECOND, 31 * SECOND, 10 * MINUTE, 12 * 60 * MINUTE])
verdicts = st.sampled_from([None, *Verdict, *[Verdict.ok] * 6, *[Verdict.unknown] * 3, Verdict.rejected])
steps = st.one_of(
    st.tuples(st.just("raise"), st.sampled_from([OPEN, NEARING, NEARING, ENDED]), st.integers(0, 3)),
    st.tuples(st.just("claim"), st.booleans(), st.just(0)),
    st.tuples(st.just("settle"), verdicts, st.sampled_from([0, ILLEGAL_STATE])),
    st.tuples(st.just("settle"), verdicts, st.sampled_from([0, ILLEGAL_STATE])),
    st.tuples(st.just("late"), verdicts, st.just(0)),
    st.tuples(st.just("redeliver"), st.none(), st.just(0)),
    st.tuples(st.just("wait"), st.none(), waits),
    st.tuples(st.just("clock"), st.none(), st.just(0)),
)


class Life:
    """A card, its members and the calls under way; every step is checked as a store would see it."""

    def __init__(self) -> None:
        self.card, self.now = card_of(), NOW
        self.done: list[str] = []
        self.owed: list[str] = []
        self.skipped: list[str] = []
        self.confirmed: list[str] = []
        self.calls: list[Claimed] = []
        self.counted: dict[str, int] = {}

    def play(self, what: str, detail: object, number: int) -> None:
        match what:
            case "raise" if self.card.state != ENDED:
                self.news(str(detail), number)
            case "claim":
                self.claim(patient=bool(detail))
            case "settle" if self.calls:
                self.settle(self.calls.pop(), detail, number)
            case "late" if self.calls:
                self.settle(self.calls.pop(0), detail, number)
            case "redeliver" if phase(self.card) is not CLOSED:
                step = delivery.redeliver(self.card, self.skipped, self.now)
                if step is not None:
                    self.follow(step)
            case "wait":
                self.now += number
            case "clock":
                self.clock()

    def news(self, state: str, finished: int) -> None:
        names = [f"m{len(self.done) + each}" for each in range(finished)]
        self.done += names
        self.owed += names
        self.counted["revisions.raised"] = self.counted.get("revisions.raised", 0) + 1
        self.follow(delivery.raise_revision(self.card, state, self.card.revision + 1, self.now))

    def claim(self, *, patient: bool) -> None:
        at = attempt_at(self.card, RULES)
        if patient and at is not None:
            self.now = max(self.now, at)
        owed = [Owed(each) for each in self.owed]
        step = delivery.claim(self.card, owed, self.now, holder="d", rules=RULES)
        self.follow(step)
        if step.claimed is not None:
            assert step.claimed.card.may_show >= step.claimed.call.target_state
            assert self.now < self.card.expires_at
            self.calls.append(step.claimed)

    def settle(self, claimed: Claimed, verdict: object, errcode: int) -> None:
        assert verdict is None or isinstance(verdict, Verdict)
        sent = verdict not in (None, Verdict.no_token)
        result = Result(claimed, verdict, sent=sent, errcode=errcode, jitter=0.7)
        step = delivery.settle(self.card, result, self.now, RULES)
        if step is not None:
            self.follow(step)

    def clock(self) -> None:
        over = max(self.card.expires_at, self.card.lease_until) <= self.now
        if over and self.card.state == ENDED and phase(self.card) is not CLOSED:
            self.follow(delivery.close(self.card, self.owed, self.now))

    def follow(self, step: Step) -> None:
        before, after = self.card, step.card
        again = self.skipped if step.owed_again == ALL_SKIPPED else list(step.owed_again)
        self.confirmed += [each for each in step.confirmed if each not in self.confirmed]
        self.skipped = [each for each in (*self.skipped, *step.skipped) if each not in step.confirmed]
        self.skipped = [each for each in self.skipped if each not in again]
        self.owed = [each for each in self.owed if each not in {*step.confirmed, *step.skipped}]
        self.owed += [each for each in again if each not in self.owed]
        for name, by in step.counters.items():
            self.counted[name] = self.counted.get(name, 0) + by
        self.card = after
        holds(before, after, self.now)


def holds(before: Card, after: Card, now: int) -> None:
    """What no step may break."""
    assert after.fence >= before.fence
    assert before.settled <= after.settled <= after.revision
    assert 1 <= after.shown <= after.may_show <= 3
    assert after.may_show < 3 or after.state == ENDED
    where = phase(after)
    assert (attempt_at(after, RULES) is None) is (where in (IN_SYNC, GIVEN_UP, CLOSED))
    assert (after.behind_since is not None) is after.behind
    assert bool(after.lease_by) is bool(after.lease_until)
    assert after.retry_at <= now + RULES.backoff_cap
    if before.verdict == EXPIRED:
        assert where is CLOSED
    if after.end_by is not None:
        assert after.end_by <= max(now, after.expires_at - RULES.margin // 2)


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=60))
def test_any_sequence_of_triggers_keeps_what_always_holds(story):
    """Fences and revisions never fall; a state shown may be shown; attempt_at is null where nobody is wanted;
    every member done is owed, skipped or confirmed; every revision is accounted for once."""
    life = Life()
    for step in story:
        life.play(*step)
    assert sorted({*life.owed, *life.skipped, *life.confirmed}) == sorted(life.done)
    assert not set(life.owed) & set(life.skipped)
    ends = ("delivered", "superseded", "dead", "expired")
    accounted = sum(life.counted.get(f"revisions.{each}", 0) for each in ends)
    assert life.counted.get("revisions.raised", 0) == accounted + life.card.revision - life.card.settled


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=40))
def test_from_anywhere_a_wechat_that_answers_makes_the_card_true(story):
    """Once it says 0 to everything, the card is in sync, closed or given up after a few calls."""
    life = Life()
    for step in story:
        life.play(*step)
    life.calls.clear()
    for _ in range(400):
        if attempt_at(life.card, RULES) is None or life.now >= EXPIRES:
            break
        life.claim(patient=True)
        if life.calls:
            life.settle(life.calls.pop(), Verdict.ok, 0)
    if life.now < EXPIRES:
        assert phase(life.card) in (IN_SYNC, GIVEN_UP, CLOSED)
        assert life.card.settled == life.card.revision


def test_every_row_of_the_table_is_taken_by_some_life_and_no_other(monkeypatch):
    """A row that nothing can take would be a wrong word. Three are not met here: the clock closes only cards
    of an activity that has ended, which are not in sync, and leaves closed ones alone; and only the release
    before could raise a revision after the end was confirmed."""
    taken: set[tuple[str, str, str]] = set()

    def spy(trigger: str, before: str, after: str) -> None:
        check(trigger, Phase(before), Phase(after))
        taken.add((trigger, before, after))

    monkeypatch.setattr(delivery, "check", spy)
    rows = {(row["trigger"], row["source"], row["dest"]) for row in DELIVERY_TABLE}
    never = {("close", IN_SYNC, CLOSED), ("close", CLOSED, CLOSED), ("claim", DUE, CLOSED)}
    random = Random(9)
    for _ in range(20_000):
        life = Life()
        for _ in range(30):
            life.play(*_any_step(random))
        if taken == rows - never:
            break
    assert rows - taken == never


KINDS = ("raise", "claim", "claim", "settle", "settle", "late", "redeliver", "wait", "clock")


def _any_step(random: Random) -> tuple[str, object, int]:
    what = random.choice(
        ["raise", "claim", "claim", "settle", "settle", "late", "redeliver", "wait", "clock"]
    )
    if what in ("settle", "late"):
        return what, random.choice([None, Verdict.ok, Verdict.ok, Verdict.ok, *Verdict]), 0
    if what == "raise":
        return what, random.choice([OPEN, NEARING, ENDED]), random.randrange(3)
    return what, random.random() < 0.8, random.choice([0, SECOND, MINUTE, 12 * 60 * MINUTE])


OF_THE_ACTIVITY = {"activity_id", "appid", "template", "version", "state", "revision", "expires_at"}
DELIVERYS = set(Card.__struct_fields__) - OF_THE_ACTIVITY


def test_nothing_but_the_delivery_machine_assigns_what_a_card_knows_of_its_delivery():
    written = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.attr}"
        for folder in ("statemachine", "services", "contracts")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in ("delivery.py", "step.py") or path.parent.name != "statemachine"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in DELIVERYS
    }
    allowed = {"services/store/sql_tx.py": {"cannot_lower", "succeeded", "progress_members"}}
    stray = {each for each in written if each.rsplit(" ", 1)[1] not in allowed.get(each.split(":")[0], set())}
    assert stray == set()  # reading a row makes booleans and a list of what the engine kept
