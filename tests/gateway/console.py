"""Somebody in front of the console: signs in, follows links, sends forms as a browser does."""

from __future__ import annotations

import re
from typing import Any, Self

import httpx

from contracts.times import SECOND
from tests.gateway.world import ALL_KEY, World

TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Shift:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1_795_248_000 * SECOND

    def monotonic(self) -> float:
        return self.at / SECOND

    def wall(self) -> int:
        return self.at


class Reader:
    """A browser of the console: keeps cookies, follows redirects by hand."""

    def __init__(self, world: World, **headers: str) -> None:
        self.client = world.client(None, **headers)

    async def signed_in(self, key: str = ALL_KEY, to: str = "") -> Self:
        """With this key."""
        answer = await self.sign_in(key, to)
        assert answer.status_code == 303, answer.text
        return self

    async def sign_in(self, key: str, to: str = "") -> httpx.Response:
        """What is answered to the form."""
        path = "/console/sign-in" + (f"?to={to}" if to else "")
        page = await self.client.get(path)
        assert page.status_code == 200
        return await self.client.post(path, data={"token": token(page), "key": key})

    async def get(self, path: str, **how: Any) -> httpx.Response:
        """A page."""
        return await self.client.get(path, **how)

    async def page(self, path: str) -> str:
        """The text of a page that is there."""
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def send(self, path: str, form_of: str = "/console", **fields: str) -> httpx.Response:
        """A form, with the token of a page."""
        page = await self.client.get(form_of)
        return await self.client.post(path, data={"token": token(page), **fields})


def token(page: httpx.Response) -> str:
    """The token of a page's forms."""
    found = TOKEN.search(page.text)
    assert found is not None, page.text
    return found[1]
