"""How the stand-in behaves where WeChat's documents are silent or its values vary (wechat-api.md)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from contracts.times import DAY, HOUR, MINUTE, SECOND


class Behaviour(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a running stand-in; all times in µs. Changed through `/control/behaviour`.

    `lower_after_end` stands for what WeChat apparently allows: a card that ended is turned back. It is
    shown, and counted as a violation.
    """

    accept_any_app: bool = False
    """An unknown app id is accepted, with the secret that it comes with first."""
    auto_declare: bool = False
    """An id nobody declared gets a card at its first setChatToolMsg; everybody is in its room."""
    token_lifetime: int = 2 * HOUR
    token_renewal: int = 5 * MINUTE
    """How long before its end a token is renewed; never more than half of its lifetime."""
    activity_lifetime: int = DAY
    expiration_unit: Literal["s", "ms"] = "s"
    longest_list: int = 100
    empty_list_at_open: bool = True
    """Whether state 1 with nobody to list is accepted; without it the answer is 40097."""
    lower_to_open: bool = True
    """Whether 2 → 1 is accepted; without it the answer is 47502."""
    lower_after_end: bool = True
    """Whether anything below 3 is accepted after 3; without it the answer is 47502."""
    ended_message: bool = True
    """Whether the chat tells the end (documented for mini games only)."""
    repeated_message: bool = True
    """Whether state 1 for a member already done posts a second chat message."""
    force_refreshes_a_day: int = 20
    force_refresh_gap: int = 30 * SECOND
    quota_clears_a_month: int = 10

    def change(self, wishes: dict[str, Any]) -> None:
        """Set the named fields. Raises `msgspec.ValidationError` and changes nothing when one is wrong."""
        changed = msgspec.convert({**msgspec.structs.asdict(self), **wishes}, Behaviour)
        for name in wishes:
            setattr(self, name, getattr(changed, name))
