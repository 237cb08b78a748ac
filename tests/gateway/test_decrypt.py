"""What WeChat encrypts is opened, and whatever is wrong with it is answered in one way (wechat-api.md §5)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from services.gateway import decrypt
from services.gateway.decrypt import RoomInfo, UnreadableError, open_room_info
from tests.gateway.openssl import IV, KEY, SESSION_KEY, Given, encrypted, given

WATERMARK = {"appid": "wx1", "timestamp": 1_795_248_000}
TOOL: dict[str, Any] = {"opengid": "g-1", "group_openid": "gp-alex", "chat_type": 3}


def opened(made: Given, session_key: str = SESSION_KEY, appid: str = "wx1") -> RoomInfo:
    return open_room_info(session_key, made.encrypted_data, made.iv, appid)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TOOL, RoomInfo(opengid="g-1", group_openid="gp-alex", chat_type=3)),
        (
            {"open_single_roomid": "r-1", "group_openid": "gp-bob", "chat_type": 1, "watermark": WATERMARK},
            RoomInfo(open_single_roomid="r-1", group_openid="gp-bob", chat_type=1),
        ),
        ({**TOOL, "chat_type": "4"}, RoomInfo(opengid="g-1", group_openid="gp-alex", chat_type=4)),
        ({**TOOL, "open_single_roomid": ""}, RoomInfo(opengid="g-1", group_openid="gp-alex", chat_type=3)),
        ({"openGId": "g-2", "watermark": WATERMARK}, RoomInfo(opengid="g-2")),
        ({"openGId": "g-2", "group_openid": "gp-é"}, RoomInfo(opengid="g-2", group_openid="gp-é")),
        (
            {**TOOL, "watermark": {"timestamp": 1}},
            RoomInfo(opengid="g-1", group_openid="gp-alex", chat_type=3),
        ),
    ],
    ids=["getChatToolInfo", "getGroupEnterInfo", "as texts", "empty", "getShareInfo", "older", "no appid"],
)
def test_what_wechat_gives_is_opened(content: dict[str, Any], expected: RoomInfo) -> None:
    assert opened(given(**content)) == expected


@pytest.mark.parametrize("length", range(1, 18))
def test_every_length_of_padding_is_taken_off(length: int) -> None:
    assert opened(given(opengid="g" * length, group_openid="p")).opengid == "g" * length


def changed(made: Given, place: int, by: int = 1) -> Given:
    data = bytearray(base64.b64decode(made.encrypted_data))
    data[place] ^= by
    return Given(base64.b64encode(data).decode(), made.iv)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


GOOD = json.dumps(TOOL).encode().ljust(96)
"""Six whole blocks, so that the padding is a block of its own."""


def wrong() -> dict[str, tuple[Given, str]]:
    made = given(**TOOL)
    data, whole = base64.b64decode(made.encrypted_data), encrypted(GOOD)
    return {
        "wrong key": (made, base64_of(bytes(16))),
        "wrong iv": (Given(made.encrypted_data, base64_of(bytes(16))), SESSION_KEY),
        "short iv": (Given(made.encrypted_data, base64_of(IV[:15])), SESSION_KEY),
        "no iv": (Given(made.encrypted_data, ""), SESSION_KEY),
        "cut by a block": (Given(base64_of(data[:-16]), made.iv), SESSION_KEY),
        "cut by a byte": (Given(base64_of(data[:-1]), made.iv), SESSION_KEY),
        "nothing": (Given("", made.iv), SESSION_KEY),
        "no base64": (Given("no base64!", made.iv), SESSION_KEY),
        "a space for a plus": (
            Given(made.encrypted_data[:8] + " " + made.encrypted_data[9:], made.iv),
            SESSION_KEY,
        ),
        "not ascii": (Given("é" * 24, made.iv), SESSION_KEY),
        "bad padding": (changed(whole, -17), SESSION_KEY),
        "no padding": (encrypted(GOOD, padding=False), SESSION_KEY),
        "padding of 0": (encrypted(GOOD + bytes(16), padding=False), SESSION_KEY),
        "padding of 17": (encrypted(GOOD + bytes([17]) * 16, padding=False), SESSION_KEY),
        "another app's": (given(**TOOL, watermark={**WATERMARK, "appid": "wx2"}), SESSION_KEY),
        "no room": (given(group_openid="gp-alex"), SESSION_KEY),
        "two rooms": (given(**TOOL, open_single_roomid="r-1"), SESSION_KEY),
        "a room with a NUL": (given(opengid="g\0", group_openid="gp-alex"), SESSION_KEY),
        "a long id": (given(opengid="g" * 129, group_openid="gp-alex"), SESSION_KEY),
        "a list": (encrypted(b"[]"), SESSION_KEY),
        "nested": (encrypted(b"[" * 10_000), SESSION_KEY),
        "not UTF-8": (encrypted(b'{"opengid":"\xff","group_openid":"p"}'), SESSION_KEY),
        "too long": (Given("A" * (decrypt.LONGEST_DATA + 4), made.iv), SESSION_KEY),
        "an odd key": (made, base64_of(KEY[:8])),
        "no key": (made, "?"),
    }


def test_whatever_is_wrong_has_one_sentence() -> None:
    """Neither the class nor the text tells what it was, nor what was inside."""
    said = {}
    for name, (made, key) in wrong().items():
        with pytest.raises(UnreadableError) as caught:
            opened(made, key)
        said[name] = (type(caught.value), str(caught.value), caught.value.__cause__)
    assert set(said.values()) == {(UnreadableError, decrypt.UNREADABLE, None)}


def test_every_step_is_taken_whatever_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that came sooner for a bad padding would be as good as one that said so."""
    steps: list[str] = []
    for name in ("_unpadded", "_read", "_info", "_believable"):
        real = getattr(decrypt, name)

        def step(*given: Any, _name: str = name, _real: Any = real) -> Any:
            steps.append(_name)
            return _real(*given)

        monkeypatch.setattr(decrypt, name, step)
    for name, (made, key) in wrong().items():
        steps.clear()
        with pytest.raises(UnreadableError):
            opened(made, key)
        assert steps == ["_unpadded", "_read", "_info", "_believable"], name


def test_data_of_another_app_is_not_ours() -> None:
    made = given(**TOOL, watermark=WATERMARK)
    assert opened(made).opengid == "g-1"
    with pytest.raises(UnreadableError):
        opened(made, appid="wx2")
