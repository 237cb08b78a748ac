"""Logging: structlog to stderr, as JSON or for the eye; no secret passes, no library floods it."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
import structlog

from contracts.times import format_rfc3339
from services.runtime.settings import Secret, Settings

_SECRET_IN_TEXT: Final = re.compile(
    r"((?:access_token|secret|appsecret|session_key|password|js_code)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',}]+",
    re.IGNORECASE,
)
"""Belt and braces: no code of ours logs these, but an exception of a library might carry an URL."""
_PASSWORD_IN_URL: Final = re.compile(r"(://[^\s:/@\"']*:)[^\s\"']+(?=@)")
"""Up to the last @ before a space or a quote: a password that was not escaped may hold one."""
_API_KEY: Final = re.compile(r"(lck_|\bbearer\s+)[\w.~+/-]{8,}=*", re.IGNORECASE)
_SIGNS: Final = ("token", "secret", "session_key", "password", "js_code", "://", "lck_", "bearer")
"""One of these is in whatever the patterns find, if case does not count. To look for them first is cheaper,
and a line for each call to WeChat is looked through."""
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_QUIET: Final = {
    "transitions": logging.WARNING,
    "faststream": logging.WARNING,
    "aiosqlite": logging.WARNING,
    "alembic": logging.WARNING,
    "sqlalchemy": logging.WARNING,  # writes statements with their values
    "asyncio": logging.WARNING,
    "aiokafka": logging.WARNING,
    "uvicorn": logging.WARNING,
}


def redact(text: str) -> str:
    """`text` with the values of anything named like a secret replaced."""
    if not _may_hold_one(text):
        return text
    text = _API_KEY.sub(r"\1***", text)
    return _PASSWORD_IN_URL.sub(r"\1***", _SECRET_IN_TEXT.sub(r"\1***", text))


def _may_hold_one(text: str) -> bool:
    folded = text.casefold()
    return any(sign in folded for sign in _SIGNS)


def _redacted(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    texts = []
    for key, value in event.items():
        if type(value) is str:
            texts.append(value)
        elif type(value) not in _PLAIN and not key.startswith("_"):  # structlog's own
            event[key] = _clean(value)
    if _may_hold_one("\n".join(texts)):
        for key, value in event.items():
            if type(value) is str:
                event[key] = redact(value)
    return event


_PLAIN: Final = frozenset({bool, int, float, type(None)})


def _clean(value: Any) -> Any:
    """The value without secrets, however deep; what is neither text nor number becomes its repr."""
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, str):
        return redact(value)
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {redact(str(name)): _clean(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(each) for each in value]
    return redact(repr(value))


class Seldom:
    """A line with `every=SECONDS` passes once in so many, and then tells how many it held back.

    For what is tried again and again while something is away: the first try tells, and the hundredth.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(
        self, _logger: object, _name: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The line, or `DropEvent`."""
        every = event.pop("every", None)
        if every is None:
            return event
        key, now = (str(event.get("logger")), str(event.get("event"))), self._monotonic()
        last, held = self._passed.get(key, (float("-inf"), 0))
        if now - last < every:
            self._passed[key] = (last, held + 1)
            raise structlog.DropEvent
        self._passed[key] = (now, 0)
        if held:
            event["more_like_it"] = held
        return event


class Lines:
    """Where our loggers write to: a whole line at a time. As with Python's own handlers, nobody's work fails
    because its line cannot be written (a full disk, a closed pipe).

    Our lines take this way and not that through Python's `logging`, which costs three times as much.
    """

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name, self._stream = name, stream

    def info(self, line: str) -> None:
        """Write it."""
        try:
            with _WRITING:
                self._stream.write(f"{line}\n")
                self._stream.flush()
        except (OSError, ValueError):
            return

    debug = warning = error = critical = info


_WRITING: Final = threading.Lock()
_ENCODER: Final = msgspec.json.Encoder(enc_hook=repr)
_ANYTHING: Final = structlog.processors.JSONRenderer(ensure_ascii=False)


def _stamped(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["timestamp"] = format_rfc3339(time.time_ns() // 1_000)
    return event


def _json(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
    try:
        return _ENCODER.encode(event).decode()
    except Exception:  # noqa: BLE001 (half of a surrogate pair, for one: a line is written all the same)
        return str(_ANYTHING(logger, name, event))


def _renderer(settings: Settings, stream: TextIO) -> Any:
    if settings.log == "json" or (settings.log == "auto" and not stream.isatty()):
        return _json
    # Its own tracebacks would show the local variables.
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _for_people(_logger: object, _name: str, event: MutableMapping[str, Any]) -> str:
    """A line of a command: what is said, and about what."""
    said = event.pop("event")
    about = ", ".join(f"{key}={value}" for key, value in event.items() if key not in _FOR_MACHINES)
    return f"livecard: {said}" + (f" ({about})" if about else "")


_FOR_MACHINES: Final = ("level", "logger", "timestamp")


def configure(settings: Settings, *, command: bool = False) -> None:
    """Route structlog and the standard library's loggers to stderr in one form.

    A command (not a service) says itself what it comes to. So nothing is logged below a warning of ours, and
    that is a line for people; with LIVECARD_LOG_LEVEL=debug it logs as services do.
    """
    command = command and settings.log_level != "debug"
    level = max(logging.WARNING, _LEVELS[settings.log_level]) if command else _LEVELS[settings.log_level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _stamped,
        structlog.processors.format_exc_info,
        _redacted,
    ]
    if sys.stderr is None:  # whoever started us closed it
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (for good)
    stream = sys.stderr
    renderer = _for_people if command else _renderer(settings, stream)
    structlog.configure(
        processors=[structlog.stdlib.add_logger_name, Seldom(), *shared, renderer],
        logger_factory=lambda name="livecard": Lines(name, stream),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    if command:
        handler.setLevel(logging.WARNING)
        handler.addFilter(logging.Filter("livecard"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[settings.log_level])
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, root.level))
