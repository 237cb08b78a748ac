"""Files that hold secrets: who may read them, what they must be, and what a wrong one is told at start."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.patience import PATIENCE
from services.runtime.secret_file import LARGEST, SecretFileError, exposed, read_secret
from services.runtime.tls import Files, TlsError, client_context
from tests.e2e.line import LIVECARD
from tests.security.authority import Authority

US, ROOT, SOMEBODY = 1000, 0, 1001
REGULAR, FOLDER, PIPE = 0o100000, 0o040000, 0o010000


def seen(kind: int, mode: int, owner: int) -> os.stat_result:
    """What the system says of a file."""
    return os.stat_result((kind | mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o000, 0o700])
def test_ours_alone_is_right(mode: int) -> None:
    assert exposed(seen(REGULAR, mode, US), US) == ""


@pytest.mark.parametrize("mode", [0o640, 0o440, 0o604, 0o644, 0o660, 0o610, 0o601, 0o620])
def test_ours_that_others_can_touch_is_wrong(mode: int) -> None:
    assert "chmod 600" in exposed(seen(REGULAR, mode, US), US)


@pytest.mark.parametrize("mode", [0o440, 0o640, 0o400, 0o600])
def test_roots_that_our_group_reads_is_right(mode: int) -> None:
    """As Kubernetes mounts a secret for a pod with `fsGroup`."""
    assert exposed(seen(REGULAR, mode, ROOT), US) == ""


@pytest.mark.parametrize("mode", [0o444, 0o644, 0o660, 0o650, 0o641])
def test_roots_that_everybody_reads_or_our_group_writes_is_wrong(mode: int) -> None:
    assert "chmod 640" in exposed(seen(REGULAR, mode, ROOT), US)


def test_somebody_elses_is_wrong_and_so_is_what_is_no_file() -> None:
    assert "another user" in exposed(seen(REGULAR, 0o600, SOMEBODY), US)
    assert "another user" in exposed(seen(REGULAR, 0o600, US), ROOT)
    for kind in (FOLDER, PIPE):
        assert exposed(seen(kind, 0o600, US), US) == "is not a file"


def test_a_symbolic_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    """Kubernetes' files are links into a folder that is swapped as a whole."""
    real, link = tmp_path / "..data" / "apps.json", tmp_path / "apps.json"
    real.parent.mkdir()
    real.touch(0o600)
    real.write_text("{}")
    link.symlink_to(Path("..data") / "apps.json")
    assert read_secret(link) == b"{}"
    real.chmod(0o644)
    with pytest.raises(SecretFileError, match="chmod 600"):
        read_secret(link)
    real.unlink()
    with pytest.raises(SecretFileError, match="No such file"):
        read_secret(link)


def test_what_is_too_large_or_no_file_is_not_read(tmp_path: Path) -> None:
    large, pipe = tmp_path / "large", tmp_path / "pipe"
    large.touch(0o600)
    large.write_bytes(b"x" * (LARGEST + 1))
    os.mkfifo(pipe, 0o600)
    for path, words in ((large, "is larger than"), (pipe, "is not a file"), (tmp_path, "is not a file")):
        with pytest.raises(SecretFileError, match=words):
            read_secret(path)


@contextmanager
def somebody_else(user: pwd.struct_passwd) -> Iterator[None]:
    """This process as an unprivileged user."""
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_an_unprivileged_process_reads_roots_file_by_its_group() -> None:
    """For real: root's 0440 with our group is read, 0444 is refused, 0400 cannot be."""
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # the tests' own folders are closed to others
        file = Path(folder) / "apps.json"
        file.write_text("{}")
        os.chown(file, 0, nobody.pw_gid)
        for mode, words in ((0o440, ""), (0o444, "chmod 640"), (0o400, "Permission denied")):
            file.chmod(mode)
            with somebody_else(nobody):
                if words:
                    with pytest.raises(SecretFileError, match=words):
                        read_secret(file)
                else:
                    assert read_secret(file) == b"{}"


