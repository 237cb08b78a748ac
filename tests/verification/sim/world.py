"""One schedule: processes, store, broker and WeChat under a weather, then a calm in which all comes true."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy.ext.asyncio import engine

from contracts.events import Event
from contracts.records import Record
from contracts.times import SECOND
from contracts.topics import Topics
from services.dispatcher import dispatcher, settler
from services.kafka.ports import Message
from services.simulator.behaviour import Behaviour
from services.simulator.cards import Declaration
from services.simulator.model import WeChatModel
from services.store.ports import Store
from services.store.rows import InboxKey
from services.transactions.redeliver import Redelivered, redeliver
from services.transactions.settle import Settled
from services.transactions.settle import settle as settle_results
from services.wechat import apps
from statemachine.step import Result
from tests.verification.lives.wire import cloud_event
from tests.verification.sim.actors import SECRETS, Actor, AppsFile
from tests.verification.sim.bus import Broker
from tests.verification.sim.deadlines import Timeout
from tests.verification.sim.endings import Endings
from tests.verification.sim.gateway import Pages
from tests.verification.sim.hosts import GRAVEYARD, SLOTS, Hosts
from tests.verification.sim.judges import Broken, Judges, describe, raise_in_world
from tests.verification.sim.loop import SimLoop
from tests.verification.sim.script import BEFORE, MEMBERS, Said, becomings, script
from tests.verification.sim.seats import Seats
from tests.verification.sim.spells import Spells
from tests.verification.sim.store import RESULTS
from tests.verification.sim.switches import spawn
from tests.verification.sim.tape import Tape, odds_of, struck_by_throw
from tests.verification.sim.weather import LEAP, PORTS, settings, weather
from tests.verification.sim.wishes import Callers, wishes

BASE: Final = 1_790_000_000 * SECOND
"""The world's first moment: 26.7 s after a full minute."""
BOUND: Final = 300.0
"""Seconds of calm within which everything must have come true."""


