"""The mini program's backend: it stands between the pages and livecard, and alone knows the API key.

    GATEWAY_URL=http://127.0.0.1:8080 GATEWAY_KEY=… APPID=wx1 python3 backend.py

The standard library only; what it remembers, it forgets at its end (README.md says what to put in its place).
"""

import hashlib
import json
import os
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from gateway import Livecard, Refused

APPID = os.environ.get("APPID", "wx1")
TOLD = ("encryptedData", "iv", "nickname", "avatar_url")
"""What the page says of a chat and of who is there."""
LONGEST_BODY = 64 * 1024
DAY = 24 * 60 * 60
"""How long a token is good: as long as livecard's session."""
CHOICES = {"template", "title", "choose", "participants", "deadline", "notice", "close_when_complete"}
"""What the page may say of a new activity; room, app and publisher are not its to say."""


@dataclass
class User:
    """Somebody who has logged in. `rooms`: the chats that they were seen in, by id; the last one is the one
    that they are in."""

    openid: str
    session: str
    until: float
    rooms: dict[str, "Place"] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """A user in a chat."""

    room_id: str
    room: dict[str, str]
    group_openid: str


@dataclass(frozen=True)
class Activity:
    """What was created here. `listed` None: everybody in the room takes part."""

    room_id: str
    publisher: str
    listed: frozenset[str] | None


@dataclass(frozen=True)
class Asked:
    """A request about an activity: what follows its id in the path, and the key of its POST."""

    user: User
    method: str
    rest: list[str]
    query: dict[str, list[str]]
    key: str


class Backend:
    """The routes, without HTTP. Each answers a status and a body, or raises `Refused`."""

    def __init__(self, livecard: Livecard) -> None:
        self._livecard = livecard
        self._users: dict[str, User] = {}
        self._activities: dict[str, Activity] = {}

    def answer(self, method: str, target: str, token: str, body: dict[str, Any], key: str) -> tuple[int, Any]:
        """`key` is the page's Idempotency-Key, or empty."""
        url = urlsplit(target)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if (method, parts) == ("POST", ["login"]):
            return self._log_in(body, _key("", target, key))
        user = self._user(token)
        key = _key(user.openid, target, key)
        match method, parts:
            case "POST", ["bind"]:
                return self._bind(user, body, key)
            case "GET", ["room", "members"]:
                room_id = quote(_here(user).room_id, safe="")
                known = self._livecard.pages(f"/v1/rooms/{room_id}/members?appid={quote(APPID)}")
                return 200, {"members": known}
            case "POST", ["activities"]:
                return self._create(user, body, key)
            case _, ["activities", activity_id, *rest]:
                asked = Asked(user, method, rest, parse_qs(url.query), key)
                return self._activity(activity_id, asked)
        raise Refused(404, f"there is no {method} {url.path}")

    def _user(self, token: str) -> User:
        user = self._users.get(token)
        if user is None or user.until < time.monotonic():
            raise Refused(401, "log in again: POST /login with what wx.login gave")
        return user

    def _log_in(self, body: dict[str, Any], key: str) -> tuple[int, Any]:
        session = self._livecard.post("/v1/sessions", {"appid": APPID, "js_code": body.get("js_code")}, key)
        now, token = time.monotonic(), secrets.token_urlsafe(32)
        self._users = {name: user for name, user in list(self._users.items()) if user.until >= now}
        self._users[token] = User(session["openid"], session["session"], now + DAY)
        return 200, {"token": token}

    def _bind(self, user: User, body: dict[str, Any], key: str) -> tuple[int, Any]:
        told = {name: body[name] for name in TOLD if name in body}
        bound = self._livecard.post("/v1/rooms/bind", {"session": user.session, **told}, key)
        room, group_openid = bound["room"], bound["group_openid"]
        room_id = room.get("opengid") or room["open_single_roomid"]
        user.rooms.pop(room_id, None)  # so that it becomes the last one
        user.rooms[room_id] = Place(room_id, room, group_openid)
        return 200, {"room": room, "group_openid": group_openid}

    def _create(self, user: User, body: dict[str, Any], key: str) -> tuple[int, Any]:
        if strange := body.keys() - CHOICES:
            raise Refused(422, f"leave out {', '.join(sorted(strange))}")
        here = _here(user)
        more = {"appid": APPID, "room": here.room, "publisher": here.group_openid}
        made = self._livecard.post("/v1/activities", {**body, **more}, key)
        listed = None if body.get("choose") == "everyone" else frozenset(body.get("participants") or ())
        self._activities[made["activity_id"]] = Activity(here.room_id, user.openid, listed)
        return 201, {name: made[name] for name in ("activity_id", "expires_at", "share_menu")}

    def _activity(self, activity_id: str, asked: Asked) -> tuple[int, Any]:
        activity = self._activities.get(activity_id)
        if activity is None:
            raise Refused(404, "this backend knows no such activity")
        place = asked.user.rooms.get(activity.room_id)
        if place is None:
            raise Refused(403, "this card belongs to another chat: open it there")
        card = "/v1/activities/" + quote(activity_id, safe="")
        match asked.method, asked.rest:
            case "GET", []:
                seen = self._livecard.get(card)
                return 200, {**seen, "me": self._me(card, activity, place.group_openid)}
            case "POST", ["complete"]:
                done = {"members": [place.group_openid]}
                return 202, self._livecard.post(f"{card}/complete", done, asked.key)
            case "GET", ["missing"]:
                path = quote(asked.query.get("entrance_path", [""])[0], safe="")
                entrance = f"&entrance_path={path}" if path else ""
                return 200, self._livecard.get(f"{card}/missing?limit=500{entrance}")
            case "POST", ["close"]:
                if asked.user.openid != activity.publisher:
                    raise Refused(403, "only who published it can close it")
                return 202, self._livecard.post(f"{card}/close", {}, asked.key)
        raise Refused(404, "there is no such thing to do with an activity")

    def _me(self, card: str, activity: Activity, group_openid: str) -> str:
        for member in self._livecard.pages(f"{card}/members"):
            if member["group_openid"] == group_openid:
                return str(member["state"])
        return "pending" if activity.listed is None or group_openid in activity.listed else "bystander"


