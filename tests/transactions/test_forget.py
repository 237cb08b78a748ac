"""One person erased: afterwards no row names him, whoever else is named stays, and the ledger balances."""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec
import pytest

from contracts.decode import Dead, decode
from contracts.events import ADDED, COMPLETED, OPENED, Added, Completed, Event, Opened, Room
from contracts.records import Record, decode_record
from contracts.wechat import Verdict
from services.store.operators import Act, Filter, Job
from services.store.requests import RequestRow
from services.store.sessions import SessionRow
from services.transactions import forget as forgetting
from services.transactions.bind import bind
from services.transactions.bury_parked import bury_parked
from services.transactions.erasing import record_without, without
from services.transactions.forget import Forgotten, forget, names_of
from services.transactions.gates import close_by_hand
from services.transactions.jobs import begin
from services.transactions.views import view_activity
from tests.contracts.samples import DATA, LEFT_OUT, OPENED_DATA, binary, value_of
from tests.store.benches import Bench
from tests.store.support import Scene

ROOM: dict[str, Any] = {"room": {"opengid": "g-1"}}
ACT = Act("ann@desk", "eve asked for it")
HIM = ("o-eve", "eve", "eve2")


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAGE", "SURVEYED", "ANSWERS"):
        monkeypatch.setattr(forgetting, name, 1)


async def everything(bench: Bench, scene: Scene) -> str:
    """Whatever the store says, as one text."""
    store = bench.store
    said: list[object] = [
        await scene.outbox(),
        await store.known_as(HIM),
        await store.activities_with(HIM, "", 9),
    ]
    said += [[each.row.record.value for each in await store.parked_after(0, 1_000)]]
    said += [await store.room_members("wx1", "g-1"), await store.session("s1"), await store.actions(10)]
    async with store.transaction() as tx:
        said += [await tx.unbound(["a", "b", "c"]), await tx.all_members(["a", "b", "c"])]
        said += [await tx.claim_request(RequestRow("r1", "d", "other"))]
        said += [(await tx.lock(["a", "b", "c"]))]
    said += [await store.jobs(10), await store.all_gates(), await store.attempts("a", 10)]
    shown = [await view_activity(store, name, scene.cards) for name in ("a", "b", "c")]
    return repr([said, shown])


async def live(scene: Scene) -> None:
    """He is everywhere: bound in two rooms, listed, done, publisher, waiting, parked, logged in, answered."""
    store = scene.store
    for room, member in (("g-1", "eve"), ("g-2", "eve2")):
        await bind(store, "wx1", Room(opengid=room), "o-eve", member, "Eve", "https://a/eve")
    await bind(store, "wx1", Room(opengid="g-1"), "o-bob", "bob", "Bob")
    listed: dict[str, Any] = {"choose": "listed", "participants": ["eve", "bob", "cid"]}
    await scene.feed(scene.opened("a", publisher="eve", **ROOM, **listed))
    await scene.feed(scene.opened("b", room={"opengid": "g-3"}))
    await scene.feed(scene.completed("a", "eve", "bob"))
    await scene.feed(scene.event("participant.completed", "b", openids=["o-eve", "o-dan"]))
    await scene.feed(scene.completed("c", "eve"), scene.completed("c", "eve", "bob"))
    async with store.transaction() as tx:
        await tx.keep_session(SessionRow("s1", "wx1", "o-eve", None, "sealed"))
        for name, openid in (("r1", "o-eve"), ("r2", "O-EVE")):
            row = RequestRow(name, "d", "o", 200, f'{{"openid":"{openid}","group_openid":"e"}}')
            assert await tx.claim_request(row) is None
            assert await tx.keep_request(row)


async def told(scene: Scene) -> None:
    """WeChat and operators speak of him, too."""
    await scene.deliver("a", Verdict.busy, errmsg="invalid openid [o-eve], not o-eve2")
    why = Act("bob@desk", "o-eve asked, steve agreed")
    await begin(scene.store, Job("j1", "redeliver", Filter(("wx1",)), why.who, why.why))
    async with scene.store.transaction() as tx:
        await close_by_hand(tx, ["wx1"], await tx.now() + 1_000_000, why)


