"""`livecard demo`: plays the script against the simulator and says whether the ledger balances."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.live import Live

from contracts.changes import CONTENT_TYPE
from contracts.times import SECOND
from contracts.topics import Topics
from services.cli import demo_script
from services.cli.demo_view import STATES, Picture
from services.cli.inspect import print_ledger
from services.cli.key import new_key
from services.cli.session_key import session_key_to_try
from services.cli.up import builders, embedded
from services.gateway.keys import ApiKeys
from services.kafka.ports import Message
from services.runtime import logs
from services.runtime.clock import RealClock
from services.runtime.host import DEFAULT_ADDRESS, Host, opened
from services.runtime.process import Parts
from services.runtime.settings import OF_THE_BROKER, Settings
from services.simulator.app import SimulatorServer
from services.transactions.ledger import Ledger, read_ledger

LONGEST: Final = 300.0
"""Seconds after which the demo gives up waiting for what is on its way: ten times what it takes."""
FRAME: Final = 0.2
EXPIRY: Final = 600
"""Seconds that the demo's ids live."""


def staged(settings: Settings, folder: Path) -> Settings:
    """The settings of a play that touches nothing outside `folder`, whatever a production's shell names."""
    files = (
        *("apps_file", "api_keys_file", "simulator_faults", "simulator_cards", "simulator_key_file"),
        *("wechat_proxy", "wechat_proxy_password_file"),
    )
    plain = {name: getattr(Settings(), name) for name in (*OF_THE_BROKER, *files)}
    return msgspec.structs.replace(
        settings,
        **plain,
        database=f"sqlite+aiosqlite:///{folder / 'demo.sqlite3'}",
        apps=f'{{"{demo_script.APPID}": "simulated"}}',
        session_key_file=session_key_to_try(folder),
        call_deadline=2.0,
        lease=8.0,
        repair_after=4.0,
        log_level="error",
    )


async def run(settings: Settings, out: Console, *, plain: bool) -> int:
    """Play; 0 when the ledger balances, nothing is on its way, and every card shows what it should."""
    with tempfile.TemporaryDirectory(prefix="livecard-demo-") as folder:
        demo = staged(settings, Path(folder))
        logs.configure(demo)  # the picture has no room for less than errors
        async with embedded(demo, environ={}) as (ready, simulator):
            assert simulator is not None
            address = settings.http or DEFAULT_ADDRESS["demo"]
            key = new_key()
            keys = ApiKeys.single(key, "demo", [demo_script.APPID])
            async with opened("demo", ready) as (parts, always):
                services = [service for build in builders(keys) for service in build(parts)]
                host = Host(parts, services, always, address)
                await host.start()
                simulator.acting.through(host.http.url, key)
                out.print(f"the chat, in a browser: {simulator.url}")
                out.print(f"health and metrics: {host.http.url}/readyz /metrics")
                out.print(f"the API: {host.http.url}/openapi.json, with the key {key}", markup=False)
                out.print(f"the console, with the same key: {host.http.url}/console", markup=False)
                try:
                    with out.status("joining the consumer groups …"):
                        await host.beside(host.ready())
                    ledger = await host.beside(_Show(parts, simulator, out, plain=plain).run())
                finally:
                    await host.stop()
        return _verdict(ledger, simulator, out)


