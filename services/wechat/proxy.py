"""The company's proxy on the way to WeChat, where there is one: HTTP, with CONNECT for what is encrypted."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiohttp

from services.runtime.secret_file import SecretText

SETTING: Final = "LIVECARD_WECHAT_PROXY"


class Proxy:
    """`url` is http://HOST:PORT, with a user and a password if it asks for them; `password_file` holds the
    password instead, and is read again when it changes. Raises `SecretFileError`."""

    def __init__(self, url: str, password_file: str = "") -> None:
        parts = urlsplit(url)
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._user = unquote(parts.username or "")
        self._password = SecretText(unquote(parts.password or ""), password_file, f"{SETTING}_PASSWORD_FILE")

    def __repr__(self) -> str:
        return f"Proxy({self._url})"

    def way(self, *, tunnel: bool) -> tuple[dict[str, Any], dict[str, str]]:
        """How aiohttp is told, and what goes with the request itself: the proxy's password does where there
        is no tunnel. A connection is kept for those who say the same: another password makes a new one."""
        if not self._user:
            return {"proxy": self._url}, {}
        shown = {"proxy-authorization": aiohttp.encode_basic_auth(self._user, self._password.value())}
        return ({"proxy": self._url, "proxy_headers": shown}, {}) if tunnel else ({"proxy": self._url}, shown)


def refused_by_proxy(status: int) -> str:
    """What a proxy means that makes no tunnel."""
    if status in (401, 407):
        return f"the proxy refuses us (HTTP {status}): {SETTING} says who we are"
    return f"the proxy makes no connection (HTTP {status})"
