"""Every benchmark runs and tells what it measured, with a few events each; how fast is nothing for a test."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks import __main__ as all_of_them
from benchmarks.report import percentiles, table
from benchmarks.stage import Ended, Engines, Process
from benchmarks.wechat import standin

DISPATCH = ("livecard dispatcher", "bare aiohttp", "FastStream", "Celery", "procrastinate")
TINY: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "dispatch": ({"calls": 30, "peer_calls": 20}, DISPATCH),
    "ends": ({"activities": 20, "calls": 20}, ("the clock has ended all", "ratio")),
    "latency": ({"rates": "20,50", "seconds": 0.5}, ("20", "50", "p99 ÷ p99")),
    "ingest": ({"events": 200, "activities": 20, "batch": 50}, ("bare loop", "ratio", "heap-only")),
    "burst": ({"rounds": 1, "people": 20}, ("calls a burst", "end told after it was known")),
    "idle": ({"activities": 10, "seconds": 1.0}, ("lifecycle", "clock", "dispatcher", "transactions/s")),
    "gateway": (
        {"reads": 20, "creations": 10, "rounds": 1, "activities": 10},
        ("livecard gateway", "bare Litestar", "reads", "creations", "ratio", "p99"),
    ),
    "growth": ({"sizes": "100", "events": 60, "calls": 10}, ("100 activities", "SQL ms/call")),
    "recovery": (
        {"cards": 40, "lease": 6.0, "in_flight": 8, "wait": 1.5},  # calls that a starved machine can kill in
        ("the killed dispatcher had", "after the kill"),
    ),
    "fairness": (
        {"cards": 30, "behind": "gated", "ends": 4, "rate": 20.0, "ahead": 1.5},
        ("30 gated", "deadline: median", "closed: median"),
    ),
    "joining": (
        {"dispatchers": 2, "seconds": 0.2, "wait": 0.1, "in_flight": 4, "waiting": 20},
        ("2, 1", "3, 2", "none twice", "the ledger balances"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
async def test_a_benchmark_runs_and_tells_what_it_measured(
    name: str, kafka: str, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module, (sizes, told) = import_module(f"benchmarks.{name}"), TINY[name]
    await module.measure(Engines(kafka, postgres_url), module.Options(**sizes))
    printed = capsys.readouterr().out
    assert [each for each in told if each not in printed] == []


def test_every_benchmark_is_tried_here() -> None:
    assert {*all_of_them.QUICK, *all_of_them.GROWTH} == set(TINY)


async def test_the_stand_in_counts_what_was_answered_and_what_was_lost() -> None:
    url = "/cgi-bin/message/wxopen/chattoolmsg/send?access_token=x"
    body = b'{"activity_id":"a","target_state":1,"template_id":"t","version_type":0}'
    async with standin(0.2) as wechat, aiohttp.ClientSession() as http:
        with pytest.raises(TimeoutError):
            await http.post(wechat.url + url, data=body, timeout=aiohttp.ClientTimeout(total=0.05))
        async with http.post(wechat.url + url, data=body) as answer:
            assert (await answer.json())["errcode"] == 0
        account = await wechat.look()
        assert (account.in_flight, account.most, account.lost) == (0, 2, 1)
        assert [(each.activity_id, each.state, each.members) for each in wechat.told] == [("a", 1, 0)]


async def test_a_process_that_ends_by_itself_is_told_with_its_log(tmp_path: Path) -> None:
    process = await Process(["false", "-"], tmp_path / "log").start()
    with pytest.raises(Ended, match="ended with 1"):
        await process.done()


def test_a_table_and_percentiles(capsys: pytest.CaptureFixture[str]) -> None:
    table(["", "n"], [["one", "1"], ["two", "1,000"]])
    assert capsys.readouterr().out.splitlines() == ["           n", "  one      1", "  two  1,000"]
    assert percentiles([float(each) for each in range(101)]) == (50.0, 99.0)
    assert percentiles([7.0]) == (7.0, 7.0)
