"""A secret in a file is read again when it changes; what cannot be used leaves what was known."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from services.runtime.secret_file import SecretFileError, SecretText, read_secret

SETTING = "LIVECARD_X_FILE"


def put(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """As an editor or Kubernetes replaces it."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.chmod(mode)
    return fresh.replace(path)


def text(path: Path) -> SecretText:
    return SecretText(path=str(path), setting=SETTING)


def test_a_text_without_a_file_stays_what_it_is() -> None:
    assert SecretText("a").value() == "a"
    assert SecretText().value() == ""


@pytest.mark.parametrize(
    "content", [b"s\xc3\xa9same", b"s\xc3\xa9same\n", b"s\xc3\xa9same\r\n", b"\xef\xbb\xbfs\xc3\xa9same\n"]
)
def test_the_end_of_the_line_does_not_belong_to_it(tmp_path: Path, content: bytes) -> None:
    assert text(put(tmp_path / "secret", content)).value() == "sésame"


def test_spaces_do(tmp_path: Path) -> None:
    assert text(put(tmp_path / "secret", b" a b \n")).value() == " a b "


def test_a_changed_file_counts_at_once_and_a_broken_one_leaves_what_was_known(tmp_path: Path) -> None:
    path = put(tmp_path / "secret", b"canary-one")
    secret = text(path)
    put(path, b"canary-two")
    assert secret.value() == "canary-two"
    with structlog.testing.capture_logs() as told:
        for content, mode in ((b"", 0o600), (b"a\nb", 0o600), (b"\xff", 0o600), (b"canary-six", 0o644)):
            put(path, content, mode)
            assert [secret.value(), secret.value()] == ["canary-two"] * 2
        path.unlink()
        assert secret.value() == "canary-two"
        put(path, b"canary-three")
        assert secret.value() == "canary-three"
    assert [line["log_level"] for line in told] == ["warning"] * 5 + ["info"]
    assert "canary" not in str(told)
    assert "canary" not in repr(secret) + repr(vars(secret))


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"\xff", b"a\x00"])
def test_a_file_that_is_no_secret_is_told_at_the_start_without_its_content(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(SecretFileError, match=f"^{SETTING}: {tmp_path}"):
        text(put(tmp_path / "secret", content))


def test_kubernetes_changes_where_a_link_leads(tmp_path: Path) -> None:
    """A secret that is mounted is a link to a link to a folder, which is replaced."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        put(tmp_path / name / "key", name.encode())
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "key").symlink_to("..data/key")
    secret = text(tmp_path / "key")
    assert secret.value() == "one"
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").replace(tmp_path / "..data")
    assert secret.value() == "two"


def test_a_file_of_the_platforms_may_be_read_by_whoever_may(tmp_path: Path) -> None:
    path = put(tmp_path / "token", b"t", 0o644)
    assert read_secret(path, guarded=False) == b"t"
    with pytest.raises(SecretFileError, match="is not a file"):
        read_secret(tmp_path, guarded=False)
