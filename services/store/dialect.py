"""One SQL text for two engines: the few places where PostgreSQL and SQLite differ.

| macro | PostgreSQL | SQLite |
|---|---|---|
| `{now}` | a scalar of the database's clock, µs | the same |
| `{rows: a text, b bigint}` | `unnest` of one array a column, AS r | `json_each` of one document, AS r |
| `{in name}` | `= ANY(array)` | `IN (SELECT value FROM json_each)` |
| `{for update}`, `{skip locked}` | as it says | nothing: one writer at a time |
| `{big}` | `AS bigint` | `AS INTEGER` |
| `{greatest}` | `greatest` | `max` |
| `{octets of text}` | `octet_length(text)`, without reading it | `length(CAST(text AS BLOB))` |
| `{row}`, `{of these}` … `{end}` | `ctid`, `= ANY(ARRAY(` … `))` | `rowid`, `IN (` … `)` |
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import text

NOW_POSTGRES: Final = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
NOW_SQLITE: Final = (
    "(CAST(strftime('%s','now') AS INTEGER) * 1000000"
    " + CAST(substr(strftime('%f','now'), 4) AS INTEGER) * 1000)"
)
"""`subsec` needs SQLite 3.42; `%f` gives milliseconds everywhere."""

_ROWS = re.compile(r"\{rows:([^}]*)\}")
_NAMED = re.compile(r"(?<![:\w]):([a-z_]+)")
_IN = re.compile(r"\{in (\w+)\}")
_OCTETS = re.compile(r"\{octets of (\w+)\}")


class Statement:
    """A named statement, ready for one engine; `columns` are those of its `{rows: …}`, in order.

    `positional` is the same for a driver that numbers its parameters: `$1` is the first of `names`.
    """

    __slots__ = ("clause", "columns", "name", "names", "positional")

    def __init__(self, name: str, source: str, columns: tuple[str, ...]) -> None:
        self.name, self.clause, self.columns = name, text(source), columns
        self.names = tuple(dict.fromkeys(_NAMED.findall(source)))
        self.positional = _NAMED.sub(lambda match: f"${self.names.index(match.group(1)) + 1}", source)


class Dialect:
    """Expands the macros and binds arrays for one engine. `now`: SQL for the clock, replaceable."""

    def __init__(self, *, postgres: bool, now: str | None = None) -> None:
        self.postgres = postgres
        self.now = now or (NOW_POSTGRES if postgres else NOW_SQLITE)

    def statement(self, name: str, source: str) -> Statement:
        """Expand one text."""
        columns: list[str] = []

        def rows(match: re.Match[str]) -> str:
            fields = [each.split() for each in match.group(1).split(",")]
            columns.extend(field[0] for field in fields)
            names = ", ".join(columns)
            if self.postgres:
                arrays = ", ".join(f"CAST(:{column} AS {kind}[])" for column, kind in fields)
                return f"unnest({arrays}) AS r({names})"
            values = ", ".join(f"json_extract(value, '$[{place}]') AS {c}" for place, c in enumerate(columns))
            return f"(SELECT {values} FROM json_each(:rows)) AS r"

        expanded = _ROWS.sub(rows, source)
        expanded = _IN.sub(
            r"= ANY(CAST(:\1 AS text[]))" if self.postgres else r"IN (SELECT value FROM json_each(:\1))",
            expanded,
        )
        octets = r"octet_length(\1)" if self.postgres else r"length(CAST(\1 AS BLOB))"
        expanded = _OCTETS.sub(octets, expanded)
        for macro, postgres, sqlite in (
            ("{for update}", "FOR UPDATE", ""),
            ("{skip locked}", "FOR UPDATE SKIP LOCKED", ""),
            ("{writable}", "current_setting('transaction_read_only') = 'off'", "true"),
            ("{encoding}", "current_setting('server_encoding')", "'UTF8'"),
            ("{big}", "AS bigint", "AS INTEGER"),
            ("{greatest}", "greatest", "max"),
            ("{row}", "ctid", "rowid"),
            ("{of these}", "= ANY(ARRAY(", "IN ("),  # as an array it is never joined to the whole table
            ("{end}", "))", ")"),
            ("{now}", f"(SELECT {self.now})", f"(SELECT {self.now})"),
            ("{clock}", self.now, self.now),
        ):
            expanded = expanded.replace(macro, postgres if self.postgres else sqlite)
        return Statement(name, expanded, tuple(columns))

    def bind(self, statement: Statement, rows: Iterable[Sequence[Any]]) -> dict[str, Any]:
        """The parameters of a statement's `{rows: …}`: one array a column, or one document."""
        if not self.postgres:
            return {"rows": msgspec.json.encode([list(row) for row in rows]).decode()}
        columns = list(zip(*rows, strict=True))
        return dict(zip(statement.columns, map(list, columns), strict=True))

    def many(self, values: Iterable[Any]) -> Any:
        """A parameter for `{in name}`."""
        listed = list(values)
        return listed if self.postgres else json.dumps(listed)
