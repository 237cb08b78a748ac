"""Every pair of the store's verbs on the same activities, interleaved statement by statement."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import text

from contracts.wechat import Verdict
from services.store import postgres as postgres_module
from services.store.open import open_store
from services.store.ports import Store, StoreUnavailable
from services.store.rows import SKIPPED, MemberMark, Writes
from services.store.sql import SqlStore
from services.transactions.apply import Applied, apply
from services.transactions.bury_parked import bury_parked
from services.transactions.claim import Claims, claim
from services.transactions.fire_due import fire_due
from services.transactions.gates import close_gates_of_unknown
from services.transactions.ledger import read_ledger
from services.transactions.redeliver import redeliver
from services.transactions.schedule import schedule
from services.transactions.settle import settle
from statemachine.card import EXPIRED
from statemachine.step import Result
from tests.store.benches import DAY, HOUR, STANDING, START, PostgresBench
from tests.store.support import Scene
from tests.transactions.interleaver import Conductor, GatedRun, Session, Verb

pytestmark = pytest.mark.postgres
SEEDS = 6
LEASE = 10_000_000

TRIGGER = """
CREATE OR REPLACE FUNCTION never_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.fence < OLD.fence OR NEW.revision < OLD.revision OR (NEW.settled > NEW.revision AND OLD.state <> '')
     OR (OLD.verdict = 'expired' AND NEW.verdict <> 'expired') THEN
    RAISE EXCEPTION 'invariant broken: fence % to %, revision % to %, settled %',
      OLD.fence, NEW.fence, OLD.revision, NEW.revision, NEW.settled;
  END IF;
  IF NEW.fence = OLD.fence AND OLD.lease_until = 0 AND NEW.lease_until > 0 THEN
    RAISE EXCEPTION 'invariant broken: a lease without a new fence';
  END IF;
  RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER never_back BEFORE UPDATE ON activities FOR EACH ROW EXECUTE FUNCTION never_back()
"""


class Play(Scene):
    """The stage of every schedule: `a` is undelivered and claimed, has a member skipped, and is due; `b` is
    undelivered; `c` was raised by the release before, so nobody knows that it is due (where a
    token is refused, it is just undelivered); `early` has something
    parked that is stale; `old` may be deleted."""

    async def set_stage(self, scenery: str) -> None:
        """`scenery`: how long ago `a` was claimed, whether its id is dead, or that one call is to find out
        whether WeChat still refuses the app's token."""
        await self.open("old", life=100)
        await self.complete("old", "m")
        await self.complete("early", "m")
        await self.feed(self.event("participant.completed", "early", "x2", members=[]))  # dead, till replayed
        await self.bench.advance(100)
        await self.tick()
        await self.bench.advance(2 * 86_400)
        life = 200 if scenery == "dead id" else 86_400
        await self.feed(self.opened("a", life=life, deadline=130, notice=20))
        await self.open("b", "c")
        await self.feed(self.completed("a", "m1", "m2"), self.completed("b", "m1"))
        async with self.store.transaction() as tx:
            await tx.write(Writes(marks=[MemberMark("a", "m2", SKIPPED, False)]))
        await self.bench.advance(100)
        self.held = await self.claim("a", holder="before")
        await self.bench.advance({"lapsed": 35, "dead id": 150}.get(scenery, 0))
        if scenery == "dead id":
            await self.tick()
        if scenery == "refused":
            await self.shut("wx1", "token", self.bench.now)
        await self.complete("c", "m1")
        if scenery != "refused":
            await self.bench.forget_attempt("c")
        self.batch = [
            self.completed("a", "m3", id_="x1"),
            self.completed("early", "m4", id_="x2"),
            self.completed("b", "m5", id_="x3"),
        ]
        self.opening = [self.opened("early", "x4"), self.event("activity.closed", "a", "x5")]

    async def apply(self, store: SqlStore) -> Applied:
        return await apply(store, self.batch, self.rules)

    async def apply_opening(self, store: SqlStore) -> Applied:
        return await apply(store, self.opening, self.rules)

    async def fire_due(self, store: SqlStore) -> Any:
        return await fire_due(store, 10, self.rules)

    async def claim_both(self, store: SqlStore) -> Claims:
        return await claim(store, {"wx1": 5}, holder="h", limit=5, rules=self.cards)

    async def settle_ok(self, store: SqlStore) -> Any:
        return await settle(store, [self.result(each) for each in self.held], self.cards)

    async def settle_expired(self, store: SqlStore) -> Any:
        return await settle(store, [self.result(each, Verdict.expired) for each in self.held], self.cards)

    async def settle_unknown(self, store: SqlStore) -> Any:
        return await settle(store, [self.result(each, Verdict.unknown) for each in self.held], self.cards)

    async def settle_limited(self, store: SqlStore) -> Any:
        return await settle(
            store, [self.result(each, Verdict.minute_limit) for each in self.held], self.cards
        )

    async def settle_unsent(self, store: SqlStore) -> Any:
        return await settle(store, [self.result(each, None) for each in self.held], self.cards)

    async def settle_rejected(self, store: SqlStore) -> Any:
        return await settle(store, [self.result(each, Verdict.rejected) for each in self.held], self.cards)

    async def schedule(self, store: Store) -> int:
        return await schedule(store, 10, self.rules)

    async def close_gates(self, store: SqlStore) -> list[str]:
        return await close_gates_of_unknown(store, ["wx1"], [])

    async def redeliver(self, store: SqlStore) -> Any:
        return await redeliver(store, "a")

    async def bury_parked(self, store: SqlStore) -> int:
        return await bury_parked(store, HOUR, 10)

    async def lease_shards(self, store: SqlStore) -> list[int]:
        return await store.lease_shards(f"r{id(store)}", LEASE)

    async def release_shards(self, store: SqlStore) -> None:
        await store.release_shards("r1")

    async def open_gates(self, store: SqlStore) -> list[str]:
        return await store.open_gates(["wx1"], None)

    async def prune(self, store: SqlStore) -> dict[str, int]:
        return await store.prune(inbox=DAY, attempts=DAY, activities=DAY, limit=10)

    async def make_all_true(self) -> None:
        """Everybody goes on, and WeChat takes everything: what was to be shown is shown."""
        await self.store.open_gates(["wx1"], None)
        await self.schedule(self.store)
        for _ in range(8):
            await self.bench.advance(90)
            await self.tick()
            for claimed in await self.claim():
                await self.settle(self.result(claimed))
        for name in ("a", "b", "c"):
            card = await self.card(name)
            assert not card.behind
            assert card.doubt_at is None
            if card.verdict != EXPIRED:
                assert card.shown == {"open": 1, "nearing": 2, "ended": 3}[card.state]
                async with self.store.transaction() as tx:
                    assert await tx.owed([name]) == {}


