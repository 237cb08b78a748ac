"""A lean stand-in for WeChat, a process of its own: it answers after a delay and keeps what it was told.

`python -m benchmarks.wechat --delay 0.02` prints its port and serves until its input is closed. It reads
just enough of HTTP/1.1, so that little of the machine goes to it. `Standin` starts it and asks it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp
import msgspec
import uvloop

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH, STABLE_TOKEN_PATH, SetChatToolMsg

ROOT = Path(__file__).resolve().parent.parent
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
OK = b'{"errcode":0,"errmsg":"ok"}'
TOKEN = b'{"access_token":"benchmark","expires_in":7200}'
MESSAGE = SET_CHAT_TOOL_MSG_PATH.encode()
ASKED = "/told"


class Told(msgspec.Struct, array_like=True):
    """One message that was answered. `at`: when it arrived, µs since the epoch."""

    at: int
    activity_id: str
    state: int
    members: int


class Account(msgspec.Struct):
    """Messages in flight, the most there were, those whose sender was gone before the answer, all others."""

    in_flight: int
    most: int
    lost: int
    told: list[Told]


def now() -> int:
    """µs since the epoch, by the clock that every process of this machine shares."""
    return time.time_ns() // 1_000


class Ledger:
    """What the server has seen."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.account = Account(0, 0, 0, [])

    def since(self, place: int) -> bytes:
        """The account, without the first `place` messages."""
        seen = self.account
        return msgspec.json.encode(Account(seen.in_flight, seen.most, seen.lost, seen.told[place:]))


class Connection(asyncio.Protocol):
    """One client's connection; it sends a request only after the last one's answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where the answers go."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        """Answer the request once it is whole."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = LENGTH.search(self._buffer, 0, head)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < end:
            return
        target, body = self._buffer.split(b" ", 2)[1], self._buffer[head + 4 : end]
        self._buffer = self._buffer[end:]
        if target.startswith(MESSAGE):
            self._take(body)
        elif target.startswith(ASKED.encode()):
            self._answer(self._ledger.since(int(target.rpartition(b"=")[2])))
        else:
            self._answer(TOKEN if target.startswith(STABLE_TOKEN_PATH.encode()) else b"{}")

    def _take(self, body: bytes) -> None:
        account = self._ledger.account
        account.in_flight += 1
        account.most = max(account.most, account.in_flight)
        message = msgspec.json.decode(body, type=SetChatToolMsg)
        told = Told(
            now(), message.activity_id, message.target_state, len(message.participator_info_list or ())
        )
        asyncio.get_running_loop().call_later(self._ledger.delay, self._over, told)

    def _over(self, told: Told) -> None:
        account = self._ledger.account
        account.in_flight -= 1
        if self._transport.is_closing():
            account.lost += 1
        else:
            account.told.append(told)
            self._answer(OK)

    def _answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


class Standin:
    """The process, as a benchmark sees it. `told`: the messages that it had answered when last looked at."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url, self._http = url, http
        self.told: list[Told] = []

    async def look(self) -> Account:
        """Ask what has come since the last look, and what is in flight."""
        async with self._http.get(f"{self.url}{ASKED}?since={len(self.told)}") as answer:
            account = msgspec.json.decode(await answer.read(), type=Account)
        self.told += account.told
        return account


@asynccontextmanager
async def standin(delay: float) -> AsyncIterator[Standin]:
    """Start one that answers after `delay` seconds; it ends with us."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "benchmarks.wechat", "--delay", str(delay)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        async with aiohttp.ClientSession() as http:
            yield Standin(f"http://127.0.0.1:{port}", http)
    finally:
        process.stdin.close()
        await process.wait()


async def serve(delay: float) -> None:
    """Print the port, answer until the input is closed."""
    loop, ledger = asyncio.get_running_loop(), Ledger(delay)
    server = await loop.create_server(lambda: Connection(ledger), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delay", type=float, default=0.02, help="seconds until the answer")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(parser.parse_args().delay))


if __name__ == "__main__":
    main()
