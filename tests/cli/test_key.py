"""`livecard key`: makes a key, shows it once, keeps its hash."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
from rich.console import Console

from services.cli.errors import CommandError
from services.cli.key import key_to_try, make
from services.gateway.keys import ApiKeys, hash_of
from services.runtime.settings import Settings


def made(
    file: Path, capsys: pytest.CaptureFixture[str], name: str = "signup", *options: str
) -> tuple[str, str]:
    """What the command prints, on either stream."""
    scopes = [each for each in options if not each.startswith("wx")] or ["read", "write"]
    apps = [each for each in options if each.startswith("wx")] or ["wx1", "wx2"]
    settings = Settings(api_keys_file=str(file))
    make(settings, name, scopes, apps, out=Console(soft_wrap=True), err=Console(stderr=True, soft_wrap=True))
    printed = capsys.readouterr()
    return printed.out.strip(), printed.err


def test_a_key_is_shown_once_and_its_hash_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout stands nothing else, so that a script can take it."""
    file = tmp_path / "keys.json"
    key, told = made(file, capsys)
    assert re.fullmatch(r"lck_[A-Za-z0-9_-]{43}", key)
    assert key not in told
    assert "shown only now" in told
    assert json.loads(file.read_text()) == {
        hash_of(key): {"name": "signup", "scopes": ["read", "write"], "appids": ["wx1", "wx2"]}
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    caller = ApiKeys.load(str(file)).find(key)
    assert caller is not None
    assert caller.name == "signup"


def test_another_key_is_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A gateway that runs finds both; who could read the file still can."""
    file = tmp_path / "keys.json"
    first, _ = made(file, capsys)
    keys = ApiKeys.load(str(file))
    second, _ = made(file, capsys, "poll", "operate")
    assert first != second
    keys.refresh()
    assert [keys.find(key) is not None for key in (first, second)] == [True, True]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["keys.json"]


def test_a_link_is_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "keys.json"
    link.symlink_to(tmp_path / "real" / "keys.json")
    made(link, capsys)
    assert link.is_symlink()
    assert (tmp_path / "real" / "keys.json").exists()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a b", ["read", "wx1"], "is no name of a key"),
        ("", ["read", "wx1"], "is no name of a key"),
        ("x" * 65, ["read", "wx1"], "is no name of a key"),
        ("a", ["admin", "wx1"], "no such scope: admin; there are read, write, rooms, operate"),
        ("taken", ["read", "wx1"], "has a key 'taken' already"),
    ],
)
def test_what_makes_no_key_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, options: list[str], said: str
) -> None:
    file = tmp_path / "keys.json"
    made(file, capsys, "taken")
    before = file.read_bytes()
    with pytest.raises(CommandError, match=said):
        made(file, capsys, name, *options)
    assert file.read_bytes() == before
    assert capsys.readouterr().out == ""


def test_a_key_needs_scopes_apps_and_a_file(tmp_path: Path) -> None:
    console, settings = Console(), Settings(api_keys_file=str(tmp_path / "keys.json"))
    for given, scopes, apps, said in (
        (settings, [], ["wx1"], "add --scope"),
        (settings, ["read"], [], "add --app"),
        (Settings(), ["read"], ["wx1"], "LIVECARD_API_KEYS_FILE is not set"),
    ):
        with pytest.raises(CommandError, match=said):
            make(given, "a", scopes, apps, out=console, err=console)


def test_a_broken_file_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys.json"
    file.write_text("{")
    file.chmod(0o600)
    with pytest.raises(CommandError, match="is not a JSON object of keys"):
        made(file, capsys)
    assert file.read_text() == "{"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["keys.json"]


def test_a_file_that_its_readers_could_read_no_more_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to the gateway's user, and whoever makes a key may not give files away."""
    file = tmp_path / "keys.json"
    made(file, capsys)
    before = file.read_bytes()

    def not_yours(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", not_yours)
    with pytest.raises(CommandError, match="could read it no more: run this as that user, or as root"):
        made(file, capsys, "poll")
    assert file.read_bytes() == before
    assert capsys.readouterr().out == ""
    assert sorted(each.name for each in tmp_path.iterdir()) == ["keys.json"]


def test_two_at_once_do_not_lose_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".keys.json.new").touch()
    with pytest.raises(CommandError, match="another `livecard key` writes"):
        made(tmp_path / "keys.json", capsys)
    assert (tmp_path / ".keys.json.new").exists()


def test_the_key_of_up_stays_the_same(tmp_path: Path) -> None:
    """Whoever has it in a variable can go on; nobody else on the machine can read it."""
    first = key_to_try(tmp_path)
    assert key_to_try(tmp_path) == first
    kept = tmp_path / "api-key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.write_text("nonsense")
    second = key_to_try(tmp_path)
    assert second not in ("nonsense", first)
    assert key_to_try(tmp_path) == second


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_without_a_folder_it_lives_as_long_as_the_process(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert key_to_try(tmp_path) != key_to_try(tmp_path)