VERBS = (
    "apply", "apply_opening", "fire_due", "claim_both", "settle_ok", "settle_expired", "settle_unknown",
    "settle_limited", "settle_unsent", "settle_rejected", "schedule", "close_gates", "redeliver",
    "bury_parked", "lease_shards",
    "release_shards", "open_gates",
    "prune",
)  # fmt: skip
PAIRS = list(itertools.combinations_with_replacement(VERBS, 2))


class Theatre:
    """The bench, two sessions of one connection each, a conductor."""

    def __init__(
        self, bench: PostgresBench, stores: list[SqlStore], sessions: tuple[Session, Session]
    ) -> None:
        self.bench, self.stores = bench, stores
        self.conductor = Conductor(sessions, bench.admin)

    async def play(self, seed: int, scenery: str, *verbs: str) -> tuple[Play, list[Any]]:
        """One schedule on a fresh stage; its results."""
        await self.bench.clear()
        scene = Play(self.bench)
        await scene.set_stage(scenery)
        chosen: list[Callable[[SqlStore], Coroutine[Any, Any, Any]]] = [
            getattr(scene, name) for name in verbs
        ]
        return scene, await self.conductor.play(seed, *chosen)


@pytest.fixture
async def theatre(postgres: PostgresBench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Theatre]:
    """Two sessions, and a trigger that watches each update."""
    monkeypatch.setattr(postgres_module, "DriverRun", GatedRun)
    await postgres.admin.execute(TRIGGER)
    stores, sessions = [], []
    for name in "AB":
        store = await open_store(postgres.url, slot=ord(name) % 64, now=STANDING, pool=1)
        async with store.engine.connect() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            for limit in ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout"):
                await connection.execute(text(f"SET {limit} = 0"))  # the conductor may take its time
            await connection.commit()
        stores.append(store)
        sessions.append(Session(name, store, pid))
    yield Theatre(postgres, stores, (sessions[0], sessions[1]))
    for store in stores:
        await store.close()
    await postgres.admin.execute("DROP TRIGGER never_back ON activities")


