"""The tables of docs/architecture.md are those of the schema."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text("utf-8")


def test_every_table_has_its_row_and_every_row_its_table(migrated_sqlite: Path) -> None:
    with closing(sqlite3.connect(migrated_sqlite)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    kept = {name for (name,) in names if not name.startswith("sqlite_")} - {"alembic_version"}
    section = PAGE.partition("## What each table holds")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == kept
