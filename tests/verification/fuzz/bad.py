"""Records that say nothing livecard could use, and the reason that each must be told with."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from contracts.events import ADDED, CLOSED, COMPLETED, OPENED, RESCHEDULED
from services.kafka.ports import Message
from tests.contracts.refusals import REFUSALS
from tests.contracts.samples import DATA, LEFT_OUT
from tests.verification.fuzz.makings import HUGE, PARTITIONS, Headers, Ids, Makings, Planned

Bad = tuple[bytes | None, Headers, str, bool]
"""Value, headers, the reason, and whether `(source, id)` can be read nevertheless."""

ILLEGAL: Final[tuple[Any, ...]] = (
    LEFT_OUT,
    None,
    "",
    7,
    1.5,
    True,
    [],
    {},
    "x" * 129,
    "nul\x00",
    "line\n",
    "\x9f",
    "🎈" * 129,
)
"""No legal id, time, version or type, with one exception: a type may be any string."""
TIMES: Final = (
    "yesterday", "2026-11-21", "2026-11-21T08:00:00", "2026-11-21 08:00:00Z", "2026-02-30T08:00:00Z",
    "1999-12-31T23:59:59Z", "2101-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "2026-11-21T25:00:00Z", "2026-11-21T08:00:00+24:01", "２０２６-11-21T08:00:00Z", "-2026-11-21T08:00:00Z",
    "2026-11-21T08:00:00." + "0" * 60 + "Z", 1_795_248_000, 1e18,
)  # fmt: skip
TYPES: Final = (
    "livecard.activity.exploded", "livecard.activity.Opened", "livecard.activity.opened ", "opened", "*",
    "\x00", "livecard.activity.changed", "x" * 100_000, "🎈",
)  # fmt: skip
NOT_JSON: Final = (
    b"", b" ", b"x", b"{", b"}", b"{]", b'{"a"}', b"\x00", b"\xff\xfe", b"tru", b"'a'", b'{"a":01}', b"NaN",
    b"-Infinity", b'{"a":"\x01"}', b"\x1f\x8b\x08\x00", b"<xml/>", b"{}" * 2, b'{"id":"\\ud800"}', b"/**/{}",
)  # fmt: skip
NO_OBJECT: Final = (
    b"null",
    b"true",
    b"0",
    b"-1e999",
    b'"text"',
    b"[]",
    b"[{}]",
    b"{}",
    b'{"specversion":"1.0"}',
)
ATTRIBUTES: Final = ("specversion", "id", "source", "type", "subject", "time")


class BadMaker:
    """Makes one bad record of a kind; each method below is a kind."""

    def __init__(self, makings: Makings) -> None:
        self.makings, self.chance = makings, makings.chance
        self.kinds: Mapping[str, Callable[[Ids], Bad]] = {
            name.removeprefix("kind_").replace("_", " "): getattr(self, name)
            for name in sorted(dir(self))
            if name.startswith("kind_")
        }

    def make(self, kind: str, ids: Ids | None = None, partition: int | None = None) -> Planned:
        """A record of this kind, for an event of these ids."""
        ids = ids or self.makings.ids()
        value, headers, reason, readable = self.kinds[kind](ids)
        headers = [*self.makings.headers(), *headers]
        message = Message(self.makings.key("bad"), value, tuple(headers))
        where = self.chance.randrange(PARTITIONS) if partition is None else partition
        return Planned(kind, where, message, reason=reason, ids=ids if readable else None)

    def _whole(self, ids: Ids, **changed: Any) -> dict[str, Any]:
        """An event that would be good but for what is changed in it."""
        kind = changed.get("type", COMPLETED)
        data = DATA.get(kind if isinstance(kind, str) else COMPLETED, {})
        envelope = self.makings.envelope(kind, "bad", ids, self.makings.now(), data) | changed
        return {name: value for name, value in envelope.items() if value is not LEFT_OUT}

    def _structured(self, ids: Ids, reason: str, readable: bool, **changed: Any) -> Bad:
        return self.makings.json(self._whole(ids, **changed)), [], reason, readable

    def _headers(self, ids: Ids, kind: str = COMPLETED) -> dict[str, bytes | None]:
        whole = self._whole(ids, type=kind)
        return {f"ce_{name}": whole[name].encode() for name in ATTRIBUTES}

    def _deep(self) -> bytes:
        """Valid JSON that no reader should follow to its bottom."""
        levels = self.chance.choice([20_000, 30_000, 50_000, 150_000])  # Python 3.13 follows some 10,000
        before, after = self.chance.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'[{"":', b"}]")])
        levels = min(levels, HUGE // (len(before) + len(after)))
        return before * levels + b"1" + after * levels

    def kind_null(self, _: Ids) -> Bad:
        return None, [], "malformed", False

    def kind_not_json(self, _: Ids) -> Bad:
        return self.chance.choice(NOT_JSON), [], "malformed", False

    def kind_not_an_object(self, _: Ids) -> Bad:
        return self.chance.choice(NO_OBJECT), [], "malformed", False

    def kind_noise(self, _: Ids) -> Bad:
        return b"\xff" + self.chance.randbytes(self.chance.choice([1, 20, 300])), [], "malformed", False

    def kind_cut_off(self, ids: Ids) -> Bad:
        whole = msgspec.json.encode(self._whole(ids))
        return whole[: self.chance.randrange(len(whole))], [], "malformed", False

    def kind_trailing(self, ids: Ids) -> Bad:
        whole = msgspec.json.encode(self._whole(ids))
        more = self.chance.choice([b"x", b"\x00", b"{}", b",", whole])
        return whole + more, [], "malformed", False

    def kind_other_encoding(self, ids: Ids) -> Bad:
        text = msgspec.json.encode(self._whole(ids)).decode()
        return (
            text.encode(self.chance.choice(["utf-16", "utf-32", "utf-8-sig", "utf-16-be"])),
            [],
            "malformed",
            False,
        )

    def kind_too_deep(self, ids: Ids) -> Bad:
        whole, deep = msgspec.json.encode(self._whole(ids)), self._deep()
        forms = [
            deep,
            b'{"x":' + deep + b"," + whole[1:],
            whole[:-1] + b',"x":' + deep + b"}",
            deep[: len(deep) // 2],
        ]
        return self.chance.choice(forms), [], "malformed", False

    def kind_huge_noise(self, _: Ids) -> Bad:
        return b"\xfe" + self.chance.randbytes(self.chance.randint(50_000, HUGE)), [], "malformed", False

    def kind_bomb(self, _: Ids) -> Bad:
        """Small only while it travels: some megabytes, compressed."""
        return (
            self.chance.choice([b" ", b"[", b"0"]) * (self.chance.randint(21, 80) * 100_000),
            [],
            "malformed",
            False,
        )

    def kind_attribute(self, ids: Ids) -> Bad:
        name = self.chance.choice([each for each in ATTRIBUTES if each != "type"])
        found = self.chance.choice(ILLEGAL)
        return self._structured(ids, "malformed", name not in ("id", "source"), **{name: found})

    def kind_version(self, ids: Ids) -> Bad:
        found = self.chance.choice(["0.3", "1", "1.0.0", " 1.0", 1.0, ["1.0"]])
        return self._structured(ids, "malformed", True, specversion=found)

    def kind_time(self, ids: Ids) -> Bad:
        return self._structured(ids, "malformed", True, time=self.chance.choice(TIMES))

    def kind_no_type(self, ids: Ids) -> Bad:
        found = self.chance.choice([LEFT_OUT, None, "", 7, [OPENED], {}])
        return self._structured(ids, "malformed", True, type=found)

    def kind_unknown_type(self, ids: Ids) -> Bad:
        noise = {"big": self.makings.noise(0, 3_000)}
        odd: list[Any] = [None, {}, [], 7, {"members": ["a"]}, noise]
        data = self.chance.choice(odd)
        return self._structured(ids, "unknown_type", True, type=self.chance.choice(TYPES), data=data)

    def kind_invalid_data(self, ids: Ids) -> Bad:
        kind, data, _ = self.chance.choice(REFUSALS)
        return self._structured(ids, "invalid", True, type=kind, data=data)

    def kind_odd_members(self, ids: Ids) -> Bad:
        kind = self.chance.choice([COMPLETED, ADDED])
        nested: Any = "a"
        for _ in range(100):
            nested = [nested]
        members = self.chance.choice(
            [
                ["a"] * 5_000,
                [f"p{n}" for n in range(501)],
                [["a"]],
                [None],
                {"a": 1},
                [nested],
                ["a", "b\u0000"],
                [{}],
            ]
        )
        return self._structured(ids, "invalid", True, type=kind, data={"members": members})

    def kind_huge_data(self, ids: Ids) -> Bad:
        noise = self.makings.noise(50_000, HUGE)
        kind, data = self.chance.choice(
            [
                (OPENED, {**DATA[OPENED], "title": noise}),
                (CLOSED, {"note": noise}),
                (COMPLETED, {"members": [noise]}),
                (COMPLETED, {"members": noise}),
                (RESCHEDULED, {"deadline": noise}),
            ]
        )
        return self._structured(ids, "invalid", True, type=kind, data=data)

    def kind_data_not_utf8(self, ids: Ids) -> Bad:
        broken = self.chance.choice([b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\xaf"])
        whole = msgspec.json.encode(self._whole(ids, data={"members": ["?"]}))
        return whole.replace(b'["?"]', b'["' + broken + b'"]'), [], "malformed", True

    def kind_base64(self, ids: Ids) -> Bad:
        good = base64.b64encode(b'{"members":["a"]}').decode()
        if self.chance.random() < 0.2:
            return self._structured(ids, "malformed", True, data={"members": ["a"]}, data_base64=good)
        broken: list[Any] = ["", "***", good[:-1], "é", 7, [good], "ew==", "/w=="]
        return self._structured(ids, "malformed", True, data=None, data_base64=self.chance.choice(broken))

    def kind_base64_of_wrong_data(self, ids: Ids) -> Bad:
        found = self.chance.choice([b"7", b"[]", b'{"members":[]}', b"null"])
        return self._structured(ids, "invalid", True, data=None, data_base64=base64.b64encode(found).decode())

    def kind_batch(self, ids: Ids) -> Bad:
        """CloudEvents does not define batches for Kafka, so nothing in one is read."""
        value = msgspec.json.encode(self.chance.choice([[self._whole(ids)], self._whole(ids), []]))
        content_type = self.chance.choice(
            [b"application/cloudevents-batch+json", b"APPLICATION/cloudevents-batch"]
        )
        return value, [("content-type", content_type)], "malformed", False

    def kind_quoted_data(self, ids: Ids) -> Bad:
        """JSON inside a string, as it comes of encoding twice."""
        data = msgspec.json.encode(DATA[COMPLETED]).decode()
        return self._structured(ids, "invalid", True, data=data)

    def kind_reschedule_without_deadline(self, ids: Ids) -> Bad:
        found: list[dict[str, Any]] = [
            {},
            {"notice": 60},
            {"Deadline": None},
            {"deadlin": "2026-11-21T08:00:00Z"},
        ]
        return self._structured(ids, "invalid", True, type=RESCHEDULED, data=self.chance.choice(found))

    def kind_binary_attribute(self, ids: Ids) -> Bad:
        headers = self._headers(ids)
        name = self.chance.choice([*ATTRIBUTES])
        illegal = [None, b"", b"\xff\xfe", b"\xed\xa0\x80"]
        if name != "type":
            illegal += [b"nul\x00", "🎈".encode() * 129, b"x" * 100_000]
        headers[f"ce_{name}"] = self.chance.choice(illegal)
        if name != "specversion" and self.chance.random() < 0.3:
            del headers[f"ce_{name}"]
        found = [*headers.items()]
        self.chance.shuffle(found)
        return msgspec.json.encode(DATA[COMPLETED]), found, "malformed", name not in ("id", "source")

    def kind_binary_without_version(self, ids: Ids) -> Bad:
        """Then it is read as structured."""
        headers = self._headers(ids)
        del headers["ce_specversion"]
        return msgspec.json.encode(DATA[COMPLETED]), [*headers.items()], "malformed", False

    def kind_binary_not_json(self, ids: Ids) -> Bad:
        # What begins as something else than an object, or as a whole one, is told as such.
        broken = [each for each in NOT_JSON if each and each != b"{}{}"]
        value = self.chance.choice([*broken, b'{"x":' + self._deep() + b"}"])
        return value, [*self._headers(ids).items()], "malformed", True

    def kind_binary_wrong_data(self, ids: Ids) -> Bad:
        """Nothing, something else, or the whole event where its data belongs."""
        whole = msgspec.json.encode(self._whole(ids))
        value = self.chance.choice([None, b"", b"null", b"[]", b"7", b"{}", whole])
        return value, [*self._headers(ids).items()], "invalid", True

    def kind_binary_unknown_type(self, ids: Ids) -> Bad:
        value = self.chance.choice([None, b"", b"x", b"{}", b"\xff"])
        return value, [*self._headers(ids, "livecard.unheard.of").items()], "unknown_type", True

    def kind_many_headers(self, _: Ids) -> Bad:
        count = self.chance.choice([100, 1_000, 5_000])
        return b"?", [(f"h{n}", self.chance.choice([None, b"v"])) for n in range(count)], "malformed", False


RARE: Final = {
    "huge noise": 0.0005,
    "huge data": 0.0002,
    "bomb": 0.00004,
    "too deep": 0.003,
    "many headers": 0.001,
}
"""Kinds that are large, each as a part of all bad records."""