def _sceneries(seed: int) -> str:
    return ("held", "lapsed", "dead id", "refused")[seed % 4]


@pytest.mark.parametrize("pair", PAIRS, ids=["+".join(pair) for pair in PAIRS])
async def test_no_order_of_statements_breaks_the_books(theatre: Theatre, pair: tuple[str, str]) -> None:
    """The ledger balances, fences and revisions only rise, nobody claims twice, nothing owed is forgotten."""
    for seed in range(SEEDS):
        scene, results = await theatre.play(seed, _sceneries(seed), *pair)
        story = "\n".join([f"{pair} seed {seed} ({_sceneries(seed)})", *theatre.conductor.story])
        for result in results:
            assert not isinstance(result, StoreUnavailable), f"{result}\n{story}"
        taken = [
            each.card.activity_id for result in results if isinstance(result, Claims) for each in result.cards
        ]
        assert len(taken) == len(set(taken)), story
        if pair == ("claim_both", "claim_both") and _sceneries(seed) == "refused":
            assert len(taken) == 1, story  # one probe, of all processes
        if pair == ("schedule", "schedule"):
            assert sum(results) == (_sceneries(seed) != "refused"), story
        if pair == ("lease_shards", "lease_shards"):
            assert not set(results[0]) & set(results[1]), story
        assert (await read_ledger(scene.store)).problems == (), story
        again = await scene.feed(*scene.batch, *scene.opening)
        known = {"apply": 3, "apply_opening": 2}
        assert again.repeats == sum(known.get(name, 0) for name in set(pair)), story
        await scene.make_all_true()
        await scene.balance()


async def test_one_of_two_claims_probes_a_gate_in_every_order(theatre: Theatre) -> None:
    """Both see that its wait is over, and lock different cards."""
    for seed in range(12):
        _, results = await theatre.play(seed, "refused", "claim_both", "claim_both")
        story = "\n".join([f"seed {seed}", *theatre.conductor.story])
        assert sorted(len(each.cards) for each in results) == [0, 1], story


def _settling(scene: Scene, result: Result) -> Verb:
    return lambda store: settle(store, [result], scene.cards)


async def test_two_limits_at_once_leave_the_later_end_in_every_order(theatre: Theatre) -> None:
    """45011 and 45009 answer calls of two cards of one app: neither shortens the other's closing."""
    for seed in range(12):
        await theatre.bench.clear()
        scene = Play(theatre.bench)
        await scene.open("a", "b")
        await scene.feed(scene.completed("a", "m"), scene.completed("b", "m"))
        one, two = await scene.claim()
        minute, day = scene.result(one, Verdict.minute_limit), scene.result(two, Verdict.daily_limit)
        await theatre.conductor.play(seed, _settling(scene, minute), _settling(scene, day))
        story = "\n".join([f"seed {seed}", *theatre.conductor.story])
        gate = await scene.gate()
        assert (gate.reason, gate.closed_until) == ("daily_limit", START + 8 * HOUR), story
        await scene.balance()


async def test_the_same_seed_plays_the_same_schedule(theatre: Theatre) -> None:
    """Also where one waits for the other; another seed plays another."""
    stories = []
    for seed in (3, 3, 4, 5):
        await theatre.play(seed, "held", "apply", "settle_ok")
        stories.append(theatre.conductor.story)
    assert stories[0] == stories[1]
    assert len({tuple(story) for story in stories}) > 1
    assert any("waits" in line for story in stories for line in story)


async def _claim_without_a_lock(store: SqlStore) -> bool:
    """What a careless store would do: look, then take."""
    async with store.engine.begin() as connection:
        free = (
            await connection.execute(text("SELECT lease_until = 0 FROM activities WHERE activity_id = 'b'"))
        ).scalar_one()
        if free:
            await connection.execute(
                text("UPDATE activities SET lease_until = 9, fence = fence + 1 WHERE activity_id = 'b'")
            )
    return bool(free)


async def test_a_claim_that_only_looks_is_caught(theatre: Theatre) -> None:
    """The judge itself: check-then-act at READ COMMITTED is taken twice in some schedule."""
    both = 0
    for seed in range(10):
        await theatre.bench.clear()
        await Play(theatre.bench).set_stage("held")
        both += sum(await theatre.conductor.play(seed, _claim_without_a_lock, _claim_without_a_lock)) == 2
    assert both
