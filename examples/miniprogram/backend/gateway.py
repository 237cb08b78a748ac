"""livecard's gateway, as a backend calls it: the standard library only."""

import http.client
import json
import time
import urllib.error
import urllib.request
import uuid
from typing import Any
from urllib.parse import quote

PAUSES = (0.2, 0.5, 1, 2)
"""Seconds between tries: somebody waits in front of a page."""
CUT = (OSError, http.client.HTTPException, ValueError)
"""Refused, cut, timed out, half an answer: the request may have been done, or not."""
AWAY = "livecard cannot be reached: try again in a while"


class Refused(Exception):
    """What is answered instead: a status and problem details (RFC 9457)."""

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.retry_after = status, more.pop("retry_after", None)
        title = http.client.responses.get(status, "")
        self.problem = {"title": title, "status": status, "detail": detail} | more


class Livecard:
    """The gateway at `url`, asked with this API key. The key never leaves this object."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def get(self, path: str) -> Any:
        return self._call(path, None, self._headers)

    def post(self, path: str, body: dict[str, Any], key: str = "") -> Any:
        """Every try has the same Idempotency-Key, so what was done is not done again."""
        headers = {**self._headers, "Idempotency-Key": key or str(uuid.uuid4())}
        return self._call(path, json.dumps(body).encode(), headers)

    def pages(self, path: str) -> list[Any]:
        """All members of a list, whatever its pages."""
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            behind = f"&cursor={quote(cursor, safe='')}" if cursor else ""
            page = self.get(f"{path}{'&' if '?' in path else '?'}limit=500{behind}")
            found += page["members"]
            cursor = page["next"]
        return found

    def _call(self, path: str, data: bytes | None, headers: dict[str, str]) -> Any:
        for pause in (*PAUSES, None):
            try:
                request = urllib.request.Request(self._url + path, data, headers)
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                refused = _refused(error)
                if pause is None or refused.retry_after is None or int(refused.retry_after) > PAUSES[-1]:
                    raise refused from None
                time.sleep(max(pause, int(refused.retry_after)))
            except CUT:
                if pause is None:
                    raise Refused(503, AWAY, retry_after="5") from None
                time.sleep(pause)
        raise AssertionError("not reached")


def _refused(error: urllib.error.HTTPError) -> Refused:
    """The gateway's problem, passed on; but that our own key is refused is nothing that the page can mend."""
    try:
        problem = json.load(error)
    except CUT:
        problem = {}
    if error.headers.get("WWW-Authenticate"):
        return Refused(502, "livecard refuses this backend's API key: ask who runs the backend")
    detail, more = problem.get("detail", ""), {"errors": problem["errors"]} if "errors" in problem else {}
    return Refused(error.code, detail, retry_after=error.headers.get("Retry-After"), **more)
