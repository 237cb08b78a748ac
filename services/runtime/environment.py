"""The environment becomes `Settings`: read, checked, and all its mistakes in one message."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final, get_args
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from contracts.topics import Topics
from services.runtime.addresses import bases, brokers
from services.runtime.settings import (
    HINTS,
    PREFIX,
    Described,
    Settings,
    SettingsError,
    choices,
    decimal,
    describe,
    is_secret,
)


class Mistake(msgspec.Struct, frozen=True):
    """One thing that is wrong. `given`: the value that is no value at all, fit to be shown."""

    text: str
    variables: tuple[str, ...]
    given: str | None = None


class Read(msgspec.Struct, frozen=True):
    """What stands in the environment: settings, by default where they are wrong, and every mistake."""

    settings: Settings
    mistakes: tuple[Mistake, ...]
    variables: frozenset[str]
    """Those that are set."""

    def report(self) -> str:
        """Every mistake, one a line; empty when there is none."""
        return "\n".join(each.text for each in self.mistakes)

    def described(self) -> list[Described]:
        """Every setting, with what is wrong about it where it is set."""
        return [self._judged(row) for row in describe(self.settings)]

    def _judged(self, row: Described) -> Described:
        mistakes = [each for each in self.mistakes if row.variable in each.variables]
        if not mistakes or row.variable not in self.variables:
            return row
        value = next((each.given for each in mistakes if each.given is not None), row.value)
        return msgspec.structs.replace(row, value=value, wrong="; ".join(each.text for each in mistakes))


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings out of `environ`. Raises `SettingsError` naming every mistake."""
    found = read(environ)
    if found.mistakes:
        raise SettingsError(f"{found.report()}\n`livecard settings` lists every setting with its unit.")
    return found.settings


def read(environ: Mapping[str, str] = os.environ) -> Read:
    """The settings as far as they can be read; never raises."""
    given = {name: text.strip() for name, text in environ.items() if name.startswith(PREFIX) and text.strip()}
    values: dict[str, Any] = {}
    mistakes = [_unknown(name) for name, text in sorted(environ.items()) if _is_unknown(name, text)]
    for name in Settings.__struct_fields__:
        variable = PREFIX + name.upper()
        if variable not in given:
            continue
        try:
            values[name] = msgspec.convert(given[variable], HINTS[name], strict=False)
        except msgspec.ValidationError:
            mistakes.append(_unreadable(name, given[variable]))
    settings = Settings(**values)
    unread = {variable for each in mistakes for variable in each.variables}
    contradictions = [Mistake(text, tuple(_NAME.findall(text))) for text in _contradictions(settings)]
    mistakes += [each for each in contradictions if not unread & set(each.variables)]
    return Read(settings, tuple(mistakes), frozenset(given))


_NAME: Final = re.compile(f"{PREFIX}[A-Z_]+")
_OTHERS: Final = frozenset({"TEST_KAFKA", "TEST_POSTGRES", "REQUIRE_ENGINES"})
"""Variables of the project's own tests, which no service reads."""


_SERVICE_LINK: Final = re.compile(
    rf"""
    {PREFIX}(\w+_)?(
      SERVICE_HOST=[0-9a-f.:]+
    | SERVICE_PORT(_\w+)?=\d+
    | PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://.+
    | PORT_\d+_(TCP|UDP|SCTP)_(PROTO=\w+|PORT=\d+|ADDR=[0-9a-f.:]+)
    )""",
    re.VERBOSE | re.ASCII,
)
"""What Kubernetes tells every container about each Service whose name begins with livecard."""


def _is_unknown(variable: str, text: str) -> bool:
    name = variable.removeprefix(PREFIX)
    known = name in _OTHERS or name.lower() in HINTS
    return variable.startswith(PREFIX) and not known and not _SERVICE_LINK.fullmatch(f"{variable}={text}")


