"""The wheel, installed where no checkout is: the demo runs, and says what it needs where that is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.cli.running import livecard

ROOT = Path(__file__).resolve().parents[2]
BUILT_FROM = ["pyproject.toml", "README.md", "LICENSE", "contracts", "statemachine", "services"]
"""What the Dockerfile copies, too."""
QUIET = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]


def pip(*arguments: str | Path) -> None:
    """Run pip without any index; whatever it prints is a fault."""
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built, so that nothing is written into the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    folder = tmp_path_factory.mktemp("wheels")
    pip("wheel", *QUIET, "--no-build-isolation", "--wheel-dir", folder, source)
    return next(folder.glob("*.whl"))


def fresh(folder: Path, wheel: Path, *, without: str = "") -> Path:
    """Make an environment that holds the wheel and what requirements.txt locks; return its `livecard`."""
    home = folder / "fresh"
    venv.create(home, symlinks=True)
    pip("--python", home / "bin" / "python", "install", *QUIET, wheel)
    [packages] = home.glob("lib/*/site-packages")
    for name in re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE):
        if name != without:
            with suppress(PackageNotFoundError):  # meant for other systems
                borrow(name, packages)
    return home / "bin" / "livecard"


def borrow(name: str, packages: Path) -> None:
    """Link an installed distribution into another environment: the locked one, without asking an index."""
    files = distribution(name).files or []
    for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
        if not (packages / top).exists():
            (packages / top).symlink_to(str(distribution(name).locate_file(top)))


@pytest.mark.slow
def test_the_demo_of_the_wheel_ends_well(wheel: Path, tmp_path: Path) -> None:
    """A group task with faults, anywhere; exit 0 only because the ledger balances."""
    command = fresh(tmp_path, wheel)
    code, printed = livecard(
        *("demo", "--plain"),
        command=command,
        folder=tmp_path,
        LIVECARD_HTTP="127.0.0.1:0",
        LIVECARD_SIMULATOR_HTTP="127.0.0.1:0",
    )
    assert code == 0, printed
    assert "The ledger balances." in printed
    assert "Every card shows what it should." in printed
    assert "the chat, in a browser: http://127.0.0.1:" in printed


def test_without_the_extra_the_demo_names_what_really_installs_it(wheel: Path, tmp_path: Path) -> None:
    """Not livecard by name: what an index may have under that name is not ours."""
    command = fresh(tmp_path, wheel, without="confluent-kafka")
    code, printed = livecard("demo", command=command, folder=tmp_path, LIVECARD_HTTP="127.0.0.1:0")
    [metadata] = [name for name in ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA")]
    told = re.findall(
        r'^Requires-Dist: (\S+); extra == "embedded"$', ZipFile(wheel).read(metadata).decode(), re.MULTILINE
    )
    assert code == 1
    assert [f"pip install '{requirement}'" in " ".join(printed.split()) for requirement in told] == [True]
    assert "make install" in printed
    assert "livecard[" not in printed


def test_a_checkout_installs_without_a_warning(source: Path, tmp_path: Path) -> None:
    """As `make install` does it; its own lines are then all that a person reads."""
    venv.create(tmp_path / "fresh", symlinks=True)
    borrow("setuptools", next((tmp_path / "fresh").glob("lib/*/site-packages")))
    python = tmp_path / "fresh" / "bin" / "python"
    pip("--python", python, "install", *QUIET, "--no-build-isolation", "--editable", source)
    assert python.with_name("livecard").exists()
