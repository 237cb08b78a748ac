"""The mini programs' secrets: out of LIVECARD_APPS or LIVECARD_APPS_FILE, re-read on change."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

import msgspec
import structlog

from services.runtime.secret_file import SecretFileError, read_secret, signature
from services.runtime.settings import Secret, Settings

LOG = structlog.get_logger("livecard.wechat")

_DECODER = msgspec.json.Decoder(dict[str, str])


class AppsError(Exception):
    """The apps cannot be read; the text says what to do and names no secret."""


class AppBook:
    """Implements `services.wechat.ports.Apps`, and hands secrets to the token keeper."""

    def __init__(self, secrets: dict[str, str], path: Path | None = None) -> None:
        self._secrets = {appid: Secret(secret) for appid, secret in secrets.items()}
        self._path = path
        self._seen = signature(path) if path else None

    @classmethod
    def load(cls, settings: Settings) -> AppBook:
        """Read what the settings name. Raises `AppsError`; no apps at all is no error."""
        if settings.apps_file:
            path = Path(settings.apps_file)
            return cls(_read(path), path)
        if settings.apps:
            return cls(_parse(settings.apps.encode(), "LIVECARD_APPS"))
        return cls({})

    def __repr__(self) -> str:
        return f"AppBook({self.appids()})"

    def names(self, appid: str) -> bool:
        """Whether this app is known."""
        return appid in self._secrets

    def appids(self) -> list[str]:
        """All, sorted."""
        return sorted(self._secrets)

    def secret(self, appid: str) -> Secret | None:
        """The secret of one app, None when it is not known."""
        return self._secrets.get(appid)

    def secrets(self) -> dict[str, str]:
        """Every secret: for the simulator, which plays the platform that knows them."""
        return dict(self._secrets)

    def refresh(self) -> set[str]:
        """Read the file again if it changed; a broken one leaves what was known, and is told once."""
        if self._path is None or (seen := signature(self._path)) == self._seen:
            return set()
        self._seen = seen
        try:
            fresh = {appid: Secret(secret) for appid, secret in _read(self._path).items()}
        except AppsError as error:
            LOG.warning("the apps file cannot be used; what was known stays", error=str(error))
            return set()
        renewed = {appid for appid, secret in fresh.items() if self._secrets.get(appid) != secret}
        self._secrets = fresh
        LOG.info("the apps file was read again", apps=len(fresh), renewed=sorted(renewed))
        return renewed


def _read(path: Path) -> dict[str, str]:
    try:
        data = read_secret(path)
    except SecretFileError as error:
        raise AppsError(f"LIVECARD_APPS_FILE: {error}") from None
    return _parse(data, f"LIVECARD_APPS_FILE: {path}")


def _parse(data: bytes, where: str) -> dict[str, str]:
    """Never quotes the content: it holds secrets."""
    try:
        secrets = _DECODER.decode(data.removeprefix(BOM_UTF8))  # editors on Windows begin with it
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise AppsError(f'{where} is not a JSON object of texts: {{"appid": "secret", …}}') from None
    wrong = sorted(appid for appid, secret in secrets.items() if not appid or not secret)
    if wrong:
        raise AppsError(f"{where}: the app id and the secret must not be empty: {wrong}")
    return secrets
