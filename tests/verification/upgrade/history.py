"""A recorded history: events as they came over the wire, moments, and what all of it came to.

One JSON object a line. `steps` are `[seconds since START, what]`: a CloudEvent, `"tick"` (timers look) or
`"dead:ID"` (WeChat calls the id dead, 47504). `came_to` tells each activity's end; see `told`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from contracts.changes import CardDelivered, CardExpiring, CardFailed, ChangeData, decode_change
from contracts.events import Event
from contracts.records import Record
from contracts.times import SECOND, format_rfc3339
from contracts.wechat import Verdict
from services.store.rows import CHANGES, InboxKey
from services.transactions.arrivals import Arrival, read_arrival
from statemachine.model import Activity
from statemachine.plan import Call
from statemachine.step import Claimed, Result
from statemachine.subtitles import Viewer, subtitle
from tests.store.benches import START
from tests.store.support import Scene
from tests.verification.lives.wire import MOMENTS, envelope
from tests.verification.model.facts import Expected
from tests.verification.model.harness import Machines
from tests.verification.model.reference import Reference

FOLDER = Path(__file__).parent / "histories"
MARGIN = 60 * SECOND
TARGETS = {"": 1, "open": 1, "nearing": 2, "ended": 3}
ACTIVITIES = ("a", "b")
Step = tuple[float, Any]
Told = dict[str, Any]


class History(msgspec.Struct):
    """See the module. `name` says which rule it is about, or which seed made it."""

    name: str
    steps: list[Step]
    came_to: dict[str, Told] = msgspec.field(default_factory=dict)


def read_histories(name: str) -> list[History]:
    """Those of one file."""
    lines = (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [msgspec.json.decode(line, type=History) for line in lines]


def write_histories(name: str, histories: list[History]) -> None:
    """One a line, the same bytes whenever they say the same."""
    lines = [json.dumps(msgspec.to_builtins(each), ensure_ascii=False) for each in histories]
    (FOLDER / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def moment(seconds: float) -> int:
    """µs since the epoch."""
    return START + round(seconds * SECOND)


def wire(
    kind: str, data: dict[str, Any], id_: str, *, time: float = 0, home: str = "a", source: str = "/s"
) -> dict[str, Any]:
    """A CloudEvent; `time` in seconds since START, as are deadline and expires_at in `data`."""
    moments = {
        name: None if data[name] is None else format_rfc3339(moment(data[name]))
        for name in MOMENTS
        if name in data
    }
    at = format_rfc3339(moment(time))
    return envelope(f"livecard.{kind}", home, (source, id_), at, {**data, **moments})


def arrival(event: dict[str, Any], offset: int) -> Arrival:
    """Through the real decoder."""
    return read_arrival(Record("activity.events", 0, offset, b"k", msgspec.json.encode(event), ()))


def _event(what: dict[str, Any]) -> Event:
    content = arrival(what, 0).content
    assert isinstance(content, Event), content
    return content


def told(expected: Expected, template: str) -> Told:
    """An activity's end in plain words: its state, everybody's fate, every change published, and what the
    card says to the publisher, to each member and to somebody who takes no part."""
    target = TARGETS[expected.state]
    people = sorted(expected.done | expected.late | (expected.listed or frozenset()))

    def says(viewer: Viewer, *, done: bool = False) -> str:
        return subtitle(viewer, target, template, done=done, done_count=len(expected.done))

    return {
        "state": expected.state,
        "reason": expected.reason,
        "revision": expected.revision,
        "done": sorted(expected.done),
        "late": sorted(expected.late),
        "listed": None if expected.listed is None else sorted(expected.listed),
        "ended_at": None if expected.ended_at is None else (expected.ended_at - START) / SECOND,
        "outcomes": {f"{source} {id_}": result[0] for (source, id_), result in expected.outcomes.items()},
        "published": [_change(data) for data in expected.published],
        "card": {
            "publisher": says(Viewer.publisher),
            **{who: says(Viewer.participant, done=who in expected.done) for who in people},
            "bystander": says(Viewer.bystander),
        },
    }


def _change(data: ChangeData) -> dict[str, Any]:
    builtins: dict[str, Any] = msgspec.to_builtins(data)
    return {"is": type(data).__name__, **builtins}


def templates(history: History) -> dict[str, str]:
    """The template of each activity: its first opening's."""
    found: dict[str, str] = {}
    for _, what in history.steps:
        if isinstance(what, dict) and what["type"] == "livecard.activity.opened":
            found.setdefault(what["subject"], what["data"]["template"])
    return found