class World:
    """Everything around the processes. `struck` counts the faults that really did."""

    def __init__(
        self,
        seed: int,
        profile: str,
        choices: Sequence[int] | None = None,
        seats: Seats | None = None,
        *,
        story: bool = False,
        digest: bool = False,
        written: bool = False,
    ) -> None:
        self.seed, self.weather = seed, weather(seed, profile)
        self.tape = Tape(seed, choices, written=written)
        self.loop = SimLoop(self.tape.pick)
        self.loop.set_exception_handler(self._unhandled)
        self.settings = settings(self.weather)
        self.page = 3
        topics = Topics()
        self.topics = topics
        self.broker = Broker(self, topics.events)
        self.model = WeChatModel(
            SECRETS,
            random.Random(f"wechat-{seed}"),
            Behaviour(lower_to_open=self.weather.lowers, lower_after_end=True),
        )
        self.store_away = 0
        self.refusing = ""
        self.spell = Counter[str]()
        self.apps_file = AppsFile()
        self.strangers: dict[str, set[str]] = {}
        self.calm = False
        self.broken: Broken | None = None
        self.struck: Counter[str] = Counter()
        self.lines: list[str] | None = [] if story else None
        self.telling = story or digest
        self.events: dict[InboxKey, Event] = {}
        self.malformed = 0
        self._digest = hashlib.blake2b(digest_size=8)
        self._throw = self.tape.throw
        self._ports = {port: odds_of(self.weather.port(port)) for port in PORTS}
        self.hosts = Hosts(self, seats)
        self.judges = Judges(self)
        self.endings = Endings(self)
        self.pages = Pages(self)
        self.callers = Callers(self)
        self.store: Store

    # Time, chance and what is told.

    def moment(self, seconds: float) -> int:
        """The database's clock at a moment of the loop, µs."""
        return BASE + round(seconds * SECOND)

    def wall(self) -> int:
        """The database's clock now, µs."""
        return BASE + round(self.loop._now * SECOND)

    def latency(self) -> float:
        """Seconds that something takes on the way: 1 ms, or more."""
        return 0.001 * (1 + self.tape.pick(15) ** 2)

    def tell(self, *words: object) -> None:
        """One line of the story, and of the digest that must be the same for the same seed.

        Most schedules are run for neither.
        """
        if not self.telling:
            return
        line = f"{self.loop.time():9.3f} " + " ".join(str(word) for word in words if word not in ("", None))
        self._digest.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    @property
    def digest(self) -> str:
        """Of everything that was told."""
        return self._digest.hexdigest()

    def fate(self, port: str, without: Mapping[str, str] | tuple[str, ...] = ()) -> str:
        """The fault that strikes this use of a port, or none."""
        odds = self._ports[port]
        if self.calm or not odds:
            return ""
        name = struck_by_throw(odds, self._throw())
        if name and name not in without:
            self.struck[name] += 1
        return name

    def delay(self, actor: Actor) -> Awaitable[None] | None:
        """A process reaches out: None when it goes on at once; else it takes a while, or never goes on."""
        thrown = self._throw()
        odds = self._ports["process"]
        if odds and not self.calm and (fate := struck_by_throw(odds, thrown)):
            self.struck[fate] += 1
            if fate == "kill" and not actor.process.dead:
                self.hosts.kill(actor)
                return self.loop.create_future()
            if fate == "pause":
                self.hosts.pause(actor, self.hosts.how_long())
                return asyncio.sleep(0)
        if thrown & 15 > 12:
            return self.loop.nap(0.001 * (1 + (thrown >> 4 & 15) ** 2))
        return None

    async def port(self, actor: Actor) -> None:
        """Reach out, and wait for it."""
        if waiting := self.delay(actor):
            await waiting

    # What happens.

    def event_of(self, record: Record) -> Event | None:
        """The event that a record carries."""
        return self._by_value.get(record.value or b"")

    def republished(self, event: Event, value: bytes) -> None:
        """One of ours, which has to be taken in like any other, once."""
        key = InboxKey(event.source, event.id)
        self.judges.expect(key not in self.events, f"{event.id} is told twice")
        self.events[key] = self._by_value[value] = event

    @property
    def malformed_taken(self) -> int:
        """Records without an event, all of them taken in by now."""
        return self.malformed

    def published(self) -> list[Message]:
        """The topic of changes, in order."""
        return self.broker.topics.get(self.topics.changes, [])

    def run(self) -> None:
        """The whole schedule; `broken` says what was found."""
        prepare()
        self.store = self.hosts.shared_store()
        self.front = self.hosts.front(self.store)
        said = script(self.seed, BASE, self.weather)
        values = [msgspec.json.encode(cloud_event(each.event)) for each in said]
        self._by_value = dict(zip(values, (each.event for each in said), strict=True))
        self._becomings = becomings(self.seed, said, self.weather) if self.weather.rooms else []
        self._declare(said)
        main = self.loop.spawn(self.loop.world, self._main(said, values))
        main.add_done_callback(self._over)
        try:
            self.loop.drive()
        except RuntimeError as error:
            self.broken = self.broken or Broken(str(error))
        finally:
            for actor in (*self.hosts.actors, self.hosts.watcher):
                for connection in actor.connections:
                    connection.end(close=True)
            GRAVEYARD.append(self)

    def _over(self, task: asyncio.Task[None]) -> None:
        self.loop.halt()
        error = task.exception()
        if error is not None and self.broken is None:
            self.broken = error if isinstance(error, Broken) else Broken(f"the world broke: {error!r}")
            self.broken.__cause__ = error

    def _declare(self, said: Sequence[Said]) -> None:
        """The mini program shares each card before anybody speaks of it; some members are not in its room."""
        strange = self.tape.strikes(self.weather.rates.get("bad_member", 0.0))
        for each in said:
            data: Any = each.event.data
            if hasattr(data, "expires_at"):
                first, some = (self.tape.pick(len(MEMBERS)), self.tape.pick(5)) if strange else (0, 0)
                strangers = {MEMBERS[(first + place) % len(MEMBERS)] for place in range(some)}
                self.strangers[each.event.activity_id] = strangers
                self.model.declare(
                    BASE,
                    Declaration(
                        activity_id=each.event.activity_id,
                        appid=data.appid,
                        template=data.template,
                        choose=data.choose,
                        members=tuple(member for member in MEMBERS if member not in strangers),
                        expires_at=data.expires_at,
                    ),
                )

    async def _main(self, said: Sequence[Said], values: Sequence[bytes]) -> None:
        for slot in range(len(SLOTS)):
            self.hosts.start(slot)
        for each, value in zip(said, values, strict=True):
            self._publish(each, value)
        if "leap" in self.weather.rates:
            await self._other_life()
        self.pages.open(self._becomings)
        self.callers.begin(wishes(self.seed) if self.weather.wishes else [])
        Spells(self).cast()
        await asyncio.sleep(self.weather.length)
        self._calm()
        until = self.loop.time() + BOUND
        while not await self._quiet():
            if self.loop.time() > until:
                self.judges.fail(f"after {BOUND:.0f} s of calm: {self.endings.behind()}")
                return
            await asyncio.sleep(2.5)
        self.tell("the world", "is quiet")

    async def _other_life(self) -> None:
        """Without any fault; then weeks go by."""
        self.calm = True
        await asyncio.sleep(BEFORE)
        self.calm = False
        self.hit("leap")
        self.tell("the world", "is weeks older")
        self.loop.leap(LEAP)

    async def _mend(self) -> bool:
        """Once all is quiet, what was given up is tried again: whether anything was. Twice does no harm."""
        tried = False
        for name in self.endings.given_up():
            if _did(await redeliver(self.front, name)):
                tried = True
                if _did(await redeliver(self.front, name)):
                    self.judges.fail(f"{name} is redelivered, and nobody had given it up")
        return tried

    async def _quiet(self) -> bool:
        """Whether all has come true, and is right; a timer that fires while we look begins it anew."""
        if self.broken:
            return True
        before = self.judges.changes
        if self.endings.behind() or await self._mend():
            return False
        try:
            await self.endings.final()
        except Broken as wrong:
            if self.endings.behind() or self.judges.changes > before:
                return False  # and if that never ends, the bound does
            self.judges.fail(str(wrong))
        return self.judges.changes == before

    def say(self, said: Said) -> None:
        """Publish what the script did not know of."""
        value = msgspec.json.encode(cloud_event(said.event))
        self._by_value[value] = said.event
        self._publish(said, value)

    def _publish(self, said: Said, value: bytes) -> None:
        """By a producer with a partitioner of its own, now and then twice or late."""
        event = said.event
        self.events[InboxKey(event.source, event.id)] = event
        rates, tape = self.weather.rates, self.tape
        delay = 0.0
        if said.at < BEFORE and "leap" in rates:  # that life is short: no repeat of it may come weeks later
            self.loop.later(said.at, self._emit, tape.pick(2), event, value)
            return
        if self.struck_by("event_delayed"):
            self.hit("event_delayed")
            delay = tape.share() * 15
        self.loop.later(said.at + delay, self._emit, tape.pick(2), event, value)
        if self.struck_by("event_repeated"):
            self.hit("event_repeated")
            self.loop.later(said.at + tape.share() * 40, self._emit, tape.pick(2), event, value)
        if self.struck_by("event_malformed") and rates:
            self.hit("event_malformed")
            self.malformed += 1
            junk = b"no json %d" % self.malformed
            self.loop.later(said.at, self.broker.append_event, tape.pick(2), "x", junk)

    def struck_by(self, name: str) -> bool:
        """Whether a fault of this schedule as a whole is to strike; it counts when it does."""
        return self.tape.strikes(self.weather.rates.get(name, 0.0))

    def gone(self) -> bool:
        """Whether nobody reaches the store; whoever asks has felt it."""
        if self.store_away:
            self.hit("store_outage", self.store_away)
        return self.store_away > 0

    def hit(self, name: str, turn: int | None = None) -> None:
        """It did; a spell once in each `turn`."""
        if turn is None or self.spell[name] != turn:
            self.struck[name] += 1
            self.spell[name] = self.spell[name] if turn is None else turn

    def _emit(self, partition: int, event: Event, value: bytes) -> None:
        self.tell("a producer", "publishes", self.telling and describe(event))
        self.broker.append_event(partition, event.activity_id, value)

    def _calm(self) -> None:
        """No fault any more; who stands still will go on, who died is replaced."""
        self.tell("the world", "calms down")
        self.calm, self.store_away, self.broker.away, self.refusing = True, 0, 0, ""
        self.apps_file.write(dict(SECRETS))
        for card in self.model.cards.values():
            card.declare(msgspec.structs.replace(card.declaration, members=MEMBERS), card.expires_at)

    def _unhandled(self, _: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        raise_in_world(self, Broken(f"unhandled: {context.get('message')} {error!r}"))


async def _observed(store: Any, results: Sequence[Result], rules: Any) -> list[Settled]:
    """`settle`, with the results shown to the judges."""
    token = RESULTS.set(tuple(results))
    try:
        return await settle_results(store, results, rules)
    finally:
        RESULTS.reset(token)


def _did(again: Redelivered) -> bool:
    """Whether anything is tried again."""
    return bool(again.members) or again.revived


@cache
def prepare() -> None:
    """Once in a process, one forked for this: the judges see what is settled, and nobody writes logs."""
    settler.settle = _observed  # type: ignore[attr-defined]  # observation only: the real verb does the work
    changes: tuple[tuple[Any, str, Any], ...] = (
        (settler, "IDLE", 40.0),  # how often a loop without work shows that it is alive
        (dispatcher, "IDLE", 40.0),
        (apps, "signature", lambda file: file.version),
        (apps, "_read", lambda file: dict(file.secrets)),
        (asyncio, "timeout", Timeout),
        (engine, "greenlet_spawn", spawn),
    )
    for where, name, value in changes:
        setattr(where, name, value)
    silent = structlog.make_filtering_bound_logger("critical")
    structlog.configure(processors=[_drop], wrapper_class=silent, cache_logger_on_first_use=True)


def _drop(_: Any, __: str, event: Any) -> Any:
    raise structlog.DropEvent
