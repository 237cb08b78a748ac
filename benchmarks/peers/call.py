"""The one call that every peer makes: the request of livecard's dispatcher, and the answer it must have."""

from __future__ import annotations

import os
from typing import Final

import httpx
import msgspec

from contracts.wechat import (
    SET_CHAT_TOOL_MSG_PATH,
    TEMPLATE_IDS,
    ParticipatorInfo,
    SendAnswer,
    SetChatToolMsg,
)

CALLS: Final = int(os.environ.get("BENCH_CALLS", "0"))
IN_FLIGHT: Final = 64
URL: Final = f"{os.environ.get('BENCH_WECHAT', '')}{SET_CHAT_TOOL_MSG_PATH}?access_token=benchmark"
HEADERS: Final = {"content-type": "application/json"}
LIMITS: Final = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
ACTIVITIES: Final = tuple(f"peer-{place:06}" for place in range(CALLS))

_ANSWER = msgspec.json.Decoder(SendAnswer)


def body(activity: str) -> bytes:
    """One member done."""
    return msgspec.json.encode(
        SetChatToolMsg(
            activity_id=activity,
            target_state=1,
            template_id=TEMPLATE_IDS["complete"],
            version_type=0,
            participator_info_list=(ParticipatorInfo("member"),),
        )
    )


def check(answer: bytes) -> None:
    """Raise unless WeChat said that it did it."""
    if errcode := _ANSWER.decode(answer).errcode:
        raise RuntimeError(f"WeChat answered {errcode}")
