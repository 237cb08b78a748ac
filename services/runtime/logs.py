"""Logging: structlog to stderr, as JSON or for the eye; no secret passes, no library floods it."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

import structlog

from services.runtime.settings import Settings

_SECRET_IN_TEXT: Final = re.compile(
    r"((?:access_token|secret|appsecret|session_key|password|js_code)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',}]+",
    re.IGNORECASE,
)
"""Belt and braces: no code of ours logs these, but an exception of a library might carry an URL."""
_PASSWORD_IN_URL: Final = re.compile(r"(://[^\s:/@\"']*:)[^\s\"']+(?=@)")
"""Up to the last @ before a space or a quote: a password that was not escaped may hold one."""
_API_KEY: Final = re.compile(r"(lck_|\bbearer\s+)[\w.~+/-]{8,}=*", re.IGNORECASE)
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
    text = _API_KEY.sub(r"\1***", text)
    return _PASSWORD_IN_URL.sub(r"\1***", _SECRET_IN_TEXT.sub(r"\1***", text))


def _redacted(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if not key.startswith("_"):  # structlog's own
            event[key] = _clean(value)
    return event


def _clean(value: Any) -> Any:
    """The value without secrets, however deep; what is neither text nor number becomes its repr."""
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | int | float):
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


def _renderer(settings: Settings) -> Any:
    if settings.log == "json" or (settings.log == "auto" and not sys.stderr.isatty()):
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    # Its own tracebacks would show the local variables.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
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
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redacted,
    ]
    renderer = _for_people if command else _renderer(settings)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            Seldom(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    if command:
        handler.setLevel(logging.WARNING)
        handler.addFilter(logging.Filter("livecard"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, root.level))
