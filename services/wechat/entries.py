"""What the apps file says of one mini program: where its token comes from, and its secret if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from services.runtime.error_text import Explained
from services.runtime.secret_file import SecretFileError, SecretText
from services.runtime.settings import Secret


class AppEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One app. With `token_url` or `cloudbase_token_file` the token comes from there and a secret is not
    needed; else from `stable_token`, by the secret."""

    secret: str = ""
    secret_file: str = ""
    token_url: str = ""
    """A company's own token service: what a GET of it answers (docs/wechat.md)."""
    token_key: str = ""
    token_key_file: str = ""
    """The service's own credential, sent as `Authorization: Bearer …`."""
    token_ca: str = ""
    """PEM file of who may sign the service's certificate; empty: the public list."""
    cloudbase_token_file: str = ""
    """The file in which WeChat's cloud hosting keeps a token (wechat-api.md §9)."""

    def __repr__(self) -> str:
        return "AppEntry(…)"


Entries = Mapping[str, str | AppEntry]
"""The apps file: an app's secret, or more about it."""

FIELDS: Final = ", ".join(AppEntry.__struct_fields__)


class AppsError(Explained):
    """The apps cannot be read; the text says what to do and names no secret."""


class SecretsError(AppsError):
    """A file of a secret that the apps file names cannot be used."""


class App:
    """One app with the secrets that its entry names, which are read again when their files change."""

    def __init__(self, appid: str, given: str | AppEntry) -> None:
        """Raises `SecretsError` for a file that cannot be used."""
        entry = AppEntry(secret=given) if isinstance(given, str) else given
        hidden = {name: Secret(getattr(entry, name)) for name in ("secret", "token_key", "token_url")}
        self.entry = entry = msgspec.structs.replace(entry, **hidden)
        try:
            self._secret = SecretText(entry.secret, entry.secret_file, f"secret_file of {appid}")
            self._key = SecretText(entry.token_key, entry.token_key_file, f"token_key_file of {appid}")
        except SecretFileError as error:
            raise SecretsError(str(error)) from None

    def __repr__(self) -> str:
        return "App(…)"

    @property
    def secret(self) -> Secret | None:
        """The mini program's secret, None where somebody else keeps it."""
        return self._secret.value() or None

    @property
    def token_key(self) -> Secret:
        """The credential for the token service, empty where it asks for none."""
        return self._key.value()

    def state(self) -> tuple[AppEntry, Secret | None, Secret]:
        """What it is now: it differs where the app was given something else."""
        return self.entry, self.secret, self.token_key


def faults(appid: str, given: str | AppEntry) -> list[str]:
    """What is wrong with one app, in words that quote no value."""
    if isinstance(given, str):
        if not (appid and given):
            return ["the app id and the secret must not be empty"]
        given = AppEntry(secret=given)
    found = [] if appid else ["the app id must not be empty"]
    sources = [name for name in ("token_url", "cloudbase_token_file") if getattr(given, name)]
    if len(sources) > 1:
        found.append("token_url and cloudbase_token_file are both set: a token comes from one place")
    if not sources and not given.secret and not given.secret_file:
        found.append("no secret, secret_file, token_url or cloudbase_token_file says where its token is from")
    found += [
        f"{text} and {text}_file are both set: set one of them"
        for text in ("secret", "token_key")
        if getattr(given, text) and getattr(given, f"{text}_file")
    ]
    found += [
        f"{text} holds a character that cannot be seen, such as the end of a line"
        for text in ("secret", "token_key")
        if not getattr(given, text).isprintable()
    ]
    if not given.token_url:
        found += [
            f"{name} is of no use without token_url"
            for name in ("token_key", "token_key_file", "token_ca")
            if getattr(given, name)
        ]
    elif fault := _url_fault(given):
        found.append(fault)
    return found


def _url_fault(given: AppEntry) -> str:
    try:
        parts = urlsplit(given.token_url)
        odd = parts.fragment or parts.port == 0 or " " in given.token_url
    except ValueError:
        parts, odd = urlsplit(""), True
    if odd or parts.scheme not in ("http", "https") or not parts.hostname:
        return "token_url is no URL: write https://HOST/PATH"
    if "@" in parts.netloc:
        return "token_url holds a user or a password, which livecard does not send: use token_key_file"
    if given.token_ca and parts.scheme != "https":
        return "token_ca is set, but no certificate is checked where token_url begins with http://"
    return ""
