"""Our client of WeChat's next to bare aiohttp, in the same run, round by round alternating.

`python -m benchmarks.wechat_client [--calls N] [--rounds N] [--in-flight N] [--delay MS]`: the server is a
process of its own that answers every setChatToolMsg with 0 after a while; where the machine has two cores,
it and we get one each. Ratios hold within one run; absolute figures do not travel.
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

import aiohttp
import msgspec
import uvloop
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

OK = b'{"errcode":0,"errmsg":"ok"}'
TOKEN = "86_" + "benchmark" * 17
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


async def serve(delay: float) -> None:
    """Answer after so many seconds, until the parent closes our input; the port goes to the output."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if request.path == STABLE_TOKEN_PATH:
            return web.json_response({"access_token": TOKEN, "expires_in": 7200})
        await asyncio.sleep(delay)
        return web.Response(body=OK, content_type="application/json")

    application = web.Application()
    application.router.add_post(STABLE_TOKEN_PATH, answer)
    application.router.add_post(SET_CHAT_TOOL_MSG_PATH, answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


async def round_of(call: Call, calls: int, in_flight: int) -> tuple[float, float]:
    """Calls per second, and our µs of CPU per call, with so many in flight all the time."""
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            await call()

    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return calls / (time.perf_counter() - began), (time.process_time() - used) / calls * 1e6


async def compare(base: str, in_flight: int, calls: int, rounds: int) -> None:
    """Print the medians of bare aiohttp and of our client."""
    client = WeChatClient(base, AppBook({"wx1": "secret"}), RealClock(), in_flight=in_flight)
    body, url = msgspec.json.encode(MESSAGE), base + SET_CHAT_TOOL_MSG_PATH
    headers, query = {"content-type": "application/json"}, {"access_token": TOKEN}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:

        async def ours() -> None:
            answer = await client.set_chat_tool_msg("wx1", MESSAGE, 30.0, lambda: True)
            assert answer.verdict is Verdict.ok, answer

        async def bare() -> None:
            async with session.post(url, params=query, data=body, headers=headers) as response:
                assert msgspec.json.decode(await response.read())["errcode"] == 0

        sides: dict[str, Call] = {"bare aiohttp": bare, "our client": ours}
        for call in sides.values():
            await round_of(call, in_flight * 4, in_flight)
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, call in sides.items():
                measured[name].append(await round_of(call, calls, in_flight))
    await client.close()
    cost = {name: statistics.median(cpu for _, cpu in each) for name, each in measured.items()}
    for name, each in measured.items():
        pace = statistics.median(rate for rate, _ in each)
        print(f"{name:<14}{pace:>8.0f} calls/s {cost[name]:>6.0f} µs of CPU a call")
    print(f"ours ÷ bare, CPU a call: {cost['our client'] / cost['bare aiohttp']:.2f}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=4_000, help="calls a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each, alternating")
    parser.add_argument("--in-flight", type=int, default=64, help="calls at once")
    parser.add_argument("--delay", type=float, default=20.0, help="ms that the server takes")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if arguments.serve:
            pin(-1)
            runner.run(serve(arguments.delay / 1000))
            return
        command = [
            sys.executable,
            "-m",
            "benchmarks.wechat_client",
            "--serve",
            "--delay",
            str(arguments.delay),
        ]
        with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            pin(0)
            assert server.stdout is not None
            base = f"http://127.0.0.1:{int(server.stdout.readline())}"
            try:
                runner.run(compare(base, arguments.in_flight, arguments.calls, arguments.rounds))
            finally:
                assert server.stdin is not None
                server.stdin.close()


if __name__ == "__main__":
    main()
