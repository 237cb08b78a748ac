"""Callers of the API with planted keys: what they send, and whatever they are answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from services.gateway.keys import hash_of
from tests.e2e.line import APPID, Service
from tests.gateway.openssl import given
from tests.security.evil import GOOD_CODE, WAYS, Evil

API_KEY = "lck_canary-key-31c7"
SEALING = "Y2FuYXJ5LXNlYWxpbmcta2V5LWNhbmFyeS1zZWFsaW4="
"""32 bytes in base64."""
CODE = "canary-code-bad"
CREATION = {"appid": APPID, "template": "complete", "choose": "everyone"}
TOOL: dict[str, Any] = {"opengid": "g-1", "group_openid": "gp-alex"}


def key_files(folder: Path) -> dict[str, str]:
    """The settings of a gateway with one key, and one to encrypt with."""
    entry = {"name": "caller", "scopes": ["read", "write", "rooms"], "appids": [APPID]}
    keys, sealing = folder / "api-keys.json", folder / "session-keys"
    for path, text in ((keys, json.dumps({hash_of(API_KEY): entry})), (sealing, SEALING)):
        path.touch(0o600)
        path.write_text(text)
    return {"LIVECARD_API_KEYS_FILE": str(keys), "LIVECARD_SESSION_KEY_FILE": str(sealing)}


@asynccontextmanager
async def caller(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key."""
    headers = {"authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{service.port}", headers=headers, timeout=30
    ) as made:
        yield made


async def every_way(service: Service, evil: Evil) -> tuple[str, str]:
    """Log in, bind, create, in every way that WeChat answers; the session, and all that was said but it."""
    said: list[str] = []
    async with caller(service) as client:
        once = {"idempotency-key": "once"}
        login = {"appid": APPID, "js_code": GOOD_CODE}
        answers = [await client.post("/v1/sessions", json=login, headers=once) for _ in "ab"]
        assert [each.status_code for each in answers] == [201, 201], answers[0].text
        session = str(answers[0].json()["session"])
        assert answers[1].json()["session"] == session
        for key, status in ((bytes(16), 422), (b"canary-sess-key1", 200)):
            made = given(key=key, **TOOL)
            body = {"session": session, "encryptedData": made.encrypted_data, "iv": made.iv}
            bound = await client.post("/v1/rooms/bind", json=body)
            assert bound.status_code == status, bound.text
            said.append(bound.text)
        path: str
        for path, body in (("/v1/sessions", {**login, "js_code": CODE}), ("/v1/activities", CREATION)):
            done = evil.asked["/sns/jscode2session" if path == "/v1/sessions" else _CREATE]
            while len(done) < len(WAYS):
                answer = await client.post(path, json=body)
                assert answer.status_code == 503, answer.text
                said.append(f"{answer.headers} {answer.text}")
        wrong = await client.get("/v1/gates", headers={"authorization": f"Bearer {API_KEY}-wrong"})
        assert wrong.status_code == 401
        said.append(wrong.text)
    return session, "\n".join(said)


_CREATE = "/cgi-bin/message/wxopen/activityid/create"
