"""`livecard gates`: which are closed, and those that the person on call opens or closes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.text import Text

from contracts.times import SECOND, parse_rfc3339
from services.cli.acting import acting
from services.cli.database import opened_store
from services.cli.errors import CommandError
from services.cli.show import moment
from services.cli.tables import print_table, table
from services.runtime.clock import RealClock
from services.runtime.process import delivery_rules
from services.runtime.settings import Settings
from services.store.ports import Tx
from services.transactions.gates import WrongTimeError, close_by_hand, open_by_hand
from statemachine.gate import UNKNOWN_APP, Gate, as_believed

_SPAN: Final = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Wishes(msgspec.Struct, frozen=True):
    """Whose gates to open, whose to close, until when and why."""

    opens: tuple[str, ...] = ()
    closes: tuple[str, ...] = ()
    until: str = ""
    why: str = ""

    def check(self) -> None:
        """Raise `CommandError` for what does not go together."""
        if self.closes and not (self.until and self.why.strip()):
            raise CommandError("--close needs --until TIME and --why TEXT: whoever comes next wants to know")
        if self.until and not self.closes:
            raise CommandError("--until belongs to --close APPID")
        if both := sorted({*self.opens} & {*self.closes}):
            raise CommandError(f"{', '.join(both)} is to be opened and closed: name it once")


async def gates(settings: Settings, out: Console, err: Console, wishes: Wishes, *, as_json: bool) -> int:
    """Do what is wished, then show all; 1 when some app is not known, which hinders no other."""
    wishes.check()
    act, said, named = acting(wishes.why), dict[str, str](), {*wishes.opens, *wishes.closes}
    async with opened_store(settings) as store:
        if named:
            async with store.transaction() as tx:
                was_closed = await open_by_hand(tx, wishes.opens, act)
                until = await _until_when(tx, wishes.until) if wishes.closes else 0
                try:
                    closed = await close_by_hand(tx, wishes.closes, until, act) if wishes.closes else []
                except WrongTimeError as error:
                    raise CommandError(f"--until: {error}") from error
            said = {each: "opened" if each in was_closed else "was open already" for each in wishes.opens}
            said |= dict.fromkeys(closed, "closed")
        known = await store.all_gates()
    unknown = sorted(named - {gate.appid for gate in known})
    for appid, text in () if as_json else said.items():
        if appid not in unknown:
            out.print(f"{appid}: {text}", markup=False)
    _print_gates(known, out, delivery_rules(settings).longest_closing, as_json=as_json)
    if unknown:
        text = f"livecard: no activity of these apps was ever opened here: {', '.join(unknown)}"
        err.print(text, markup=False)
    return 1 if unknown else 0


async def _until_when(tx: Tx, text: str) -> int:
    """A time, or so long from the database's now."""
    if found := _SPAN.fullmatch(text.strip()):
        return await tx.now() + int(found[1]) * _UNITS[found[2]] * SECOND
    try:
        return parse_rfc3339(text.strip())
    except ValueError:
        raise CommandError(
            f"--until: {text!r} is neither a time such as 2026-11-28T18:00:00+08:00 nor one such as 30m or 2h"
        ) from None


def _print_gates(known: Sequence[Gate], out: Console, longest: int, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(known), indent=2).decode())
        return
    if not known:
        out.print("no app has opened an activity yet")
        return
    made = table("appid", "gate", "until", "reason", "errcode", "errmsg")
    now = RealClock().wall()
    for gate in known:
        closed = as_believed(gate, now, longest).closed_until > now
        cells = (
            gate.appid,
            "closed" if closed else "open",
            _until(gate, now) if closed else "",
            gate.reason,
            str(gate.errcode or ""),
            gate.errmsg,
        )
        made.add_row(*map(Text, cells))
    print_table(out, made)


def _until(gate: Gate, now: int) -> str:
    return "the apps file names it" if gate.reason == UNKNOWN_APP else moment(gate.closed_until, now)