def _unknown(variable: str) -> Mistake:
    import difflib

    near = difflib.get_close_matches(variable, [PREFIX + name.upper() for name in HINTS], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return Mistake(f"{variable}: no such setting{hint}", (variable,))


def _unreadable(name: str, text: str) -> Mistake:
    variable, secret = PREFIX + name.upper(), is_secret(name)
    shown = "the value" if secret else repr(text[:80])
    return Mistake(
        f"{variable}: {shown} does not do: write {_would_do(name)}",
        (variable,),
        "***" if secret else text[:80],
    )


def _would_do(name: str) -> str:
    """What can be written instead."""
    if allowed := choices(name):
        return allowed
    meta = get_args(HINTS[name])[1]
    limits = [
        f"{sign} {decimal(limit)}"
        for sign, limit in ((">", meta.gt), (">=", meta.ge), ("<=", meta.le))
        if limit is not None
    ]
    what = "plain decimal seconds, such as 5 or 0.5" if meta.extra["unit"] == "seconds" else "a whole number"
    return f"{what} ({', '.join(limits)})"


def _contradictions(settings: Settings) -> list[str]:
    wrong: list[str] = []
    try:
        Topics(settings.topic_prefix)
    except ValueError as error:
        wrong.append(f"LIVECARD_TOPIC_PREFIX: {error}")
    if settings.lease <= settings.call_deadline:
        wrong.append(
            "LIVECARD_LEASE must be longer than LIVECARD_CALL_DEADLINE, or no call could ever be made"
        )
    if settings.apps and settings.apps_file:
        wrong.append("LIVECARD_APPS and LIVECARD_APPS_FILE are both set: set one of them")
    wrong += [
        f"LIVECARD_STALLED_AFTER must be longer than {PREFIX}{name.upper()}, or a loop that rests would be "
        "taken for one that stands still"
        for name in ("sweep", "tick", "relay_poll")
        if getattr(settings, name) >= settings.stalled_after
    ]
    if settings.backoff_cap < settings.backoff:
        wrong.append("LIVECARD_BACKOFF_CAP must not be shorter than LIVECARD_BACKOFF")
    wrong += _of_kafka(settings)
    wrong += _of_wechat(settings)
    if settings.database and "://" not in settings.database:
        wrong.append("LIVECARD_DATABASE must be a URL such as postgresql+asyncpg://user@host/livecard")
    return wrong


def _of_wechat(settings: Settings) -> list[str]:
    """Base URLs that are used whole, authorities only where there is a certificate, and a proxy."""
    hosts = bases(settings.wechat)
    if not hosts or not all(map(_is_base, hosts)):
        ways = "https://api.weixin.qq.com, or http://HOST:PORT for the simulator"
        return [f"LIVECARD_WECHAT is no base URL: write {ways}"]
    wrong = []
    if any("@" in urlsplit(each).netloc for each in hosts):
        wrong.append(
            "LIVECARD_WECHAT holds a user or a password, which livecard does not send: leave out what stands "
            "before the @"
        )
    schemes = {urlsplit(each).scheme for each in hosts}
    if len(schemes) > 1:
        wrong.append(
            "LIVECARD_WECHAT names hosts with https:// and with http://, which sends tokens in the clear: "
            "write https:// for all"
        )
    elif settings.wechat_ca and schemes != {"https"}:
        wrong.append(
            "LIVECARD_WECHAT_CA is set, but no certificate is checked where LIVECARD_WECHAT begins with "
            "http://: write https://, or leave it out"
        )
    return wrong + _of_proxy(settings)


def _of_proxy(settings: Settings) -> list[str]:
    """An address, and at most one password, which belongs to a user."""
    way, file = settings.wechat_proxy, settings.wechat_proxy_password_file
    if not way:
        return ["LIVECARD_WECHAT_PROXY_PASSWORD_FILE is set without LIVECARD_WECHAT_PROXY"] if file else []
    parts = urlsplit(way) if _is_base(way) else None
    if parts is None or not _is_proxy(parts):
        ways = "http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT"
        return [f"LIVECARD_WECHAT_PROXY is no proxy: write {ways}"]
    setting = "LIVECARD_WECHAT_PROXY_PASSWORD_FILE"
    if file and not parts.username:
        return [f"{setting}: write the user as LIVECARD_WECHAT_PROXY=http://USER@HOST:PORT"]
    if file and parts.password:
        return [f"LIVECARD_WECHAT_PROXY holds a password, and {setting} is set: leave one out"]
    return []


def _is_proxy(parts: SplitResult) -> bool:
    user = unquote(parts.username or "")
    whose = bool(user) or not parts.password
    return parts.scheme == "http" and parts.path in ("", "/") and ":" not in user and whose


def _is_base(url: str) -> bool:
    """Whether paths can be put behind it."""
    try:
        parts = urlsplit(url)
        odd = parts.query or parts.fragment or parts.port == 0 or " " in url
    except ValueError:  # a port that is no number
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not odd


def _of_kafka(settings: Settings) -> list[str]:
    """What is asked for is complete, and nothing is given that would not be used."""
    security = settings.kafka_security
    asked = security.split("_")
    wrong = []
    if settings.kafka:
        try:
            brokers(settings.kafka)
        except ValueError as error:
            wrong.append(str(error))
    names = ["kafka_sasl_mechanism", "kafka_sasl_plain_username", "kafka_sasl_plain_password"]
    if settings.kafka_sasl_plain_password_file:
        if settings.kafka_sasl_plain_password:
            setting = "LIVECARD_KAFKA_SASL_PLAIN_PASSWORD"
            wrong.append(f"{setting} and {setting}_FILE are both set: set one of them")
        names[2] += "_file"
    for name in names:
        if "SASL" in asked and not getattr(settings, name):
            wrong.append(
                f"LIVECARD_KAFKA_SECURITY={security} asks for a user: set {PREFIX}{name.upper()} too"
            )
        if "SASL" not in asked and getattr(settings, name):
            wrong.append(_unused(name, security, "SASL_SSL"))
    if "SSL" not in asked:
        files = ("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile")
        better = "SASL_SSL" if "SASL" in asked else "SSL"
        wrong += [_unused(name, security, better) for name in files if getattr(settings, name)]
    if settings.kafka_ssl_keyfile and not settings.kafka_ssl_certfile:
        wrong.append("LIVECARD_KAFKA_SSL_KEYFILE is set without LIVECARD_KAFKA_SSL_CERTFILE")
    return wrong


def _unused(name: str, security: str, better: str) -> str:
    return (
        f"{PREFIX}{name.upper()} is set, but LIVECARD_KAFKA_SECURITY={security} does not use it: "
        f"set LIVECARD_KAFKA_SECURITY={better}, or leave it out"
    )
