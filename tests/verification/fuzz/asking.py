"""Very many answers of a liar's through the client: a verdict comes of each, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from contracts.wechat import SET_CHAT_TOOL_MSG_PATH, TEMPLATE_IDS, ParticipatorInfo, SetChatToolMsg, Verdict
from services.runtime.clock import RealClock
from services.runtime.memory import give_back_what_is_large
from services.wechat.apps import AppBook
from services.wechat.client import WeChatClient
from tests.verification.fuzz.answers import Lie, lie
from tests.verification.fuzz.liar import TOKEN, Liar, descriptors, fits

AT_ONCE = 8
SECRET = "a-secret-nobody-may-see"


@dataclass
class Answers:
    """What became of them. `resident` in MiB: after a tenth of them, and at the end."""

    asked: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def lines(self) -> list[str]:
        """For people."""
        resident = f"{self.resident[0]:.1f} MiB after a tenth, {self.resident[-1]:.1f} MiB at the end"
        return [
            f"{self.asked} answers in {self.seconds:.0f} s: {self.asked / self.seconds:.0f}/s",
            "by verdict: " + ", ".join(f"{count} {name}" for name, count in self.verdicts.most_common()),
            "by way: " + ", ".join(f"{count} {name}" for name, count in self.ways.most_common()),
            f"open descriptors: {self.descriptors[0]} before, {self.descriptors[-1]} after",
            f"resident: {resident}",
            *self.wrong[:20],
        ]


def _resident() -> float:
    found = re.search(r"^VmRSS:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


async def ask(count: int, seed: int, *, tell: Callable[[str], None] = print) -> Answers:
    """So many messages, each answered by a lie of its own, which its number and the seed decide."""
    give_back_what_is_large()
    answers, begun = Answers(descriptors=[descriptors()]), time.monotonic()
    decoder = msgspec.json.Decoder(SetChatToolMsg)

    def told(number: str) -> Lie:
        return lie(random.Random(f"answer {seed} {number}"), liar.away)

    def choose(path: str, body: bytes) -> Lie | None:
        return told(decoder.decode(body).activity_id) if path == SET_CHAT_TOOL_MSG_PATH else None

    liar = Liar(choose)
    await liar.start()
    client = WeChatClient(liar.url, AppBook({"wx1": SECRET}), RealClock(), in_flight=AT_ONCE)

    async def asker(numbers: range) -> None:
        for number in numbers:
            answer = await client.set_chat_tool_msg("wx1", _message(number), 20.0, lambda: True)
            lied = told(str(number))
            where = f"answer {number}: {lied.way}, HTTP {lied.status}, {lied.body[:60]!r}: {answer}"
            answers.asked += 1
            answers.ways[lied.way] += 1
            answers.verdicts[str(answer.verdict)] += 1
            if not isinstance(answer.verdict, Verdict) or not fits(lied, answer.verdict):
                answers.wrong.append(where)
            if TOKEN in repr(answer) or SECRET in repr(answer):
                answers.wrong.append(f"a secret is told: answer {number}")
            if answers.asked in (count // 10, count // 2):
                answers.resident.append(_resident())
                tell(f"{answers.asked} answers, {answers.resident[-1]:.1f} MiB resident")

    await asyncio.gather(*(asker(range(start, count, AT_ONCE)) for start in range(AT_ONCE)))
    answers.resident.append(_resident())
    await client.close()
    await liar.stop()
    await asyncio.sleep(0)
    answers.seconds = time.monotonic() - begun
    answers.descriptors.append(descriptors())
    if liar.elsewhere:
        answers.wrong.append(f"{len(liar.elsewhere)} redirects were followed")
    if answers.descriptors[-1] > answers.descriptors[0] + 2 * AT_ONCE:
        answers.wrong.append("connections are left open")
    if count >= 10_000 and answers.resident[-1] > 1.2 * answers.resident[0]:
        answers.wrong.append("memory has grown")
    return answers


def _message(number: int) -> SetChatToolMsg:
    return SetChatToolMsg(
        activity_id=str(number),
        target_state=1,
        template_id=TEMPLATE_IDS["complete"],
        version_type=0,
        participator_info_list=(ParticipatorInfo("gp-alex"),),
    )
