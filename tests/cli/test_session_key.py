"""The session key that `up` and `demo` make: the same each time, for us alone, and one that can be used."""

from __future__ import annotations

import random
import stat
from pathlib import Path

from services.cli.session_key import session_key_to_try
from services.gateway.session_keys import SessionKeys
from services.runtime.settings import Settings


def test_the_session_key_of_up_stays_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    name = session_key_to_try(folder)
    kept = Path(name).read_text()
    assert session_key_to_try(folder) == name
    assert Path(name).read_text() == kept
    assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
    assert SessionKeys.load(Settings(session_key_file=name), random.Random(1)).usable
    assert [each.name for each in folder.iterdir()] == ["session-keys"]


def test_where_nothing_can_be_written_there_are_no_sessions(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    assert session_key_to_try(tmp_path / "state") == ""
    assert not SessionKeys.load(Settings(session_key_file=""), random.Random(1)).usable
