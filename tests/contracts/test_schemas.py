"""The published schemas accept exactly what the decoder accepts; `jsonschema` judges, not ours."""

from __future__ import annotations

import base64
import json
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, validators
from referencing import Registry, Resource

from contracts import generate, schemas
from contracts.decode import decode
from contracts.events import CLOSED, COMPLETED, OPENED, RESCHEDULED, Event
from contracts.times import parse_rfc3339
from contracts.wire import Time
from tests.contracts.refusals import REFUSALS
from tests.contracts.samples import DATA, LEFT_OUT, OPENED_DATA, event


def _content(validator: Any, schema: Any, packed: Any, _: Any) -> Any:
    """`contentSchema` as an assertion: drafts leave it to the application whether to look into base64."""
    try:
        held = json.loads(base64.b64decode(packed, validate=True).decode())
    except ValueError:
        yield jsonschema.ValidationError("not JSON in base64")
    else:
        yield from validator.descend(held, schema)


Deep: Any = validators.extend(
    Draft202012Validator,
    {"contentSchema": lambda v, s, i, p: _content(v, s, i, p) if isinstance(i, str) else ()},
)


@cache
def _validator(type_name: str) -> Any:
    return Deep(schemas.json_schema(type_name))


def agreed(value: dict[str, Any]) -> bool:
    """What decoder and schema both say about an event; they must say the same."""
    read = decode(json.dumps(value).encode())
    errors = [error.message for error in _validator(value["type"]).iter_errors(value)]
    assert isinstance(read, Event) == (not errors), (read, errors)
    return not errors


# A step beyond the contract is as likely as a step within it.
CHARACTERS = st.characters(codec="utf-8")
TEXTS = st.text(CHARACTERS, max_size=5) | st.sampled_from(
    [
        "",
        "a\n",
        "\n",
        "a\u2028",
        "\x85",
        "\x7f",
        "\x00",
        "x" * 128,
        "x" * 129,
        "报" * 128,
        "👩" * 129,
        "a\u0085",
    ]
)
YEARS = st.sampled_from(["1999", "2000", "2024", "2026", "2099", "2100", "2101", "２０２６", "026"])
TWO = st.integers(0, 60).map("{:02}".format) | st.sampled_from(["1", "99", "+1", " 1"])
DAYS = st.sampled_from(["01-01", "02-28", "02-29", "02-30", "04-31", "12-31", "13-01", "00-10", "11-00"])
ZONES = st.sampled_from(
    [
        "Z",
        "z",
        "",
        "+08:00",
        "-00:00",
        "+23:59",
        "-24:00",
        "+24:01",
        "+0800",
        "+08",
        "+08:60",
        "Z\n",
        "Z ",
        "Z\u2028",
    ]
)
FRACTIONS = st.sampled_from(["", ".5", ".123456789", ".", ",5", "." + "0" * 44, "." + "0" * 43, ".٣"])
TIMES = st.builds(
    "{}-{}{}{}:{}:{}{}{}".format,
    YEARS,
    DAYS,
    st.sampled_from(["T", "T", "T", "t", " ", ""]),
    TWO,
    TWO,
    TWO,
    FRACTIONS,
    ZONES,
) | (st.datetimes().map(datetime.isoformat) | st.just("2026-11-21T08:00:00")).flatmap(
    lambda local: ZONES.map(local.__add__)
)
NUMBERS = (
    st.sampled_from(
        [0, -0.0, 3600.0, 3600.5, 604_800, 604_800.0, 604_801, 604_801.0, -1, -1e-9, 1e300, 10**30]
    )
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), NUMBERS, TEXTS, TIMES, st.just([]), st.just({}), st.just('{"members": ["a"]}')
)
IDS = st.lists(TEXTS | ODD, max_size=3) | st.sampled_from([["a"] * 500, ["a"] * 501, ["a", "a"], {}])
ROOMS = st.dictionaries(st.sampled_from(["opengid", "open_single_roomid", "opengId"]), TEXTS | st.none())
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "expires_at": TIMES,
    "deadline": TIMES,
    "notice": NUMBERS,
    "participants": IDS,
    "members": IDS,
    "openids": IDS,
    "room": ROOMS,
    "version": st.sampled_from(["release", "trial", "develop", "beta"]),
    "choose": st.sampled_from(["listed", "everyone", "some"]),
    "title": st.sampled_from(["x" * 1_000, "x" * 1_001, "\n", "\x00\n"]),
    "note": st.sampled_from(["x" * 4_000, "x" * 4_001, "\n", "\x00\n"]),
}
PACKED = st.binary(max_size=4).map(lambda raw: base64.b64encode(raw).decode()) | st.sampled_from(
    ["", "bnVsbA==", "bnVsbA=", "bnVsbB==", "e30=", "e30=\n", "e30", "e3 0=", "4pyT", "_w=="]
)


