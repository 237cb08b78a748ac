"""TLS towards Kafka and PostgreSQL: contexts out of PEM files, every mistake names its setting."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import msgspec

from services.runtime.error_text import Explained
from services.runtime.secret_file import SecretFileError, read_secret

_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's X509_V_ERR codes of a chain that leads to nobody we trust."""


class TlsError(Explained):
    """A certificate, a key or an authority cannot be used; the text names the setting and the file."""


class Files(msgspec.Struct, frozen=True):
    """Paths of PEM files, empty where there is none, and what the settings that name them are called."""

    authorities: str
    certificate: str
    key: str
    names: tuple[str, str, str]


def client_context(files: Files) -> ssl.SSLContext:
    """Certificate and host name of the server are checked; ours is shown if there is one.

    Without a file of authorities the system's count; without a key it stands in the certificate's
    file. Raises `TlsError`. TLS 1.2 at least (Python's default).
    """
    authorities, certificate, key = files.names
    if files.key and not files.certificate:
        raise TlsError(f"{key} is set without {certificate}")
    if files.authorities:
        _readable(authorities, files.authorities)
    try:
        context = ssl.create_default_context(cafile=files.authorities or None)
    except (ssl.SSLError, ValueError):
        raise TlsError(f"{authorities}: {files.authorities} holds no certificate in PEM form") from None
    if files.certificate:
        _show(context, files)
    return context


def refused_certificate(error: ssl.SSLCertVerificationError, whose: str, setting: str) -> str:
    """What is wrong with the server's certificate; `setting` names the authorities that count."""
    text = f"{whose} certificate is not accepted: {error.verify_message.rstrip('.')}"
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return f"{text} ({setting} names the authorities that are)"
    return text


def _show(context: ssl.SSLContext, files: Files) -> None:
    _, certificate, key = files.names
    _readable(certificate, files.certificate)
    if not files.key and b"PRIVATE KEY" not in Path(files.certificate).read_bytes():
        raise TlsError(f"{certificate} is set without {key}")
    try:
        read_secret(Path(files.key or files.certificate))
    except SecretFileError as error:
        raise TlsError(f"{key if files.key else certificate}: {error}") from None
    try:
        context.load_cert_chain(files.certificate, files.key or None, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        if "KEY_VALUES_MISMATCH" in str(error):
            raise TlsError(f"{certificate} and {key} are not a pair") from None
        raise TlsError(
            f"{certificate} and {key} are not a certificate and its unencrypted key in PEM form"
        ) from None


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # otherwise OpenSSL would ask at the terminal


def _readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise TlsError(f"{name}: cannot read {path}: {error.strerror}") from None
