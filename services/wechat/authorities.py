"""Who may sign WeChat's certificate: the public list, or a company's own authorities out of a file."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

import certifi
import structlog

from services.runtime.ports import SELDOM
from services.runtime.secret_file import signature
from services.runtime.tls import Files, TlsError, client_context

LOG = structlog.get_logger("livecard.wechat")

SETTING: Final = "LIVECARD_WECHAT_CA"


class Authorities:
    """Checks certificate and host name by the PEM file `path`, or without one by Mozilla's list. `setting` is
    what names the file.

    The file is read again when it changes; one that cannot be used then leaves what was known. Raises
    `TlsError` for one that cannot be used at the start.
    """

    def __init__(self, path: str, setting: str = SETTING) -> None:
        self._path, self._setting = path, setting
        self._seen = signature(Path(path)) if path else None
        self._context = _made(path, setting)

    def context(self) -> ssl.SSLContext:
        """For the next connection; another one than before where the file has changed."""
        if self._path and (seen := signature(Path(self._path))) != self._seen:
            self._seen = seen
            try:
                self._context = _made(self._path, self._setting)
                LOG.info("the authorities were read again", setting=self._setting, path=self._path)
            except TlsError as error:
                LOG.warning("the authorities of before stay", error=str(error), every=SELDOM)
        return self._context


def _made(path: str, setting: str) -> ssl.SSLContext:
    context = client_context(Files(path, "", "", (setting, "", ""))) if path else _public()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _public() -> ssl.SSLContext:
    """Mozilla's list, or what one of the two variables names that OpenSSL itself reads."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return ssl.create_default_context(cafile=file or (None if folder else certifi.where()), capath=folder)
