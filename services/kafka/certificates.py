"""TLS contexts that follow their files: a certificate renewed on disk counts from the next connection on.

aiokafka keeps the context that it is given for as long as a client lives. So each of its connections asks
here for the latest one (`services.kafka.patches.bootstrap`).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

import structlog

from services.runtime.ports import SELDOM
from services.runtime.secret_file import signature
from services.runtime.tls import Files, TlsError, client_context

LOG = structlog.get_logger("livecard.bus")

Signatures = tuple[tuple[int, ...] | None, ...]


class _Source:
    """Where a context comes from: its files, what they were when they were last read, and that reading, once
    there was a second one."""

    def __init__(self, files: Files) -> None:
        self.files, self.seen = files, _signatures(files)
        self.latest: ssl.SSLContext | None = None


_SOURCES: Final[WeakKeyDictionary[ssl.SSLContext, _Source]] = WeakKeyDictionary()


def renewable(files: Files) -> ssl.SSLContext:
    """The context of these files, of which `latest` knows. Raises `TlsError`."""
    source = _Source(files)
    _SOURCES[context := client_context(files)] = source
    return context


def latest(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """This context, or one made of its files as they are now; where these are of no use, half renewed say,
    the one before, with a warning."""
    source = _SOURCES.get(context) if context is not None else None
    if source is None:
        return context
    if (seen := _signatures(source.files)) != source.seen:
        try:
            source.latest = client_context(source.files)
            source.seen = seen
        except TlsError as error:
            LOG.warning(
                "files of TLS cannot be used; those of before still are", error=str(error), every=SELDOM
            )
    return source.latest or context


def _signatures(files: Files) -> Signatures:
    paths = (files.authorities, files.certificate, files.key)
    return tuple(signature(Path(each)) for each in paths if each)