class _Show:
    """The play on its stage."""

    def __init__(self, parts: Parts, simulator: SimulatorServer, out: Console, *, plain: bool) -> None:
        self.parts, self.simulator, self.out, self.plain = parts, simulator, out, plain
        self.clock = RealClock()
        self.started = self.clock.monotonic()
        self.log: list[str] = []
        self.sent: set[str] = set()
        self.announced: dict[str, tuple[int, int]] = {}
        self.spoken: dict[str, int] = {}

    @property
    def seconds(self) -> float:
        return self.clock.monotonic() - self.started

    def say(self, text: str) -> None:
        """Into the picture, or as a line of its own."""
        self.log.append(f"{self.seconds:5.1f}  {text}")
        if self.plain:
            self.out.print(self.log[-1], markup=False)

    async def run(self) -> Ledger:
        """Play all steps, then wait until nothing is on its way."""
        start = self.clock.wall()
        expires_at = start + EXPIRY * SECOND
        for declaration in demo_script.declarations(expires_at):
            self.simulator.model.declare(start, declaration)
        with Live(console=self.out, refresh_per_second=5, transient=False, auto_refresh=False) as live:
            live_or_none = None if self.plain else live
            for step in demo_script.play(start, expires_at).steps:
                await self._until(step.at, live_or_none)
                await self._do(step, start)
            return await self._settle(live_or_none)

    async def _do(self, step: demo_script.Step, start: int) -> None:
        self.say(step.text)
        if step.fault is not None:
            self.simulator.faults.add([step.fault])
        if step.act == "revoke":
            self.simulator.model.tokens.revoke(demo_script.APPID)
        if step.event is not None:
            self.sent.add(step.event[3])
            value = demo_script.event_json(step, start, self.clock.wall())
            headers = (("content-type", CONTENT_TYPE.encode()),)
            message = Message(step.event[1].encode(), value, headers)
            await self.parts.bus.publish(Topics(self.parts.settings.topic_prefix).events, [message])

    async def _until(self, at: float, live: Live | None) -> None:
        while self.seconds < at:
            await self._frame(live)
            await asyncio.sleep(min(FRAME, max(0.01, at - self.seconds)))

    async def _settle(self, live: Live | None) -> Ledger:
        self.say("the play is over: waiting until nothing is on its way")
        while True:
            ledger = await self._frame(live)
            arrived = ledger.events["taken"] == len(self.sent)
            if (arrived and ledger.settled and not await self._doubts()) or self.seconds > LONGEST:
                return ledger
            await asyncio.sleep(FRAME)

    async def _doubts(self) -> bool:
        """Whether a card still waits for its repair after an unknown outcome."""
        shown = [await self.parts.store.show(name) for name in demo_script.EXPECTED]
        return any(each is None or each.card.doubt_at is not None for each in shown)

    async def _frame(self, live: Live | None) -> Ledger:
        ledger = await read_ledger(self.parts.store)
        self._tell_cards()
        events, revisions = ledger.events, ledger.revisions
        totals = (
            f"events: {events['taken']} taken, {events['repeats']} repeats · "
            f"revisions: {revisions['raised']} raised, {revisions['delivered']} delivered, "
            f"{revisions['superseded']} superseded, {revisions['pending']} on their way · "
            f"calls: {ledger.calls['made']}, unknown outcomes: {ledger.calls['unknown']}"
        )
        if live is not None:
            live.update(Picture(self.simulator.model, self.log, self.seconds, totals), refresh=True)
        return ledger

    def _tell_cards(self) -> None:
        """Without a picture: a line whenever a card or the chat changes."""
        if not self.plain:
            return
        for name, card in self.simulator.model.cards.items():
            now = (card.target_state, len(card.posts))
            if self.announced.setdefault(name, (1, 0)) != now:
                self.announced[name] = now
                view = card.viewers()
                people = " ".join(f"{name}:{text}" for name, text in demo_script.readers(view))
                state = STATES[card.target_state]
                self.out.print(
                    f"         ▸ {card.declaration.title} [{state}] 小琳:{view['publisher']} {people}",
                    markup=False,
                )
            for said in card.chat[self.spoken.get(name, 0) :]:
                self.out.print(f"         ✉ {said.text}", markup=False)
            self.spoken[name] = len(card.chat)


def _verdict(ledger: Ledger, simulator: SimulatorServer, out: Console) -> int:
    """Print what came of it; the exit code."""
    out.print()
    print_ledger(ledger, out)
    wrong = _wrong_cards(simulator)
    facts = [card.facts() for card in simulator.model.cards.values()]
    repeated = sum(each["repeated_posts"] for each in facts)
    lowered = sum(each["lowered"] for each in facts)
    out.print(f"WeChat's side: {repeated} repeated posts, {lowered} cards turned back")
    if not ledger.settled:
        pending, parked = ledger.revisions["pending"], ledger.events["parked"]
        wrong.append(f"{pending} revisions and {parked} events are still on their way")
    for text in wrong:
        out.print(f"WRONG: {text}", style="red", markup=False)
    if not wrong and ledger.balanced:
        out.print("Every card shows what it should.", style="green")
        return 0
    return 1


def _wrong_cards(simulator: SimulatorServer) -> list[str]:
    wrong = []
    for name, expected in demo_script.EXPECTED.items():
        card = simulator.model.cards[name]
        if (card.target_state, frozenset(card.posts)) != (expected.target_state, expected.done):
            wrong.append(
                f"{card.declaration.title} shows state {card.target_state}, done {sorted(card.posts)}"
            )
        if card.lowered:
            wrong.append(f"{card.declaration.title} was turned back after its end")
    return wrong