NAMES = ("CA", "CERT", "KEY")


def test_a_pair_of_certificate_and_key_is_taken_in_two_files_or_in_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    pair = authority.sign("client")
    client_context(Files(str(authority.file), str(pair.certificate), str(pair.key), NAMES))
    client_context(Files(str(authority.file), str(pair.both), "", NAMES))
    client_context(Files("", "", "", NAMES))


def test_what_is_wrong_with_certificates_and_keys_is_told_by_their_settings(tmp_path: Path) -> None:
    """Never by asking for a password at the terminal."""
    authority = Authority(tmp_path, "authority")
    pair, other = authority.sign("client"), authority.sign("other")
    locked = authority.sign("locked", password="canary-key")
    der, exposed_key = tmp_path / "ca.der", tmp_path / "exposed.pem"
    der.write_bytes(b"\x30\x82\x01\x00")
    exposed_key.write_bytes(pair.key.read_bytes())
    exposed_key.chmod(0o644)
    ca, cert, key = str(authority.file), str(pair.certificate), str(pair.key)
    cases = {
        (str(der), "", ""): f"CA: {der} holds no certificate in PEM form",
        (str(tmp_path), "", ""): f"CA: cannot read {tmp_path}: Is a directory",
        (str(tmp_path / "none"), "", ""): "CA: cannot read",
        (ca, cert, ""): "CERT is set without KEY",
        (ca, "", key): "KEY is set without CERT",
        (ca, cert, str(other.key)): "CERT and KEY are not a pair",
        (ca, str(locked.certificate), str(locked.key)): "unencrypted key in PEM form",
        (ca, cert, cert): "KEY: ",
        (ca, cert, str(exposed_key)): f"KEY: {exposed_key} can be read by others than its owner: chmod 600",
    }
    for paths, words in cases.items():
        with pytest.raises(TlsError) as caught:
            client_context(Files(*paths, NAMES))
        assert words in str(caught.value), paths
        assert "canary" not in str(caught.value)


def livecard(*arguments: str, **settings: str) -> tuple[int, str]:
    """One command with these settings alone: its exit code and what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVECARD_")}
    environment |= {f"LIVECARD_{name.upper()}": value for name, value in settings.items()}
    done = subprocess.run(
        [LIVECARD, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    return done.returncode, done.stderr


def test_a_wrong_setting_ends_the_start_with_one_message(tmp_path: Path) -> None:
    """All contradictions at once; a file by its setting; an exit code; no traceback, no secret."""
    code, told = livecard(
        "lifecycle",
        kafka="a:9092",
        kafka_security="SASL_SSL",
        kafka_sasl_plain_password="canary",
        kafka_ssl_keyfile="k.pem",
    )
    assert code == 1
    wanted = ("SASL_MECHANISM too", "SASL_PLAIN_USERNAME too", "SSL_KEYFILE is set without")
    assert [words for words in wanted if words not in told] == []
    code, told = livecard(
        "clock",
        database=f"sqlite+aiosqlite:///{tmp_path}/s.sqlite3",
        kafka="a:9092",
        kafka_security="SSL",
        kafka_ssl_cafile=str(tmp_path / "none.pem"),
    )
    where = f"LIVECARD_KAFKA_SSL_CAFILE: cannot read {tmp_path}/none.pem: No such file or directory"
    assert (code, told) == (1, f"livecard: {where}\n")
    apps = tmp_path / "apps.json"
    apps.write_text(json.dumps({"wx1": "canary"}))
    apps.chmod(0o644)
    database = f"sqlite+aiosqlite:///{tmp_path}/s.sqlite3"
    code, told = livecard("dispatcher", database=database, kafka="a:9092", apps_file=str(apps))
    assert (code, "canary" in told) == (1, False)
    assert told.splitlines()[-1].endswith(f"can be read by others than its owner: chmod 600 {apps}")