@st.composite
def _data(draw: st.DrawFn, type_name: str) -> Any:
    """Right data, and some of its fields left out or something else."""
    if draw(st.integers(0, 19)) == 0:
        return draw(ODD)
    fields = {**OPENED_DATA, **DATA[type_name]} if type_name == OPENED else {**DATA[type_name]}
    for name in draw(st.lists(st.sampled_from(sorted({*fields, "particpants", "openids"})), max_size=2)):
        other = draw(FIELDS.get(name, TEXTS) | ODD | st.just(LEFT_OUT))
        fields[name] = other
    return {name: each for name, each in fields.items() if each is not LEFT_OUT}


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Events of our types in structured mode, most of them nearly right."""
    type_name = draw(st.sampled_from(sorted(DATA)))
    data = draw(_data(type_name))
    value = event(type_name, data)
    how = draw(st.integers(0, 9))
    if how == 0:
        packed = base64.b64encode(json.dumps(data).encode()).decode()
        value |= {"data_base64": packed, "data": None}
        if draw(st.booleans()):
            del value["data"]
    elif how == 1:
        value["data_base64"] = draw(PACKED | ODD)
        if draw(st.booleans()):
            del value["data"]
    elif how == 2:
        name = draw(
            st.sampled_from(["specversion", "id", "source", "subject", "time", "data", "datacontenttype"])
        )
        value[name] = draw((TIMES if name == "time" else TEXTS) | ODD)
    elif how == 3:
        del value[draw(st.sampled_from(["specversion", "id", "source", "subject", "time", "data"]))]
    return value


@settings(max_examples=1_000, deadline=None)
@given(events())
@example(event(OPENED, {**OPENED_DATA, "notice": 3600.0}))
@example(event(RESCHEDULED, {}))
@example(event(COMPLETED, {"members": ["a\n"]}))
@example(event(COMPLETED, {"openids": ["o"]}))
@example(event(COMPLETED, {"members": None, "openids": ["o"]}))
@example(event(CLOSED, None, data_base64="e30="))
@example(event(CLOSED, LEFT_OUT, data_base64=""))
def test_a_schema_accepts_what_the_decoder_accepts_and_nothing_else(value: dict[str, Any]) -> None:
    agreed(value)


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (event(OPENED, {**OPENED_DATA, "notice": 3600.0}), True),
        (event(OPENED, {**OPENED_DATA, "notice": 0.5}), False),
        (event(RESCHEDULED, {"deadline": None}), True),
        (event(RESCHEDULED, {"notice": 60}), False),
        (event(RESCHEDULED, {"deadline": "2000-01-01T00:00:00+08:00"}), True),
        (event(RESCHEDULED, {"deadline": "2101-01-01T00:00:00+08:00"}), False),
        (event(COMPLETED, LEFT_OUT, data_base64="eyJtZW1iZXJzIjogWyJhIl19"), True),
        (event(COMPLETED, None, data_base64="eyJtZW1iZXJzIjogWyJhIl19"), True),
        (event(COMPLETED, data_base64=None), True),
        (event(COMPLETED, data_base64="eyJtZW1iZXJzIjogWyJhIl19"), False),
        (event(COMPLETED, LEFT_OUT, data_base64="e30="), False),
        (event(CLOSED, LEFT_OUT), True),
        (event(CLOSED, LEFT_OUT, data_base64="bnVsbA=="), True),
    ],
)
def test_both_say_the_same_of_what_they_once_differed_about(value: dict[str, Any], right: bool) -> None:
    assert agreed(value) == right


@pytest.mark.parametrize(("type_name", "data", "error"), REFUSALS)
def test_what_the_decoder_refuses_breaks_the_schema(type_name: str, data: Any, error: str) -> None:
    assert error
    assert not agreed(event(type_name, data))


@settings(max_examples=2_000, deadline=None)
@given(TIMES | TEXTS)
def test_the_pattern_of_a_time_is_the_parser(text: str) -> None:
    _same_time(text)


def test_every_day_of_a_century_exists_for_both_or_for_neither() -> None:
    """Whole months by numbers, the 29th of each February among them."""
    first, days = date(2000, 1, 1), 366 + 365 * 4
    for day in range(days):
        _same_time(f"{first + timedelta(days=day)}T00:00:00Z")
    for year in range(1999, 2102):
        for text in ("02-28", "02-29", "02-30", "12-31", "12-32"):
            _same_time(f"{year}-{text}T23:59:60Z")


_TIME = Draft202012Validator(schemas.schema_of(Time))


def _same_time(text: str) -> None:
    try:
        parse_rfc3339(text)
        read = True
    except ValueError:
        read = False
    assert _TIME.is_valid(text) == read, text


def test_all_schemas_load_together_and_each_is_found_by_its_id() -> None:
    documents = [json.loads(text) for name, text in generate.documents().items() if name != "asyncapi.json"]
    registry: Registry[Any] = Registry().with_resources(
        (document["$id"], Resource.from_contents(document)) for document in documents
    )
    assert len({document["$id"] for document in documents}) == len(documents) == 12
    for value in (event(type_name) for type_name in DATA):
        together = Draft202012Validator({"$ref": f"urn:livecard:{value['type']}"}, registry=registry)
        assert together.is_valid(value)
        assert not together.is_valid({**value, "data": 1})