async def letters() -> str:
    """What was erased from the dead letters."""
    return ", dead letters 2"


async def test_afterwards_nothing_names_the_person(bench: Bench, scene: Scene) -> None:
    """By whichever of his names; what was done is told in numbers, the action does not name him either."""
    await live(scene)
    await told(scene)
    assert sorted(await names_of(scene.store, "eve2")) == sorted(HIM)
    done = await forget(scene.store, HIM, ACT, letters)
    counts = {"members": 1, "publishers": 1, "parked": 2, "bindings": 3, "waiting": 1, "sessions": 1}
    counts |= {"answers": 1, "texts": 5}
    assert {name: count for name, count in done.counts.items() if name != "outbox"} == counts
    assert done.counts["outbox"] > 0
    said = await everything(bench, scene)
    assert not [each for each in (*HIM, "Eve") if re.search(rf"(?<![\w-]){each}(?![\w-])", said)], said
    assert "invalid openid [***], not o-eve2" in said
    assert "*** asked, steve agreed" in said
    noted = (await scene.store.actions(10))[0]
    assert (noted.who, noted.what, noted.about, noted.why) == ("ann@desk", "forget", "", "*** asked for it")
    assert "members 1" in noted.said
    assert noted.said.endswith("dead letters 2")


async def test_whoever_else_is_named_stays(bench: Bench, scene: Scene) -> None:
    """The counts follow, others are delivered, wait and are opened as before."""
    await live(scene)
    await forget(scene.store, HIM, ACT)
    seen = await view_activity(scene.store, "a", scene.cards)
    assert seen is not None
    assert (seen.seen.activity.participants, seen.seen.activity.done, seen.seen.publisher) == (2, 1, None)
    assert await scene.owed("a") == ["bob"]
    assert [each.openid for each in await scene.store.room_members("wx1", "g-1")] == ["o-bob"]
    async with scene.store.transaction() as tx:
        assert [each.openid for each in await tx.unbound(["b"])] == ["o-dan"]
    assert (await scene.counters())["openids.dropped"] == 1
    assert (await scene.counters())["events.refused"] == 1
    await scene.open("c")
    assert await scene.owed("c") == ["bob"]
    await scene.deliver("a")
    assert (await scene.card("a")).settled == 2


async def test_it_may_be_run_again_and_finds_nothing(scene: Scene) -> None:
    await live(scene)
    await forget(scene.store, HIM, ACT)
    again = await forget(scene.store, HIM, ACT)
    assert again.said == "nothing"
    assert again == Forgotten(dict.fromkeys(again.counts, 0))


async def test_a_call_under_way_is_told_since_its_answer_may_name_him_again(scene: Scene) -> None:
    """His mark falls on nothing; run again, the change is rewritten."""
    await scene.open("a")
    await scene.complete("a", "eve", "bob")
    (claimed,) = await scene.claim("a")
    assert (await forget(scene.store, ["eve"], ACT)).calling == ("a",)
    await scene.settle(scene.result(claimed))
    assert "eve" in repr(await scene.outbox())
    assert (await forget(scene.store, ["eve"], ACT)).calling == ()
    assert "eve" not in repr(await scene.outbox())
    assert (await scene.card("a")).settled == 2


@pytest.mark.parametrize("step", ["_from_parked", "_activities_with"])
@pytest.mark.parametrize("first", [True, False])
async def test_an_activity_that_opens_meanwhile_does_not_list_him(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, step: str, first: bool
) -> None:
    """Before either is read, or after: he leaves `parked` only for where nobody has looked yet."""
    await scene.feed(scene.completed("c", "eve", "bob"))
    read = getattr(forgetting, step)

    async def opening(*arguments: Any) -> Any:
        if first:
            await scene.open("c")
        found = await read(*arguments)
        if not first:
            await scene.open("c")
        return found

    monkeypatch.setattr(forgetting, step, opening)
    await forget(scene.store, ["eve"], ACT)
    assert await scene.owed("c") == ["bob"]
    assert "eve" not in repr(await scene.outbox())


