"""What WeChat's page would be given, made by OpenSSL's command line: not by any code of ours."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from typing import Any, NamedTuple

import pytest

KEY = bytes(range(16))
IV = bytes(range(100, 116))
SESSION_KEY = base64.b64encode(KEY).decode()


class Given(NamedTuple):
    """What `wx.getChatToolInfo` and its like give a page."""

    encrypted_data: str
    iv: str


def encrypted(content: bytes, *, key: bytes = KEY, iv: bytes = IV, padding: bool = True) -> Given:
    """`openssl enc -aes-128-cbc` over these bytes; without `padding` they have to fill whole blocks."""
    command = shutil.which("openssl")
    if command is None:
        pytest.skip("there is no openssl command")
    words = [command, "enc", "-aes-128-cbc", "-K", key.hex(), "-iv", iv.hex()]
    words += [] if padding else ["-nopad"]
    made = subprocess.run(words, input=content, capture_output=True, check=True).stdout
    return Given(base64.b64encode(made).decode(), base64.b64encode(iv).decode())


def given(*, key: bytes = KEY, iv: bytes = IV, **content: Any) -> Given:
    """This object, as WeChat would give it."""
    return encrypted(json.dumps(content, ensure_ascii=False).encode(), key=key, iv=iv)
