"""What the stand-in keeps over a restart: the cards, and the ids it gave out; one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from services.simulator.cards import ChatCard
from services.simulator.model import Given, WeChatModel

_TABLES: Final = ("cards", "given")


class MemoryFileError(Exception):
    """The file cannot be used; the text names it and says what to do."""


class Memory:
    """Written with every change, before it is answered. Where that fails, a warning says so, and the next
    change writes both."""

    def __init__(self, path: Path) -> None:
        """Raises `MemoryFileError`."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise _unusable(path, error) from None
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = OFF")  # only the machine's end loses anything
            for table in _TABLES:
                self._db.execute(
                    f"CREATE TABLE IF NOT EXISTS {table} (name TEXT PRIMARY KEY, body BLOB NOT NULL)"
                )
        except sqlite3.Error as error:
            self.close()
            raise _unusable(path, error) from None

    def recall(self, model: WeChatModel) -> None:
        """Put into the model what was kept, in the order it came. Raises `MemoryFileError`, and is closed."""
        try:
            model.cards |= {name: _CARD.decode(body) for name, body in self._rows("cards")}
            model.given |= {name: _GIVEN.decode(body) for name, body in self._rows("given")}
        except (msgspec.DecodeError, sqlite3.Error, TypeError):
            self.close()
            raise MemoryFileError(
                f"{self._path} does not hold the simulator's cards: delete it, and the simulator begins anew"
            ) from None

    def keep(self, model: WeChatModel) -> None:
        """Write what changed in the model. Raises `sqlite3.Error`."""
        names = model.changed
        with self._db:
            self._db.execute("BEGIN")
            self._write("cards", {name: model.cards[name] for name in names if name in model.cards})
            self._write("given", {name: model.given[name] for name in names if name in model.given})
        model.changed = {}

    def forget(self) -> None:
        """Everything. Raises `sqlite3.Error`, and has forgotten nothing then."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 (a name of ours)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def _rows(self, table: str) -> list[tuple[str, bytes]]:
        return self._db.execute(f"SELECT name, body FROM {table} ORDER BY rowid").fetchall()  # noqa: S608 (a name of ours)

    def _write(self, table: str, bodies: Mapping[str, msgspec.Struct]) -> None:
        self._db.executemany(
            f"INSERT INTO {table} VALUES (?, ?) "  # noqa: S608 (a name of ours)
            "ON CONFLICT (name) DO UPDATE SET body = excluded.body",
            [(name, msgspec.json.encode(body)) for name, body in bodies.items()],
        )


def _unusable(path: Path, error: Exception) -> MemoryFileError:
    return MemoryFileError(
        f"cannot use {path}, in which the simulator keeps its cards: {error}; if it is spoilt, delete it, "
        "and the simulator begins anew"
    )


_CARD: Final = msgspec.json.Decoder(ChatCard)
_GIVEN: Final = msgspec.json.Decoder(Given)
