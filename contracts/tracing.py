"""The trace that an event belongs to, as its record carries it: W3C Trace Context, as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from contracts.decode import is_binary
from contracts.records import Header

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
LONGEST: Final = 2_048
"""Characters; what is longer is no trace context of anybody's (W3C Trace Context §3.3.1.5 asks for 512)."""
_WELL_FORMED: Final = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?")


class Carried(msgspec.Struct, frozen=True):
    """What somebody wrote there; whether it is a trace context is not known yet."""

    traceparent: str
    tracestate: str = ""


class _Extension(msgspec.Struct, frozen=True):
    """CloudEvents' distributed tracing extension, whatever it holds."""

    traceparent: Any = None
    tracestate: Any = None


_EXTENSION: Final = msgspec.json.Decoder(_Extension)


def carried(value: bytes | None, headers: Sequence[Header]) -> tuple[Carried, ...]:
    """The traces that a record of `activity.events` names, the nearest first; never raises.

    The record's own headers say who sent it; CloudEvents' extension says where the event began, which may
    be the same (CloudEvents, distributed tracing extension).
    """
    extension = of_headers(headers, "ce_") if is_binary(headers) else _of_value(value)
    found = [each for each in (of_headers(headers), extension) if each is not None]
    return tuple(dict.fromkeys(found))


def of_request(headers: Iterable[tuple[bytes, bytes]]) -> Carried | None:
    """What an HTTP request is to pass on: its `traceparent`, if it has the form of one, and its `tracestate`.
    Names are in lower case, as ASGI gives them."""
    parent, states = None, []
    for name, raw in headers:
        if name == b"traceparent":
            parent = raw
        elif name == b"tracestate":
            states.append(raw)
    found = None if parent is None else _read(_text(parent), _text(b",".join(states)))
    return found if found is not None and _WELL_FORMED.fullmatch(found.traceparent) else None


def attributes(trace: Carried | None) -> dict[str, str]:
    """CloudEvents' distributed tracing extension, for an event that goes on in this trace."""
    if trace is None:
        return {}
    return {TRACEPARENT: trace.traceparent} | ({TRACESTATE: trace.tracestate} if trace.tracestate else {})


def of_headers(headers: Sequence[Header], prefix: str = "") -> Carried | None:
    """What headers carry; of a repeated one the last counts, as for Kafka's own clients."""
    given = {name: raw for name, raw in headers if name in (prefix + TRACEPARENT, prefix + TRACESTATE)}
    return _read(_text(given.get(prefix + TRACEPARENT)), _text(given.get(prefix + TRACESTATE)))


def all_of_headers(headers: Sequence[Header]) -> tuple[Carried, ...]:
    """Every trace of a nudge that stands for several: each `traceparent`, with the `tracestate` after it."""
    found: list[Carried] = []
    for name, raw in headers:
        if name == TRACEPARENT and (each := _read(_text(raw), None)) is not None:
            found.append(each)
        elif name == TRACESTATE and found and (last := _read(found[-1].traceparent, _text(raw))) is not None:
            found[-1] = last
    return tuple(found)


def _of_value(value: bytes | None) -> Carried | None:
    if value is None or b"traceparent" not in value:
        return None
    try:
        said = _EXTENSION.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _read(said.traceparent, said.tracestate)


def _text(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode("ascii")
    except UnicodeDecodeError:
        return None


def _read(traceparent: object, tracestate: object) -> Carried | None:
    if not isinstance(traceparent, str) or not 0 < len(traceparent) <= LONGEST:
        return None
    kept = isinstance(tracestate, str) and len(tracestate) <= LONGEST
    return Carried(traceparent, str(tracestate) if kept else "")
