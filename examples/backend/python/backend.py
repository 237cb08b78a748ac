"""A group task from a Python backend, over livecard's gateway: the standard library only.

Standard input is what the page posts to the backend: `{"js_code", "encryptedData", "iv"}`, from wx.login and
wx.getChatToolInfo. Standard output is what the page gets, a line each.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

GATEWAY = os.environ["GATEWAY_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ['GATEWAY_KEY']}", "Content-Type": "application/json"}
PAUSES = (1, 2, 4, 8, 16)
CUT = (OSError, http.client.HTTPException)
"""Refused, cut, timed out: the request may have been done, or not."""


def call(path: str, **body: Any) -> Any:
    """GET, or POST a body. Every try has the same Idempotency-Key, so what was done is not done again.

    In production keep the key beside your own row before the first try, and a restart repeats nothing either.
    """
    headers = {**HEADERS, "Idempotency-Key": str(uuid.uuid4())}
    data = json.dumps(body).encode() if body else None
    for pause in (*PAUSES, None):
        try:
            request = urllib.request.Request(GATEWAY + path, data, headers)
            with urllib.request.urlopen(request, timeout=15) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            retry_after = error.headers.get("Retry-After")  # of 503, and of 409 where it is under way
            if retry_after is None or pause is None:
                raise SystemExit(f"{error.code} {path}: {error.read().decode()}") from None
            time.sleep(int(retry_after))
        except CUT:
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("not reached")


def follow(path: str) -> Iterator[tuple[str, Any]]:
    """The events of a stream, type and data. After a cut it goes on behind the last one."""
    headers = dict(HEADERS)
    while True:
        try:
            request = urllib.request.Request(GATEWAY + path, None, headers)
            with urllib.request.urlopen(request, timeout=60) as stream:
                event: dict[str, str] = {}
                for line in stream:
                    name, _, value = line.decode().rstrip("\r\n").partition(": ")
                    event[name] = value
                    if not line.strip() and "data" in event:
                        if "id" in event:
                            headers["Last-Event-ID"] = event["id"]
                        yield event["event"], json.loads(event["data"])
                        event = {}
        except urllib.error.HTTPError as error:
            if error.headers.get("Retry-After") is None:
                raise SystemExit(f"{error.code} {path}: {error.read().decode()}") from None
        except CUT:
            pass
        time.sleep(1)


def main(page: Any) -> None:
    # README begins
    # Who is it, and in which chat? The page sent what wx.login and wx.getChatToolInfo gave it.
    session = call("/v1/sessions", appid="wx1", js_code=page["js_code"])
    sealed = {"encryptedData": page["encryptedData"], "iv": page["iv"]}
    me = call("/v1/rooms/bind", session=session["session"], **sealed)

    activity = call(
        "/v1/activities",
        appid="wx1",
        template="complete",
        title="团建报名统计",
        room=me["room"],
        publisher=me["group_openid"],
        participants=[me["group_openid"], "gp-bob"],  # whom wx.selectGroupMembers gave the page
    )
    print(json.dumps(activity["share_menu"]))  # the page hands it to wx.updateShareMenu, and shares

    card = "/v1/activities/" + quote(activity["activity_id"], safe="")
    for kind, change in follow(f"{card}/events"):
        if kind == "snapshot":  # from here on no change is missed; one after a cut may show all
            done = call(f"{card}/members?state=done&limit=500")["members"]
            if (me["group_openid"], "confirmed") in [(who["group_openid"], who["delivered"]) for who in done]:
                break
            call(f"{card}/complete", openids=[session["openid"]])
        elif kind == "livecard.card.delivered" and me["group_openid"] in change["data"]["members"]:
            break  # WeChat confirmed it: the chat says so

    missing = call(f"{card}/missing?entrance_path=/pages/task")
    print(json.dumps(missing["notify"]))  # the page hands it to wx.notifyGroupMembers
    # README ends


if __name__ == "__main__":
    main(json.load(sys.stdin))
