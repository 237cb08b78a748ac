"""Chats and who is in them, and what a page is told of them: encrypted for its user (wechat-api.md §5)."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final, Literal

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from contracts.times import SECOND
from services.runtime.ports import Chance

PageCall = Literal["getChatToolInfo", "getGroupEnterInfo", "getShareInfo"]
BLOCK: Final = 16
CONTACT: Final = 1
GROUP: Final = 3


class RoomName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which chat, as one app knows it: one of the two ids."""

    appid: str
    opengid: str | None = None
    open_single_roomid: str | None = None

    def __post_init__(self) -> None:
        if bool(self.opengid) == bool(self.open_single_roomid):
            raise ValueError("name one of opengid and open_single_roomid")


class RoomWish(RoomName, frozen=True, kw_only=True):
    """People in a chat, openid → group_openid; who is there already stays. `chat_type`: 1 contact, 2 WeCom
    contact, 3 group, 4 WeCom group."""

    members: dict[str, str] = {}
    chat_type: Literal[1, 2, 3, 4] | None = None


class PageWish(RoomName, frozen=True, kw_only=True):
    """What one user's page asks for in a chat. `login`: it logs in before, and is given a `js_code` too.
    `watermark` false: leave it out, as the newer calls may."""

    openid: str
    login: bool = False
    call: PageCall = "getChatToolInfo"
    watermark: bool = True


class Given(msgspec.Struct, frozen=True, omit_defaults=True, rename={"encrypted_data": "encryptedData"}):
    """What the page is given, under the names by which the gateway takes it."""

    encrypted_data: str
    iv: str
    js_code: str | None = None


class Room(msgspec.Struct):
    """One chat."""

    chat_type: int
    members: dict[str, str] = {}


class Rooms:
    """The chats, and the session key that each user's last login made."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._rooms: dict[tuple[str, str | None, str | None], Room] = {}
        self._keys: dict[tuple[str, str], bytes] = {}

    def log_in(self, appid: str, openid: str) -> None:
        """Make a new session key of this user's; the one before opens nothing new any more."""
        self._keys[appid, openid] = self._chance.getrandbits(128).to_bytes(BLOCK, "big")

    def session_key(self, appid: str, openid: str) -> str:
        """That key, in base64."""
        return b64encode(self._keys[appid, openid]).decode()

    def put(self, wish: RoomWish) -> None:
        """There is such a chat, with these people in it."""
        usual = GROUP if wish.opengid else CONTACT
        room = self._rooms.setdefault(_name(wish), Room(usual))
        room.chat_type = wish.chat_type or room.chat_type
        room.members |= wish.members

    def view(self) -> list[dict[str, Any]]:
        """All of them."""
        return [
            {"appid": appid, "opengid": opengid, "open_single_roomid": single, **msgspec.structs.asdict(room)}
            for (appid, opengid, single), room in self._rooms.items()
        ]

    def tell(self, now: int, wish: PageWish) -> Given:
        """What the page is given. Raises ValueError for a user who has not logged in, or is not there."""
        key = self._keys.get((wish.appid, wish.openid))
        if key is None:
            raise ValueError('this user has not logged in: ask with "login": true, or POST /control/codes')
        room = self._rooms.get(_name(wish))
        if room is None or wish.openid not in room.members:
            raise ValueError("this user is not in the room (65206): POST /control/rooms puts people there")
        content: dict[str, Any] = {"watermark": {"appid": wish.appid, "timestamp": now // SECOND}}
        if not wish.watermark:
            content = {}
        if wish.call == "getShareInfo":
            content["openGId"] = wish.opengid or wish.open_single_roomid
        else:
            named = {"opengid": wish.opengid, "open_single_roomid": wish.open_single_roomid}
            content |= {name: text for name, text in named.items() if text}
            content |= {"group_openid": room.members[wish.openid], "chat_type": room.chat_type}
        iv = self._chance.getrandbits(128).to_bytes(BLOCK, "big")
        return Given(b64encode(_encrypted(key, iv, content)).decode(), b64encode(iv).decode())


def _name(of: RoomName) -> tuple[str, str | None, str | None]:
    return of.appid, of.opengid or None, of.open_single_roomid or None


def _encrypted(key: bytes, iv: bytes, content: dict[str, Any]) -> bytes:
    """AES-128-CBC, padded as PKCS#7 has it."""
    text = msgspec.json.encode(content)
    padding = BLOCK - len(text) % BLOCK
    encryptor = Cipher(algorithms.AES128(key), modes.CBC(iv)).encryptor()
    return encryptor.update(text + bytes([padding]) * padding) + encryptor.finalize()
