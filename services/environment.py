"""The environment becomes `Settings`: read, checked, and every mistake in it told at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.settings import HINTS, PREFIX, Settings, is_secret


class SettingsError(Exception):
    """Something in the environment is wrong; the text names each variable and what it should be."""


def load(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """The settings out of `environ`; `overrides` win. Raises `SettingsError` naming every mistake."""
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for name in Settings.__struct_fields__:
        text = environ.get(PREFIX + name.upper())
        if text is None or text.strip() == "":
            continue
        try:
            values[name] = msgspec.convert(text.strip(), HINTS[name], strict=False)
        except msgspec.ValidationError as error:
            shown = "the value" if is_secret(name) else repr(text[:80])
            wrong.append(f"{PREFIX}{name.upper()}: {shown} does not do: {error}")
    wrong += [_unknown(name) for name in sorted(environ) if _is_unknown(name)]
    settings = Settings(**{**values, **overrides}) if not wrong else Settings()
    wrong += [] if wrong else _contradictions(settings)
    if wrong:
        raise SettingsError("\n".join([*wrong, "`livecard settings` lists every setting with its unit."]))
    return settings


_OTHERS: Final = frozenset({"TEST_KAFKA", "TEST_POSTGRES", "REQUIRE_ENGINES"})
"""Variables of the project's own tests, which no service reads."""


def _is_unknown(variable: str) -> bool:
    name = variable.removeprefix(PREFIX)
    return variable.startswith(PREFIX) and name not in _OTHERS and name.lower() not in HINTS


def _unknown(variable: str) -> str:
    import difflib

    near = difflib.get_close_matches(variable, [PREFIX + name.upper() for name in HINTS], n=1)
    return f"{variable}: no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _contradictions(settings: Settings) -> list[str]:
    wrong = []
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
    if not settings.wechat.startswith(("http://", "https://")):
        wrong.append("LIVECARD_WECHAT must begin with https:// (or http:// for the simulator)")
    if settings.database and "://" not in settings.database:
        wrong.append("LIVECARD_DATABASE must be a URL such as postgresql+asyncpg://user@host/livecard")
    return wrong


def _of_kafka(settings: Settings) -> list[str]:
    """What is asked for is complete, and nothing is given that would not be used."""
    security = settings.kafka_security
    asked = security.split("_")
    wrong = []
    for name in ("kafka_sasl_mechanism", "kafka_sasl_plain_username", "kafka_sasl_plain_password"):
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
