"""Callers of the API: what each wishes for has an `Idempotency-Key`, and is repeated until it is granted."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import msgspec

from contracts.times import MINUTE, SECOND
from services.gateway.keys import KeyEntry, hash_of
from services.simulator.cards import Declaration
from tests.e2e.line import NO_TLS, now
from tests.verification.chaos.plan import APPS, GATEWAYS
from tests.verification.chaos.record import Wish
from tests.verification.chaos.stage import Stage

API_KEY: Final = "lck_of-the-chaos-run"
PATIENCE: Final = 3.0
"""Seconds that a caller waits for an answer."""
GIVEN_UP: Final = 4
"""Seconds after which we let the minute pass in which a request counts as under way: its process was killed,
or it is frozen and must find out later that another took its request over."""
LATER: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses after which a caller asks again; a 409 is one of them if it says when."""
PASS_A_MINUTE: Final = (
    f"UPDATE requests SET started_at = started_at - {MINUTE} WHERE status IS NULL AND started_at BETWEEN "
    f"extract(epoch FROM now()) * 1000000 - {MINUTE} "
    f"AND extract(epoch FROM now()) * 1000000 - {GIVEN_UP * SECOND}"
)


def gateway_settings(folder: Path) -> dict[str, str]:
    """Its files, and the settings that name them."""
    keys = {hash_of(API_KEY): KeyEntry("chaos", ("read", "write"), APPS)}
    files = {
        "LIVECARD_API_KEYS_FILE": msgspec.json.encode(keys),
        "LIVECARD_SESSION_KEY_FILE": base64.b64encode(bytes(range(32))),
    }
    for name, content in files.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
    return {name: str(folder / name) for name in files}


class Request(msgspec.Struct, frozen=True):
    """One POST about an activity: when (seconds from the beginning), what for, and with which data."""

    at: float
    route: str
    data: dict[str, Any]


class Plot(msgspec.Struct, frozen=True):
    """What a caller will ask for: an activity, and then what happens to it. `again`: each is asked for once
    more after it was granted."""

    name: str
    people: tuple[str, ...]
    again: bool
    requests: tuple[Request, ...]


def plots(seed: int, many: int, seconds: float) -> list[Plot]:
    """So many, spread over a run; a pure function of the seed."""
    return [_plot(random.Random(f"chaos/{seed}/wish/{place}"), place, seconds) for place in range(many)]


def _plot(chance: random.Random, place: int, seconds: float) -> Plot:
    name = f"wish-{place}"
    people = tuple(f"gp-{number}" for number in range(chance.randint(2, 8)))
    creation = {
        "appid": chance.choice(APPS),
        "template": chance.choice(("complete", "participate")),
        "title": name,
        "participants": people,
        "close_when_complete": chance.random() < 0.3,
    }
    at = chance.uniform(0.0, 0.8) * seconds
    return Plot(
        name,
        people,
        chance.random() < 0.4,
        (Request(at, "", creation), *_happens(chance, people, at, seconds * 0.97)),
    )


def _happens(chance: random.Random, people: tuple[str, ...], at: float, end: float) -> Iterator[Request]:
    left = list(people)
    while left and chance.random() < 0.9:
        done, left = left[: chance.randint(1, 3)], left[chance.randint(1, 3) :]
        at = chance.uniform(at, (at + end) / 2)
        yield Request(at, "complete", {"members": done})
    if chance.random() < 0.25:
        yield Request(chance.uniform(at, end), "close", {})


class Wishes:
    """Ask for everything until it is granted; `wishes` are what was asked for and every answer."""

    def __init__(self, stage: Stage, seed: int, plotted: list[Plot]) -> None:
        self._stage, self._plots = stage, plotted
        self._chance = random.Random(f"chaos/{seed}/callers")
        self.wishes = [Wish(each.name) for each in plotted]
        self.problems: list[str] = []
        self.repeated = 0

    async def run(self) -> None:
        """From the first wish until the last is granted."""
        passing = asyncio.create_task(self._minutes_pass())
        begin = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as group:
                for plot, wish in zip(self._plots, self.wishes, strict=True):
                    group.create_task(self._live(begin, plot, wish))
        finally:
            passing.cancel()

    async def _live(self, begin: float, plot: Plot, wish: Wish) -> None:
        activity_id = ""
        for number, request in enumerate(plot.requests):
            await asyncio.sleep(max(0.0, begin + request.at - asyncio.get_running_loop().time()))
            path = f"/v1/activities/{activity_id}/{request.route}" if number else "/v1/activities"
            answers = wish.answers.setdefault(f"{plot.name} {number}", [])
            for _ in range(1 + plot.again):
                answer = await self._ask(path, f"{plot.name} {number}", request.data)
                if answer is None:
                    return
                if number:
                    answers.append(answer["event_id"])
                else:
                    activity_id = answer["activity_id"]
                    answers.append(activity_id)
                    self._share(activity_id, plot, request.data)

    async def _ask(self, path: str, key: str, data: dict[str, Any]) -> dict[str, Any] | None:
        """Until it is granted; None for an answer that nobody should get."""
        headers = {"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": key}
        content = msgspec.json.encode(data)
        while True:
            proxy = self._stage.proxies[f"gateway {self._chance.randrange(GATEWAYS)}"]
            async with httpx.AsyncClient(timeout=PATIENCE, verify=NO_TLS) as client:
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.post(
                        f"http://127.0.0.1:{proxy.port}{path}", content=content, headers=headers
                    )
                    if answer.is_success:
                        said: dict[str, Any] = msgspec.json.decode(answer.content)
                        return said
                    wait = answer.status_code in LATER or (
                        answer.status_code == 409 and "retry-after" in answer.headers
                    )
                    if not wait:
                        self.problems.append(f"POST {path} ({key}): {answer.status_code} {answer.text}")
                        return None
            self.repeated += 1
            await asyncio.sleep(0.5)  # a caller's own pause; what the gateway advises may be a minute

    def _share(self, activity_id: str, plot: Plot, creation: dict[str, Any]) -> None:
        """Into the chat, as the page does with what it was answered."""
        declaration = Declaration(
            activity_id=activity_id,
            appid=creation["appid"],
            template=creation["template"],
            participants=plot.people,
            members=plot.people,
            publisher="gp-publisher",
        )
        self._stage.wechat.model.declare(now(), declaration)

    async def _minutes_pass(self) -> None:
        """For whoever was killed, or stands still, with a request in hand."""
        dsn = self._stage.inside.database.replace("+asyncpg", "")
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(dsn, timeout=5)
                try:
                    await connection.execute(PASS_A_MINUTE, timeout=5)
                finally:
                    connection.terminate()
            await asyncio.sleep(0.5)
