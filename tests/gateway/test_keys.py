"""API keys: what the file may hold, and what becomes of it while the gateway runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog

from services.gateway.keys import ApiKeys, ApiKeysError, hash_of

KEY = "lck_" + "k" * 43
ENTRY = {"name": "signup", "scopes": ["read", "write"], "appids": ["wx1"]}


def written(path: Path, content: Any, mode: int = 0o600) -> Path:
    """The file with this content, for us alone."""
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    path.chmod(mode)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one key."""
    return written(tmp_path / "keys.json", {hash_of(KEY): ENTRY})


def test_a_key_is_found_by_its_hash(file: Path) -> None:
    keys = ApiKeys.load(str(file))
    caller = keys.find(KEY)
    assert caller is not None
    assert (caller.name, caller.scopes, caller.appids) == (
        "signup",
        frozenset({"read", "write"}),
        frozenset({"wx1"}),
    )
    assert caller.owns("wx1")
    assert not caller.owns("wx2")
    assert keys.find("lck_other") is keys.find("") is keys.find(hash_of(KEY)) is None
    assert keys.find("\udcff") is None


def test_the_file_is_read_again_when_it_changes(file: Path) -> None:
    keys = ApiKeys.load(str(file))
    written(file, {hash_of("lck_new"): ENTRY})
    keys.refresh()
    assert keys.find(KEY) is None
    assert keys.find("lck_new") is not None


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    keys = ApiKeys.load(str(tmp_path / "keys.json"))
    assert len(keys) == 0
    written(tmp_path / "keys.json", {hash_of(KEY): ENTRY})
    keys.refresh()
    assert keys.find(KEY) is not None


@pytest.mark.parametrize("content", ["{", "[]", '{"x": 1}', None])
def test_a_broken_file_leaves_the_keys_of_before_and_is_told_once(file: Path, content: str | None) -> None:
    keys = ApiKeys.load(str(file))
    if content is None:
        file.unlink()
    else:
        written(file, content)
    with structlog.testing.capture_logs() as told:
        keys.refresh()
        keys.refresh()
    assert keys.find(KEY) is not None
    assert [(each["log_level"], each["event"]) for each in told] == [
        ("critical", "the file of API keys cannot be used; the keys of before still count")
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not a JSON object of keys"),
        ({KEY: ENTRY}, "matching regex"),
        ({hash_of(KEY): ENTRY | {"scopes": ["admin"]}}, "Invalid enum value 'admin'"),
        ({hash_of(KEY): ENTRY | {"name": "a/b\n"}}, "name"),
        ({hash_of(KEY): ENTRY | {"scope": "read"}}, "unknown field `scope`"),
        ({hash_of(KEY): {"name": "x", "scopes": ["read"]}}, "appids"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, content: Any, said: str) -> None:
    file = written(tmp_path / "keys.json", content)
    with pytest.raises(ApiKeysError) as caught:
        ApiKeys.load(str(file))
    assert str(caught.value).startswith(f"LIVECARD_API_KEYS_FILE: {file}")
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_file_that_others_can_read_is_not_used(file: Path) -> None:
    file.chmod(0o644)
    with pytest.raises(ApiKeysError, match="chmod 600"):
        ApiKeys.load(str(file))
