"""The mini programs and their secrets: out of LIVECARD_APPS or LIVECARD_APPS_FILE, re-read on change."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

import msgspec
import structlog

from services.runtime.ports import SELDOM
from services.runtime.secret_file import SecretFileError, read_secret, signature
from services.runtime.settings import Secret, Settings
from services.wechat.entries import FIELDS, App, AppEntry, AppsError, Entries, SecretsError, faults

__all__ = ["AppBook", "AppsError"]

LOG = structlog.get_logger("livecard.wechat")

_DECODER = msgspec.json.Decoder(dict[str, str | AppEntry])


class AppBook:
    """Implements `services.wechat.ports.Apps`, and hands the apps to the token keeper."""

    def __init__(self, entries: Entries, path: Path | None = None) -> None:
        """Raises `AppsError` for a file of a secret that cannot be used."""
        self._apps = _made(entries)
        self._path = path
        self._seen = signature(path) if path else None
        self._states = self._now()

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
        return appid in self._apps

    def keeps_secret(self, appid: str) -> bool:
        """Whether its secret is kept here."""
        return self.secret(appid) is not None

    def appids(self) -> list[str]:
        """All, sorted."""
        return sorted(self._apps)

    def app(self, appid: str) -> App | None:
        """One app, None when it is not known."""
        return self._apps.get(appid)

    def secret(self, appid: str) -> Secret | None:
        """The secret of one app, None when it is not known."""
        app = self._apps.get(appid)
        return app.secret if app is not None else None

    def origin(self, appid: str) -> tuple[str, str] | None:
        """Where its token comes from, to be compared with before; None when it is not known."""
        app = self._apps.get(appid)
        return None if app is None else (app.entry.token_url, app.entry.cloudbase_token_file)

    def secrets(self) -> dict[str, str]:
        """Every secret: for the simulator, which plays the platform that knows them."""
        return {appid: secret for appid, app in self._apps.items() if (secret := app.secret) is not None}

    def refresh(self) -> set[str]:
        """Read the files again that changed; a broken one leaves what was known, and is told once."""
        if self._path is not None and (seen := signature(self._path)) != self._seen:
            self._seen = seen
            try:
                self._apps = _made(_read(self._path))
                LOG.info("the apps file was read again", apps=len(self._apps))
            except AppsError as error:
                if isinstance(error, SecretsError):
                    self._seen = None  # what it names may be mended without it
                LOG.warning(
                    "the apps file cannot be used; what was known stays", error=str(error), every=SELDOM
                )
        before, self._states = self._states, self._now()
        renewed = {appid for appid, state in self._states.items() if before.get(appid) != state}
        if renewed:
            LOG.info("apps are new, or have another secret or source of tokens", apps=sorted(renewed))
        return renewed

    def _now(self) -> dict[str, tuple[AppEntry, Secret | None, Secret]]:
        return {appid: app.state() for appid, app in self._apps.items()}


def _made(entries: Entries) -> dict[str, App]:
    return {appid: App(appid, given) for appid, given in entries.items()}


def _read(path: Path) -> Entries:
    try:
        data = read_secret(path)
    except SecretFileError as error:
        raise AppsError(f"LIVECARD_APPS_FILE: {error}") from None
    return _parse(data, f"LIVECARD_APPS_FILE: {path}")


def _parse(data: bytes, where: str) -> Entries:
    """Never quotes the content: it holds secrets."""
    try:
        entries = _DECODER.decode(data.removeprefix(BOM_UTF8))  # editors on Windows begin with it
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise AppsError(
            f'{where} is not a JSON object of texts: {{"appid": "secret", …}}, or, instead of a secret, an '
            f"object of {FIELDS}"
        ) from None
    wrong = [f"{fault}: {[appid]}" for appid in sorted(entries) for fault in faults(appid, entries[appid])]
    if wrong:
        raise AppsError(f"{where}: {'; '.join(wrong)}")
    return entries
