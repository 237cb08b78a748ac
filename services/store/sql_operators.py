"""What operators did, on an SQL engine: the named statements, and the primitives over them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final

from services.store.dialect import Dialect
from services.store.operators import Action

if TYPE_CHECKING:
    from services.store.sql_tx import ByName

_ACTION: Final = "who, what, appid, about, why, said, at"
"""In the order of `Action`'s fields."""

OPERATORS: Final = {
    "note": f"""
        INSERT INTO actions ({_ACTION})
        SELECT r.who, r.what, r.appid, r.about, r.why, r.said, {{now}}
        FROM {{rows: who text, what text, appid text, about text, why text, said text}} WHERE true""",
    "actions": f"SELECT {_ACTION} FROM actions ORDER BY seq DESC LIMIT :limit",
    "actions_of": f"SELECT {_ACTION} FROM actions WHERE appid {{in ids}} ORDER BY seq DESC LIMIT :limit",
}


class SqlOperatorsTx:
    """Implements `services.store.operators.OperatorsTx`."""

    _run: ByName

    async def note(self, actions: Sequence[Action]) -> None:
        if actions:
            rows = [(each.who, each.what, each.appid, each.about, each.why, each.said) for each in actions]
            await self._run.rows("note", rows)


class SqlOperators:
    """Implements `services.store.operators.OperatorsStore`; a part of `SqlStore`."""

    dialect: Dialect

    @abstractmethod
    def _reading(self, *, alone: bool = True) -> AbstractAsyncContextManager[ByName]:
        """`SqlStore`'s."""

    async def actions(self, limit: int, appids: Collection[str] | None = None) -> list[Action]:
        async with self._reading() as run:
            if appids is None:
                rows = await run("actions", limit=limit)
            else:
                rows = await run("actions_of", ids=self.dialect.many(appids), limit=limit)
        return [Action(*row) for row in rows]
