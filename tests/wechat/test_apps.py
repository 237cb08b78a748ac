"""The apps' secrets: out of a variable or a file that is read again when it changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.runtime.secret_file import LARGEST
from services.runtime.settings import Settings
from services.wechat.apps import AppBook, AppsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "apps.json"
    write(path, {"wx1": "canary-one", "wx2": "canary-two"})
    return path


def write(path: Path, content: Any) -> None:
    """Replace the file, as an editor does: never half of it, always another inode."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    fresh.chmod(0o600)
    fresh.replace(path)


def load(path: Path) -> AppBook:
    return AppBook.load(Settings(apps_file=str(path)))


def test_a_mark_of_windows_editors_is_no_mistake(file: Path) -> None:
    """They begin a UTF-8 file with one."""
    write(file, b"\xef\xbb\xbf" + file.read_bytes())
    assert load(file).appids() == ["wx1", "wx2"]


def test_apps_of_the_variable() -> None:
    book = AppBook.load(Settings(apps='{"wx2": "b", "wx1": "a"}'))
    assert book.appids() == ["wx1", "wx2"]
    assert (book.secret("wx1"), book.secret("wx9")) == ("a", None)
    assert (book.names("wx2"), book.names("wx9"), book.refresh()) == (True, False, set())
    assert book.secrets() == {"wx1": "a", "wx2": "b"}


def test_no_apps_at_all_is_a_book_without_pages() -> None:
    assert AppBook.load(Settings()).appids() == []


def test_a_file_that_did_not_change_renews_nothing(file: Path) -> None:
    book = load(file)
    assert (book.appids(), book.refresh(), book.refresh()) == (["wx1", "wx2"], set(), set())


def test_new_and_changed_apps_are_told_once_and_removed_ones_are_gone(file: Path) -> None:
    book = load(file)
    write(file, {"wx2": "another", "wx3": "new"})
    assert book.refresh() == {"wx2", "wx3"}
    assert book.refresh() == set()
    assert book.appids() == ["wx2", "wx3"]
    assert book.secret("wx2") == "another"


def test_a_change_in_place_of_the_same_size_is_seen(file: Path) -> None:
    book = load(file)
    before = file.stat()
    file.write_bytes(file.read_bytes().replace(b"canary-one", b"canary-six"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert book.refresh() == {"wx1"}


BROKEN = {
    "no JSON": b'{"wx1": "canary-one"',
    "a list": b'["canary-one"]',
    "no text": b'{"wx1": ["canary-one"]}',
    "a field that is none": b'{"wx1": {"secrets": "canary-one"}}',
    "no source": b'{"wx1": {}}',
    "two sources": b'{"wx1": {"token_url": "http://canary", "cloudbase_token_file": "/x"}}',
    "two secrets": b'{"wx1": {"secret": "canary-one", "secret_file": "/x"}}',
    "a key for nobody": b'{"wx1": {"secret": "a", "token_key": "canary-one"}}',
    "an end of a line": b'{"wx1": "canary-one\\n"}',
    "a key with an end of a line": b'{"wx1": {"token_url": "http://x", "token_key": "canary-one\\n"}}',
    "an address that is none": b'{"wx1": {"token_url": "canary"}}',
    "a password in the address": b'{"wx1": {"token_url": "https://canary:one@x"}}',
    "not UTF-8": b'{"wx1": "canary-\xff"}',
    "nested without end": b"[" * 100_000,
    "an empty secret": b'{"wx1": ""}',
    "an empty app id": b'{"": "canary-one"}',
    "nothing": b"",
    "too much": b'{"wx1": "canary-one"}' + b" " * LARGEST,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_an_error_that_names_the_file_and_not_its_content(file: Path, name: str) -> None:
    write(file, BROKEN[name])
    with pytest.raises(AppsError) as caught:
        load(file)
    assert str(file) in str(caught.value)
    assert "canary" not in "".join(map(str, (caught.value, caught.value.__cause__)))
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_breaks_later_leaves_what_was_known(file: Path, name: str, capsys) -> None:
    book = load(file)
    write(file, BROKEN[name])
    assert (book.refresh(), book.refresh()) == (set(), set())
    assert book.secret("wx1") == "canary-one"
    told = capsys.readouterr().out
    assert told.count("cannot be used") == 1
    assert "canary" not in told
    write(file, {"wx1": "canary-one", "wx3": "new"})
    assert book.refresh() == {"wx3"}


def test_a_broken_variable_is_an_error_without_its_content() -> None:
    with pytest.raises(AppsError, match="LIVECARD_APPS is not a JSON object") as caught:
        AppBook.load(Settings(apps='{"wx1": "canary-one'))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610])
def test_a_file_that_others_can_read_is_an_error(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(AppsError, match=f"chmod 600 {file}"):
        load(file)


def test_a_file_opened_to_others_later_is_told_and_read_again_once_it_is_closed(file: Path, capsys) -> None:
    book = load(file)
    write(file, {"wx3": "new"})
    file.chmod(0o644)
    assert book.refresh() == set()
    assert book.appids() == ["wx1", "wx2"]
    assert "chmod 600" in capsys.readouterr().out
    file.chmod(0o600)
    assert book.refresh() == {"wx3"}


def test_a_file_that_is_not_there_is_an_error_at_first_and_a_warning_later(file: Path, capsys) -> None:
    book = load(file)
    file.unlink()
    with pytest.raises(AppsError, match="cannot read"):
        load(file)
    assert (book.refresh(), book.refresh(), book.appids()) == (set(), set(), ["wx1", "wx2"])
    assert capsys.readouterr().out.count("cannot be used") == 1
    write(file, {"wx1": "canary-one"})
    assert book.refresh() == set()
    assert book.appids() == ["wx1"]


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(AppsError, match="is not a file"):
            load(path)
