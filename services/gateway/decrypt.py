"""What WeChat's page hands over encrypted: which room a user is in, and as whom (wechat-api.md §5). Pure.

`wx.getChatToolInfo`, `wx.getGroupEnterInfo` and the older `wx.getShareInfo` give `encryptedData` and `iv`:
AES-128-CBC with PKCS#7 under the user's `session_key`, all in base64. Nothing signs it, so whatever is wrong
has one sentence, and every check is made whatever the others found: an answer that told a bad padding from
bad JSON would hand the text to whoever asks often enough.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Final

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from contracts.events import LONGEST_ID
from contracts.reading import plain

BLOCK: Final = 16
"""Bytes of a block, of the key and of the iv."""
LONGEST_DATA: Final = 64 << 10
"""Characters of `encryptedData`; what WeChat gives has some hundred."""
UNREADABLE: Final = (
    "encryptedData and iv do not open with this session's key, or are another app's: send both as WeChat "
    "gave them to this user, after the login that made the session"
)
NO_MEMBER: Final = (
    "this data names a room and no member, as wx.getShareInfo's does: send what wx.getChatToolInfo or "
    "wx.getGroupEnterInfo gives"
)


class UnreadableError(Exception):
    """It cannot be opened, or is another app's. The text never says why."""

    def __init__(self) -> None:
        super().__init__(UNREADABLE)


class RoomInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Exactly one of the two rooms; `group_openid` None: the older `wx.getShareInfo` names nobody.
    `chat_type`: 1 contact, 2 WeCom contact, 3 group, 4 WeCom group."""

    opengid: str | None = None
    open_single_roomid: str | None = None
    group_openid: str | None = None
    chat_type: int | None = None

    @property
    def room_id(self) -> str:
        """The room, whichever kind it is of."""
        return self.opengid or self.open_single_roomid or ""


class _Watermark(msgspec.Struct, frozen=True):
    appid: str | None = None


class _Inside(msgspec.Struct, frozen=True):
    """What the decrypted text may hold; the newer calls leave the watermark out."""

    opengid: str | None = None
    older: str | None = msgspec.field(default=None, name="openGId")
    open_single_roomid: str | None = None
    group_openid: str | None = None
    chat_type: int | None = None
    watermark: _Watermark | None = None


_INSIDE: Final = msgspec.json.Decoder(_Inside, strict=False)
_NOTHING: Final = bytes(BLOCK)


def open_room_info(session_key: str, encrypted_data: str, iv: str, appid: str) -> RoomInfo:
    """What is inside. Raises `UnreadableError`, after the same work whatever is wrong."""
    key, start, data = _decoded(session_key), _decoded(iv), _decoded(encrypted_data)
    fits = len(key) == BLOCK and len(start) == BLOCK and len(data) > 0 and len(data) % BLOCK == 0
    if not fits:
        key, start, data = _NOTHING, _NOTHING, data[: len(data) // BLOCK * BLOCK] or _NOTHING
    decryptor = Cipher(algorithms.AES128(key), modes.CBC(start)).decryptor()
    text, padded = _unpadded(decryptor.update(data) + decryptor.finalize())
    inside = _read(text)
    info = _info(inside)
    ours = inside.watermark is None or inside.watermark.appid in (None, appid)
    believable = _believable(info)
    if not (fits and padded and ours and believable):
        raise UnreadableError
    return info


def _decoded(text: str) -> bytes:
    """The bytes of a base64 text, none for anything else."""
    if len(text) > LONGEST_DATA:
        return b""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _unpadded(text: bytes) -> tuple[bytes, bool]:
    """The text without its padding; all of it, to be read all the same, where there is none."""
    unpadder = PKCS7(BLOCK * 8).unpadder()
    try:
        return unpadder.update(text) + unpadder.finalize(), True
    except ValueError:
        return text, False


def _read(text: bytes) -> _Inside:
    try:
        return _INSIDE.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Inside()


def _info(inside: _Inside) -> RoomInfo:
    return RoomInfo(
        opengid=inside.opengid or inside.older or None,
        open_single_roomid=inside.open_single_roomid or None,
        group_openid=inside.group_openid or None,
        chat_type=inside.chat_type,
    )


def _believable(info: RoomInfo) -> bool:
    """One room, and ids as events may name them (design.md §4)."""
    ids = [each for each in (info.opengid, info.open_single_roomid, info.group_openid) if each is not None]
    one = (info.opengid is None) != (info.open_single_roomid is None)
    return one and all(len(each) <= LONGEST_ID and plain(each) for each in ids)
