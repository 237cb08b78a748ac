"""Whole HTTP answers as no honest WeChat gives them, as bytes on the wire."""

from __future__ import annotations

import gzip
import json
import random
from typing import Final

import msgspec

OK: Final = b'{"errcode":0,"errmsg":"ok"}'
BOMB: Final = gzip.compress(b"0" * (8 << 20))
BODIES: Final = (
    b"",
    b"<html><body>502</body></html>",
    b"[0]",
    b"null",
    b"0",
    b"{}",
    b'{"errcode":"0"}',
    b'{"errcode":0.5}',
    b'{"errcode":true}',
    b'{"errcode":null}',
    b'{"errcode":99999999999999999999999}',
    b'{"errcode":9223372036854775807}',
    b'{"errcode":NaN}',
    b'{"errcode":0',
    b"\xef\xbb\xbf" + OK,
    b"\xff\xfe" + OK,
    b'{"errcode":0,"errmsg":"\xff\xc3"}',
    b'{"errcode":0,"errcode":47501}',
    b'{"errcode":47501,"errcode":"x"}',
    b'{"errcode":-7654321,"errmsg":"never seen"}',
    b'{"errcode":40001,"errmsg":["rid: 1"]}',
    b'{"a":' * 5_000,
    b"[" * 50_000,
    b'{"access_token":"","expires_in":7200}',
    b'{"access_token":7,"expires_in":7200}',
    b'{"access_token":"t","expires_in":-1}',
    b'{"activity_id":"","expiration_time":1}',
    b'{"activity_id":"a","expiration_time":"soon"}',
    b'{"activity_id":"a","expiration_time":1e999}',
    OK,
)
STATUSES: Final = (200, 200, 200, 201, 204, 206, 301, 302, 307, 400, 403, 404, 412, 429, 500, 503, 599)
WAYS: Final = (
    "whole", "whole", "half", "reset", "bomb", "much", "chunks", "bad chunk", "flood", "early", "noise",
)  # fmt: skip


class Lie(msgspec.Struct, frozen=True):
    """What goes out on the wire, and whether the connection is then reset instead of closed."""

    way: str
    status: int
    body: bytes
    wire: bytes
    reset: bool = False


def lie(chance: random.Random, elsewhere: str) -> Lie:
    """One answer; `elsewhere` is where a redirect points to."""
    way, status = chance.choice(WAYS), chance.choice(STATUSES)
    body = chance.choice((OK, chance.choice(BODIES), chance.choice(BODIES)))
    head = f"HTTP/1.1 {status} Odd\r\nConnection: close\r\n".encode()
    head += b"Content-Type: " + chance.choice([b"text/html", b"application/json", b"x\xff/y"]) + b"\r\n"
    if 300 <= status < 400:
        head += f"Location: {elsewhere}\r\n".encode()
    if way == "reset":
        whole = head + _long(body)
        return Lie(way, status, body, whole[: chance.randrange(len(whole))], reset=True)
    return Lie(way, status, body, _WIRES[way](head, body, chance) if way in _WIRES else head + _long(body))


def _long(body: bytes, more: int = 0) -> bytes:
    return f"Content-Length: {len(body) + more}\r\n\r\n".encode() + body


def _chunked(body: bytes, size: bytes) -> bytes:
    return b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n" + body + b"\r\n0\r\n\r\n"


_WIRES: Final = {
    "half": lambda head, body, chance: head + _long(body, chance.randrange(1, 500)),
    "bomb": lambda head, body, chance: head + b"Content-Encoding: gzip\r\n" + _long(BOMB),
    "much": lambda head, body, chance: head + _long(b" " * (1 << 20) + body),
    "chunks": lambda head, body, chance: head + _chunked(body, f"{len(body):x}".encode()) if body else head,
    "bad chunk": lambda head, body, chance: head + _chunked(body, b"zz"),
    "flood": lambda head, body, chance: head + b"X-A: b\r\n" * chance.choice([90, 20_000]) + _long(body),
    "early": lambda head, body, chance: b"HTTP/1.1 103 Early\r\n\r\n" + head + _long(body),
    "noise": lambda head, body, chance: chance.randbytes(chance.randrange(1, 300)) + b"\r\n\r\n",
}


def is_refusal(told: Lie) -> bool:
    """Whether a JSON reader of its own finds an errcode other than 0 in the body."""
    try:
        said = json.loads(told.body)
    except (ValueError, RecursionError):
        return False
    code = said.get("errcode") if isinstance(said, dict) else None
    return type(code) is int and code != 0
