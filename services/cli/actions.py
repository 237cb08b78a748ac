"""`livecard actions`: what operators did."""

from __future__ import annotations

import msgspec
from rich.console import Console
from rich.text import Text

from contracts.times import SECOND, format_rfc3339
from services.cli.database import opened_store
from services.cli.tables import print_table, table
from services.runtime.settings import Settings


async def actions(settings: Settings, out: Console, limit: int, *, as_json: bool) -> None:
    """The latest, as a table or as JSON."""
    async with opened_store(settings) as store:
        found = await store.actions(limit)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    if not found:
        out.print("no operator has done anything yet")
        return
    made = table("at", "who", "what", "app", "about", "why", "said")
    for each in found:
        at = format_rfc3339(each.at // SECOND * SECOND)
        made.add_row(*map(Text, (at, each.who, each.what, each.appid, each.about, each.why, each.said)))
    print_table(out, made)