async def test_a_plan_that_was_under_way_tells_of_the_others_alone(scene: Scene) -> None:
    """What was confirmed after his member was deleted is found by the plan, run again."""
    await scene.open("a")
    await scene.complete("a", "eve", "bob")
    await scene.set("a", progress_calls=1, progress_members=("eve", "bob"))
    scene.contrived = True
    await forget(scene.store, ["eve"], ACT)
    assert (await scene.card("a")).progress_members == ("bob",)
    await scene.set("a", progress_members=("eve", "bob"))
    await forget(scene.store, ["eve"], ACT)
    assert (await scene.card("a")).progress_members == ("bob",)


async def test_a_dead_letter_on_its_way_goes_on_without_him(scene: Scene) -> None:
    await scene.feed(scene.completed("c", "eve"), scene.completed("c", "eve", "bob"))
    await scene.bench.advance(4_000)
    assert await bury_parked(scene.store, 3_600_000_000, 100) == 2
    assert (await forget(scene.store, ["eve"], ACT)).counts["outbox"] == 2
    (letter,) = await scene.outbox()
    value = decode_record(letter.body).value
    assert value is not None
    assert msgspec.json.decode(value)["data"] == {"members": ["bob"]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"data":{"members":["eve","bob"]}}', b'{"data":{"members":["bob"]}}'),
        (b'{"data":{"members":["eve"]}}', None),
        (b'{"members":["eve"],"openids":null}', None),
        (b'{"members":["eve"],"openids":["o-bob"]}', b'{"openids":["o-bob"]}'),
        (b'{"members":["eve"],"x":{"members":["eve"]}}', b'{"members":[],"x":{"members":[]}}'),
        (b'{"members":["bob"],"x":{"members":["eve"]}}', b'{"members":["bob"],"x":{"members":[]}}'),
        (b'{"data":{"revision":2,"members":["eve"]}}', b'{"data":{"revision":2,"members":[]}}'),
        (b'{"data":{"publisher":"\\u0065ve","x":1.50}}', b'{"data":{"publisher":null,"x":1.5}}'),
        (b'{"members":["steve"], "x":1}', b'{"members":["steve"], "x":1}'),
        (
            b'{"specversion":"1.0","id":"eve","data":{"note":"eve left"}}',
            b'{"specversion":"1.0","id":"eve","data":{"note":"*** left"}}',
        ),
        (b"\xff eve {", None),
        (b"\xff bob {", b"\xff bob {"),
        (b'{"eve', None),
    ],
)
def test_what_a_message_says_without_him(before: bytes, after: bytes | None) -> None:
    """The same bytes where he is not named; nothing where nothing is left, or nobody can tell."""
    assert without(before, ["eve"]) == after
    record = Record("t", 0, 1, b"k", before, (("h", b"1"),))
    expected = None if after is None else msgspec.structs.replace(record, value=after)
    assert record_without(record, ["eve"]) == expected


LISTED = {"participants": ["gp-alex"], "continues": "966_earlier"}
SHAPES: list[tuple[str, dict[str, Any]]] = [
    *DATA.items(),
    (OPENED, OPENED_DATA | LISTED),
    (OPENED, OPENED_DATA | LISTED | {"choose": None}),
    (OPENED, OPENED_DATA | LISTED | {"choose": "everyone"}),
    (OPENED, OPENED_DATA | {"participants": ["gp-alex"]}),
    *(
        (kind, data)
        for kind in (COMPLETED, ADDED)
        for data in (
            {"members": ["gp-a", "gp-b"]},
            {"members": ["gp-a"], "openids": ["o-b"]},
            {"members": ["gp-a"], "openids": None},
            {"openids": ["o-b"], "note": "x", "revision": 2},
            {"members": ["gp-a"], "more": {"members": ["gp-b"]}},
        )
    ),
]


