"""One chaos run: a script of load, a plan of harm, a calm, and the record of it all."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contracts.times import SECOND
from contracts.topics import Topics
from scripts.engines import Postgres
from scripts.patience import PATIENCE
from tests.e2e.line import now
from tests.verification.chaos.evidence import behind, collect
from tests.verification.chaos.load import Load
from tests.verification.chaos.monkeys import Monkeys
from tests.verification.chaos.plan import Act, plan
from tests.verification.chaos.record import Record
from tests.verification.chaos.script import script
from tests.verification.chaos.stage import ProxiedKafka, Stage, a_stage
from tests.verification.chaos.wishes import Wishes, gateway_settings, plots

WISHING = 8
"""To so many activities of the topic one more comes from the API."""
CALM = PATIENCE
"""Seconds in which everything must come true once nothing goes wrong any more."""
Tell = Callable[[str], None]


@dataclass
class Outcome:
    """What was done, how often, and the record to judge."""

    record: Record
    done: Counter[str]
    kills: int
    calm: float
    seconds: float
    activities: int
    wishes: int
    repeated: int
    caught: int


async def chaos(
    kafka: ProxiedKafka,
    postgres: Postgres,
    seed: int,
    seconds: float,
    activities: int,
    *,
    tell: Tell = print,
    acts: list[Act] | None = None,
) -> Outcome:
    """One run on these engines; `acts` instead of the seed's own plan, and then all of them, however late."""
    with tempfile.TemporaryDirectory(prefix="livecard-chaos-") as folder:
        files = gateway_settings(Path(folder))
        async with a_stage(kafka, postgres, seed, Path(folder), files) as stage:
            await stage.start()
            begin = now()
            said = script(seed, activities, seconds, begin)
            for card in said.cards:
                stage.wechat.model.declare(begin, card)
            load = Load(kafka.bootstrap, Topics(stage.inside.prefix).events, said.sendings)
            wishes = Wishes(stage, seed, plots(seed, activities // WISHING, seconds))
            weather = plan(seed, seconds) if acts is None else acts
            monkeys = Monkeys(stage, weather, to_the_last=acts is not None)
            tell(f"seed {seed}: {len(said.sendings)} records, {len(monkeys.acts)} acts in {seconds:g} s")
            telling = asyncio.create_task(_progress(stage, load, monkeys, tell))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(load.run())
                    group.create_task(wishes.run())
                    group.create_task(monkeys.play())
            finally:
                telling.cancel()
            stage.wechat.faults.remove()
            calm = now()
            tell(f"the calm: {monkeys.kills} kills done, {load.sent} records acknowledged")
            events = said.events + sum(len(each.answers) for each in wishes.wishes)
            late = await _quiet(stage, events)
            record = await collect(
                stage,
                seed=seed,
                begin=begin,
                events=events,
                harms=monkeys.harms,
                problems=[*monkeys.rolled, *wishes.problems, *late],
                wishes=wishes.wishes,
            )
            return Outcome(
                record,
                monkeys.done,
                monkeys.kills,
                (record.end - calm) / SECOND,
                seconds,
                activities,
                len(wishes.wishes),
                wishes.repeated,
                monkeys.caught,
            )


async def _progress(stage: Stage, load: Load, monkeys: Monkeys, tell: Tell) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while True:
        await asyncio.sleep(30)
        calls = len(stage.wechat.calls)
        tell(f"{loop.time() - begin:4.0f} s: {load.sent} records, {calls} calls, {monkeys.kills} kills")


async def _quiet(stage: Stage, events: int) -> list[str]:
    """Wait until everything has come true; what has not in the end."""
    loop = asyncio.get_running_loop()
    patience = loop.time() + CALM
    while missing := await behind(stage, events):
        if loop.time() > patience:
            return [f"not true after {CALM:g} s of calm: {missing}"]
        await asyncio.sleep(0.5)
    return []