def _here(user: User) -> Place:
    """The room that they bound last."""
    if not user.rooms:
        raise Refused(409, "open the mini program from a chat first: POST /bind")
    return list(user.rooms.values())[-1]


def _key(openid: str, target: str, key: str) -> str:
    """The page's key as this user's own: nobody gets the answer to another's."""
    return hashlib.sha256(f"{openid}\n{target}\n{key}".encode()).hexdigest() if key else ""


class Handler(BaseHTTPRequestHandler):
    """HTTP around it."""

    backend: Backend

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        try:
            self._serve(self._body())
        except Refused as refused:
            self._refuse(refused)

    def _serve(self, body: dict[str, Any]) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            key = self.headers.get("Idempotency-Key", "")
            self._send(*self.backend.answer(self.command, self.path, token, body, key))
        except Refused as refused:
            self._refuse(refused)

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > LONGEST_BODY:
            raise Refused(413, f"send at most {LONGEST_BODY} bytes, with their Content-Length")
        try:
            body = json.loads(self.rfile.read(int(length)) or b"{}")
        except ValueError:
            raise Refused(400, "send JSON") from None
        if not isinstance(body, dict):
            raise Refused(400, "send a JSON object")
        return body

    def _refuse(self, refused: Refused) -> None:
        wait = {"Retry-After": str(refused.retry_after)} if refused.retry_after is not None else {}
        self._send(refused.status, refused.problem, "application/problem+json", wait)

    def _send(
        self, status: int, body: Any, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        data = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        sent = {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}
        for name, value in sent.items():
            self.send_header(name, value)
        with suppress(OSError):  # who asked may have gone
            self.end_headers()
            self.wfile.write(data)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Method, path and status: no header and no query ever."""
        self.log_message("%s %s %s", self.command, urlsplit(self.path).path, str(code))


def main() -> None:
    Handler.backend = Backend(Livecard(os.environ["GATEWAY_URL"], os.environ["GATEWAY_KEY"]))
    host, _, port = os.environ.get("LISTEN", "127.0.0.1:8090").rpartition(":")
    with ThreadingHTTPServer((host, int(port)), Handler) as server:
        print(f"listening on http://{host}:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