@pytest.mark.parametrize(("kind", "data"), SHAPES)
def test_a_valid_event_without_one_of_its_people_is_valid_or_nothing(kind: str, data: dict[str, Any]) -> None:
    """In both modes, and packed. It is nothing only where it named nobody else, and an `opened` that listed
    this person alone does not take over everybody whom an earlier card lists."""
    for name in set(re.findall(r"(?:gp|o)-\w+", repr(data))):
        records = [
            Record("t", 0, 1, b"k", value_of(kind, data)),
            Record("t", 0, 1, b"k", msgspec.json.encode(data), tuple(binary(kind))),
            Record("t", 0, 1, b"k", packed(kind, data)),
        ]
        for record in records:
            before, left = decode(record.value, record.headers), record_without(record, [name])
            assert isinstance(before, Event)
            kept = None if left is None else decode(left.value, left.headers)
            assert not isinstance(kept, Dead), kept
            assert people(kept) == people(before) - {name}
            assert kept is None or name not in repr(kept.data)
            if isinstance(before.data, Opened) and before.data.continues and before.data.choose == "listed":
                assert (kept is None) == (name == "gp-alex")


def packed(kind: str, data: dict[str, Any]) -> bytes:
    """The event with its data in base64."""
    return value_of(kind, LEFT_OUT, data_base64=base64.b64encode(msgspec.json.encode(data)).decode())


def test_packed_data_that_does_not_name_him_stays_as_it_is() -> None:
    """Where it is no base64, nobody can read it, and it does not name him either."""
    text = packed(COMPLETED, {"members": ["bob"]})
    assert without(text, ["eve"]) is text
    unreadable = b'{"specversion":"1.0","data_base64":"=%s"}'
    assert without(unreadable % b"eve", ["eve"]) == unreadable % b"***"


def people(event: Event | None) -> set[str]:
    """Whom it names as members, by either name."""
    data = event and event.data
    return {*data.members, *data.openids} if isinstance(data, Completed | Added) else set()


@pytest.mark.parametrize("name", ["eve", "o-eve"])
async def test_the_other_one_of_a_parked_event_waits_or_is_done(scene: Scene, name: str) -> None:
    """Whichever of the two lists is empty now, the event counts when its activity is opened."""
    both: dict[str, Any] = {"members": ["bob"], "openids": ["o-eve"]}
    if name == "eve":
        both = {"members": ["eve"], "openids": ["o-dan"]}
    await scene.feed(scene.event("participant.completed", "a", **both))
    assert (await forget(scene.store, [name], ACT)).counts["parked"] == 1
    await scene.open("a", **ROOM)
    async with scene.store.transaction() as tx:
        waiting = [each.openid for each in await tx.unbound(["a"])]
    assert (await scene.owed("a"), waiting) == (([], ["o-dan"]) if name == "eve" else (["bob"], []))
    assert "events.dead" not in await scene.counters()


async def test_an_opened_that_listed_him_alone_is_refused_and_lists_nobody_else(scene: Scene) -> None:
    """It continues a card whose members are not those that it named."""
    await scene.feed(scene.opened("b", choose="listed", participants=["eve"], continues="a"))
    assert (await forget(scene.store, ["eve"], ACT)).counts["parked"] == 1
    await scene.open("a", choose="listed", participants=["bob", "cid"])
    async with scene.store.transaction() as tx:
        assert await tx.all_members(["b"]) == []
    assert (await scene.counters())["events.refused"] == 1


def test_what_stands_beside_the_value_does_not_name_him() -> None:
    """Key and headers, but for those that say which event it is."""
    headers = (("livecard-error", b"eve: steve \xff"), ("ce_id", b"eve"), ("h", None))
    left = record_without(Record("t", 0, 1, b"eve", None, headers), ["eve"])
    kept = (("livecard-error", b"***: steve \xff"), ("ce_id", b"eve"), ("h", None))
    assert left == Record("t", 0, 1, b"***", None, kept)