def _all_told(history: History, expected: dict[str, Expected]) -> dict[str, Told]:
    """Of those that were heard of; as plain as they are once read back."""
    template = templates(history)
    heard = {name: each for name, each in expected.items() if each.outcomes}
    ends = {name: told(each, template.get(name, "complete")) for name, each in heard.items()}
    plain: dict[str, Told] = msgspec.json.decode(msgspec.json.encode(ends))
    return plain


def by_model(history: History, model: Reference | Machines) -> dict[str, Told]:
    """What the reference, or the state machines with the least around them, come to."""
    for seconds, what in history.steps:
        now = moment(seconds)
        if what == "tick":
            model.fire(now)
        elif isinstance(what, str):
            model.expire(what.removeprefix("dead:"), now)
        else:
            model.feed(_event(what), now)
    return _all_told(history, {name: model.expected(name) for name in ACTIVITIES})


async def by_store(history: History, scene: Scene) -> dict[str, Told]:
    """What the services' verbs come to, on whatever store the scene plays."""
    begin, bench = scene.bench.now, scene.bench
    assert begin == START
    for offset, (seconds, what) in enumerate(history.steps):
        await bench.advance((moment(seconds) - bench.now) / SECOND)
        if what == "tick":
            await scene.tick()
        elif isinstance(what, str):
            await _die(scene, what.removeprefix("dead:"))
        else:
            await scene.feed(arrival(what, offset))
    return _all_told(history, {name: await _by_rows(history, scene, name) for name in ACTIVITIES})


async def _die(scene: Scene, name: str) -> None:
    """WeChat answers 47504 to a call for this card."""
    shown = await scene.store.show(name)
    if shown is None or not shown.activity.state:
        return
    await scene.set(name, lease_until=scene.bench.now + SECOND)
    claimed = Claimed(await scene.card(name), Call(1, ()), at=scene.bench.now)
    await scene.settle(Result(claimed, Verdict.expired, sent=True))


async def _by_rows(history: History, scene: Scene, name: str) -> Expected:
    homes: dict[InboxKey, str] = {}  # the first event of a key wins
    for _, what in history.steps:
        if isinstance(what, dict):
            homes.setdefault(InboxKey(what["source"], what["id"]), what["subject"])
    keys = [key for key, home in homes.items() if home == name]
    outcomes = await scene.store.outcomes(keys)
    shown = await scene.store.show(name)
    activity = shown.activity if shown else Activity(name)
    everybody = {who for _, what in history.steps if isinstance(what, dict) for who in _people(what)}
    async with scene.store.transaction() as tx:
        rows = await tx.members([(name, who) for who in sorted(everybody)])
    published = [
        decode_change(row.body.encode()).data
        for row in await scene.outbox()
        if row.topic == CHANGES and row.activity_id == name
    ]
    done = [row for row in rows if row.state == "done"]
    listed = activity.choose == "listed"
    return Expected(
        state=activity.state,
        reason=activity.reason,
        revision=activity.revision,
        done=frozenset(row.group_openid for row in done if not row.late),
        late=frozenset(row.group_openid for row in done if row.late),
        listed=frozenset(row.group_openid for row in rows) if listed else None,
        outcomes={(key.source, key.id): (outcomes[key], "") for key in keys if key in outcomes},
        published=tuple(
            each for each in published if not isinstance(each, CardDelivered | CardFailed | CardExpiring)
        ),
        ended_at=activity.ended_at,
    )


def _people(what: dict[str, Any]) -> list[str]:
    data = what["data"]
    return [*data.get("members", ()), *data.get("participants", ())]


def differences(one: Told, other: Told) -> list[str]:
    """What is not the same, for people: `where: this → that`."""
    found = []
    for name in one.keys() | other.keys():
        before, after = one.get(name), other.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            found += [f"{name}.{each}" for each in differences(before, after)]
        else:
            found.append(f"{name}: {before!r} → {after!r}")
    return sorted(found)
