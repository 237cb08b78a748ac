"""Session keys at rest: sealed under the file's first key, bound to their session, gone with their key."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import pytest

from services.gateway.session_keys import SessionKeyError, SessionKeys, hash_of, new_key
from services.runtime.settings import Settings

CHANCE = random.Random(1)


def write(path: Path, *lines: str) -> None:
    path.touch(0o600)
    path.write_text("\n".join(lines) + "\n")


def load(path: Path) -> SessionKeys:
    return SessionKeys.load(Settings(session_key_file=str(path)), CHANCE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "session-keys"
    write(path, new_key(CHANCE))
    return path


def test_what_is_sealed_is_opened_with_what_it_is_about_alone(file: Path) -> None:
    keys = load(file)
    sealed = keys.seal(b"canary", b"one session")
    assert "canary" not in sealed
    assert base64.b64encode(b"canary").decode() not in sealed
    assert keys.unseal(sealed, b"one session") == b"canary"
    assert keys.unseal(sealed, b"another") is None
    assert sealed != keys.seal(b"canary", b"one session")


def test_a_change_of_what_is_kept_is_seen(file: Path) -> None:
    keys = load(file)
    name, _, kept = keys.seal(b"canary", b"it").partition(":")
    data = bytearray(base64.b64decode(kept))
    data[-1] ^= 1
    assert keys.unseal(f"{name}:{base64.b64encode(data).decode()}", b"it") is None


def test_the_first_key_encrypts_and_all_decrypt_until_they_are_taken_out(file: Path) -> None:
    """A key is changed by writing another one above it, and taken out a day later."""
    keys, old = load(file), file.read_text().strip()
    before = keys.seal(b"canary", b"it")
    fresh = new_key(CHANCE)
    write(file, fresh, "", old)
    keys.refresh()
    assert keys.unseal(before, b"it") == b"canary"
    after = keys.seal(b"canary", b"it")
    assert after.partition(":")[0] != before.partition(":")[0]
    write(file, fresh)
    keys.refresh()
    assert (keys.unseal(before, b"it"), keys.unseal(after, b"it")) == (None, b"canary")


def test_a_broken_file_leaves_what_was_known(file: Path) -> None:
    keys = load(file)
    sealed = keys.seal(b"canary", b"it")
    write(file, "oh no")
    keys.refresh()
    assert keys.unseal(sealed, b"it") == b"canary"


@pytest.mark.parametrize("content", ["", "c2hvcnQ=", "no base64 at all", new_key(CHANCE)[:-1]])
def test_a_file_that_cannot_be_used_is_told_without_quoting_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys"
    write(path, content)
    with pytest.raises(SessionKeyError, match="32 bytes in base64") as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert not content or content not in str(caught.value)


def test_a_file_that_others_can_read_is_refused(file: Path) -> None:
    file.chmod(0o644)
    with pytest.raises(SessionKeyError, match="chmod 600"):
        load(file)


def test_without_a_file_there_is_nothing_to_encrypt_with(file: Path) -> None:
    assert not SessionKeys.load(Settings(), CHANCE).usable
    assert load(file).usable
    assert "canary" not in repr(load(file))


def test_a_session_is_256_random_bits_and_only_its_hash_is_kept(file: Path) -> None:
    keys = load(file)
    made = {keys.new_session() for _ in range(100)}
    assert len(made) == 100
    assert {len(base64.urlsafe_b64decode(each + "=")) for each in made} == {32}
    assert all(hash_of(each) != each and len(hash_of(each)) == 64 for each in made)
