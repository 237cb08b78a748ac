"""Reading what WeChat says, as far as it can be believed; it is kept without secrets and members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Protocol, TypeVar

import msgspec

from contracts.wechat import Verdict, rid_of, verdict_of_answer
from services.wechat.ports import Answer
from services.wechat.transport import Exchange

ERRMSG_LENGTH: Final = 500
RID_LENGTH: Final = 100
"""Characters that are kept."""
LARGEST_ERRCODE: Final = 2**31 - 1
"""What the store keeps."""

T = TypeVar("T")


class _WithStatus(Protocol):
    @property
    def errcode(self) -> int: ...


Data = TypeVar("Data", bound=_WithStatus)
"""The body of an answer that returns data."""


class _Said(msgspec.Struct, frozen=True):
    """A believable answer has an errcode of four bytes; an odd errmsg does not make it less believable."""

    errcode: Annotated[int, msgspec.Meta(ge=-LARGEST_ERRCODE, le=LARGEST_ERRCODE)]
    errmsg: object = None


# Not strict: a gateway in between may write numbers as texts, or as 0.0 (wechat-api.md §2).
_SAID: Final = msgspec.json.Decoder(_Said, strict=False)


def read(decoder: msgspec.json.Decoder[T], got: Exchange) -> T | None:
    """The body of an answer with data, None when it is unreadable. Never quotes it."""
    if got.status != 200 or got.why:
        return None
    try:
        return decoder.decode(got.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def classify(got: Exchange, *secrets: str, members: Sequence[str] = ()) -> Answer:
    """What came of a message (wechat-api.md §4, design.md §6), in words that name none of its `members`.

    Once a connection came about, `verdict_of_answer` decides. Any content type will do: WeChat sends JSON
    as text/plain.
    """
    if got.withheld:
        return Answer(None)
    if got.unsent:
        return Answer(Verdict.busy, errmsg=f"no connection: {got.why}")
    if got.status == 0:
        return Answer(Verdict.unknown, sent=True, errmsg=got.why)
    said = None if got.why else _said(got)
    verdict = verdict_of_answer(got.status, None if said is None else said.errcode)
    if said is None or verdict is Verdict.unknown:
        errmsg = got.why or f"HTTP {got.status}, an unreadable answer"
        return Answer(verdict, sent=True, errmsg=errmsg)
    errmsg, rid = errmsg_and_rid(said.errmsg, *secrets, members=members)
    return Answer(verdict, sent=True, errcode=said.errcode, errmsg=errmsg, rid=rid)


def answered(decoder: msgspec.json.Decoder[Data], got: Exchange, *secrets: str) -> Data | Answer:
    """The body of a call that returns data, or what its answer means instead. An `errcode` may be missing."""
    said = read(decoder, got)
    if said is not None and said.errcode == 0:
        return said
    answer = classify(got, *secrets)
    if answer.verdict is Verdict.ok:  # it says so, and cannot be read
        return Answer(Verdict.unknown, sent=True, errmsg="an unreadable answer")
    return answer


def errmsg_and_rid(errmsg: object, *secrets: str, members: Sequence[str] = ()) -> tuple[str, str]:
    """An `errmsg` fit to be stored and shown, and its rid: bounded, printable, without our secrets and the
    members whom it may quote."""
    text = _without(errmsg if isinstance(errmsg, str) else "", secrets)
    rid = rid_of(text) or ""
    text = _without(text, members)
    text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return text[:ERRMSG_LENGTH], rid[:RID_LENGTH]


def _without(text: str, words: Sequence[str]) -> str:
    """The longest first: one may begin with another."""
    for word in sorted((each for each in words if each and each in text), key=len, reverse=True):
        text = text.replace(word, "***")
    return text


def _said(got: Exchange) -> _Said | None:
    try:
        return _SAID.decode(got.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
