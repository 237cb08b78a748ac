"""The commands that look into the store: show, ledger, settings."""

from __future__ import annotations

from textwrap import wrap
from typing import Final

import msgspec
from rich.console import Console
from rich.text import Text

from services.cli.database import opened_store
from services.cli.errors import CommandError
from services.cli.show import explain
from services.cli.tables import print_table, table
from services.runtime.environment import Read
from services.runtime.process import delivery_rules
from services.runtime.settings import Described, Settings
from services.transactions.ledger import EVENT_FATES, OPENID_FATES, REVISION_FATES, Ledger, read_ledger
from services.transactions.views import view_activity

INDENT: Final = "    "
WIDEST: Final = 100
"""Characters of a paragraph's line, however wide the terminal."""


async def show(settings: Settings, out: Console, activity_id: str, *, as_json: bool) -> None:
    """One activity in plain words, or as JSON."""
    async with opened_store(settings) as store:
        view = await view_activity(store, activity_id, delivery_rules(settings))
    if view is None:
        raise CommandError(
            f"no event about {activity_id!r} has been taken in: is the id right? If so, it is still in Kafka "
            f"(livecard_consumer_lag_records) or a dead letter (livecard replay --activity {activity_id})"
        )
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(view), indent=2).decode())
        return
    for line in explain(view, settings):
        out.print(line, markup=False)


async def ledger(settings: Settings, out: Console, *, as_json: bool) -> int:
    """Print the ledger; 1 when it does not balance."""
    async with opened_store(settings) as store:
        read = await read_ledger(store)
    if as_json:
        body = {"balanced": read.balanced, **msgspec.to_builtins(read)}
        print(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
    else:
        print_ledger(read, out)
    return 0 if read.balanced else 1


def print_ledger(read: Ledger, out: Console) -> None:
    """The ledger as tables and a verdict; that of openids once somebody had to wait for a binding."""
    for title, rows, total, fates in (
        ("events", read.events, "taken", EVENT_FATES),
        ("revisions", read.revisions, "raised", (*REVISION_FATES, "pending")),
        ("openids", read.openids, "waited", (*OPENID_FATES, "waiting")),
    ):
        if title == "openids" and not rows[total]:
            continue
        made = table(total, *fates, title=title, justify="right")
        made.add_row(*(str(rows[name]) for name in (total, *fates)))
        print_table(out, made)
    out.print(
        f"repeats of events: {read.events['repeats']} · calls to WeChat: {read.calls['made']}, with unknown "
        f"outcome: {read.calls['unknown']}, members repeated after one: {read.calls['members_repeated']}"
    )
    if read.balanced:
        out.print("The ledger balances.", style="green")
    for problem in read.problems:
        out.print(f"The ledger does not balance: {problem}", style="red", markup=False)


def print_settings(found: Read, out: Console, *, as_json: bool) -> None:
    """Every setting, also where some are wrong: those are marked. One a row, a paragraph on a terminal."""
    rows = found.described()
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    if out.file.isatty():
        for row in rows:
            _print_setting(row, out)
        return
    made = table("variable", "value", "default", "unit", "meaning")
    for row in rows:
        value = row.value if row.value != row.default or row.wrong else ""
        shown = f"{value} (wrong)".lstrip() if row.wrong else value
        made.add_row(*map(Text, (row.variable, shown, row.default, row.unit, row.meaning)))
    print_table(out, made)


def _print_setting(row: Described, out: Console) -> None:
    """`NAME=value` with unit and default, then its meaning; words are never split."""
    choice = row.unit.startswith(("one of", "true"))
    head = Text.assemble((row.variable, "bold"), "=", row.value)
    head.append("  (wrong)" if row.wrong else "", style="red")
    beside = [] if choice or row.unit in ("text", "count") else [row.unit]
    if row.value != row.default:
        beside.append(f"default {row.default or 'empty'}")
    head.append(f"  {', '.join(beside)}" if beside else "", style="dim")
    out.print(head)
    meaning = f"{row.meaning}: {row.unit}" if choice else row.meaning
    width = min(out.width, WIDEST) - len(INDENT)
    for line in wrap(meaning, width, break_long_words=False, break_on_hyphens=False):
        out.print(INDENT + line, markup=False)
