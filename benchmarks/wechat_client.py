"""Our client of WeChat's next to one single httpx.AsyncClient, in the same run, round by round alternating.

`python -m benchmarks.wechat_client [--calls N] [--rounds N]`: the server is a process of its own that
answers every setChatToolMsg with 0 at once; where the machine has two cores, it and we get one each.
Ratios hold within one run; absolute figures do not travel.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import httpx
import msgspec
from aiohttp import web

from contracts.wechat import (
    SET_CHAT_TOOL_MSG_PATH,
    STABLE_TOKEN_PATH,
    TEMPLATE_IDS,
    ParticipatorInfo,
    SetChatToolMsg,
    Verdict,
)
from services.runtime.clock import RealClock
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient

IN_FLIGHT = (1, 32, 128)
OK = b'{"errcode":0,"errmsg":"ok"}'
TOKEN = b'{"access_token":"benchmark","expires_in":7200}'
MESSAGE = SetChatToolMsg(
    activity_id="966_NGiq",
    target_state=1,
    template_id=TEMPLATE_IDS["complete"],
    version_type=0,
    participator_info_list=tuple(ParticipatorInfo(f"gp-{place}") for place in range(10)),
)
Call = Callable[[], Awaitable[object]]


def pin(core: int) -> None:
    """This process on that core, where there are two and the system lets us."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[core]})


async def serve() -> None:
    """Answer until the parent closes our input; the port goes to the output."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        body = TOKEN if request.path == STABLE_TOKEN_PATH else OK
        return web.Response(body=body, content_type="application/json")

    application = web.Application()
    application.router.add_post(STABLE_TOKEN_PATH, answer)
    application.router.add_post(SET_CHAT_TOOL_MSG_PATH, answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


async def rate(call: Call, calls: int, in_flight: int) -> float:
    """Calls per second with so many in flight all the time."""
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            await call()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return calls / (time.perf_counter() - began)


async def compare(base: str, in_flight: int, calls: int, rounds: int) -> tuple[float, float]:
    """Median rates of our client and of one httpx.AsyncClient."""
    client = WeChatClient(base, AppBook({"wx1": "secret"}), RealClock(), in_flight=in_flight)
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as peer:
        body = msgspec.json.encode(MESSAGE)

        async def ours() -> None:
            answer = await client.set_chat_tool_msg("wx1", MESSAGE, 30.0, lambda: True)
            assert answer.verdict is Verdict.ok, answer

        async def theirs() -> None:
            response = await peer.post(
                base + SET_CHAT_TOOL_MSG_PATH,
                params={"access_token": "benchmark"},
                content=body,
                headers={"content-type": "application/json"},
            )
            assert response.json()["errcode"] == 0

        measured: tuple[list[float], list[float]] = ([], [])
        for call in (ours, theirs):
            await rate(call, in_flight * 4, in_flight)
        for _ in range(rounds):
            measured[0].append(await rate(ours, calls, in_flight))
            measured[1].append(await rate(theirs, calls, in_flight))
    await client.close()
    return statistics.median(measured[0]), statistics.median(measured[1])


async def measure(base: str, calls: int, rounds: int) -> None:
    """The table."""
    print(f"{'in flight':>9}  {'ours/s':>8}  {'one AsyncClient/s':>17}  {'ratio':>6}")
    for in_flight in IN_FLIGHT:
        ours, theirs = await compare(base, in_flight, calls, rounds)
        print(f"{in_flight:>9}  {ours:>8.0f}  {theirs:>17.0f}  {ours / theirs:>6.2f}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1_500, help="calls a round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each, alternating")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        pin(-1)
        asyncio.run(serve())
        return
    command = [sys.executable, "-m", "benchmarks.wechat_client", "--serve"]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        pin(0)
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            asyncio.run(measure(f"http://127.0.0.1:{port}", arguments.calls, arguments.rounds))
        finally:
            assert server.stdin is not None
            server.stdin.close()


if __name__ == "__main__":
    main()
