"""The rules about the files themselves: who imports whom, what reads a clock, what is never written down."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("contracts", "statemachine", "services")
SERVICES = frozenset({"lifecycle", "clock", "dispatcher", "gateway", "simulator"})
OUTSIDE = {"tests", "scripts", "benchmarks", "examples"}
THIRD_PARTY = {"contracts": {"msgspec"}, "statemachine": {"msgspec", "transitions"}}
BELOW = {"contracts": {"contracts"}, "statemachine": {"contracts", "statemachine"}, "services": set(PACKAGES)}
# The core is pure: no I/O, no clock, no logging (`contracts.generate` is a tool that writes files).
IMPURE = {
    "asyncio",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
}
TOOLS = {"contracts/generate.py"}
QUIETENS_TRANSITIONS = ("statemachine/states.py", "logging")  # its INFO lines cost 20 µs a transition

# What runs unmodified in the simulation is handed its clock, randomness and ids, and starts no thread.
SIMULATED = ("contracts/", "statemachine/", *(f"services/{name}/" for name in (*SERVICES, "store", "wechat")))
REAL_MODULES = {"time", "random", "secrets", "threading", "concurrent.futures", "multiprocessing", "queue"}
REAL_NAMES = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.sleep"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom"),
    *("uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7"),
    *("asyncio.to_thread", "anyio.to_thread"),
}
REAL_METHODS = {"run_in_executor", "to_thread", "utcnow", "uuid1", "uuid4"}
COMPOSITION_ROOT = "app.py"  # each service's one file that hands the real clock, randomness and ids in
# Other files at the edge: the path and why.
EDGES: dict[str, str] = {}

LOCAL_PATHS = re.compile(r"(?:^|[^a-z.\w])/(?:work|root|farm)/")
REGISTRIES = re.compile(r"""https?://[^\s"']*(?:pypi|pythonhosted|npmjs|/maven2|crates\.io|proxy\.golang)""")
# A silenced check, and one that names its code and its reason.
SILENCED = re.compile(r"#\s*(?:noqa\b|type:\s*ignore)")
EXPLAINED = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]+|type: ignore\[[\w, -]+\])\s*(?:#|-|—|:|\()\s*\w.{7,}")
PACKAGED = {".py", ".sql", ".json", ".yaml", ".html", ".css", ".js", ".svg", ".ini", ".mako", ".typed"}
MOST_LINES = 400


def files() -> list[Path]:
    """Every file of the project: what git tracks or would track; in an unpacked archive, what is there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = (
            subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        )
    except (OSError, subprocess.CalledProcessError):
        hidden = {".venv", ".git", "__pycache__"}
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if not hidden & set(path.parts)]
    return sorted(path for name in listed if name and (path := ROOT / name).is_file())


FILES = files()
SOURCES = {path.relative_to(ROOT).as_posix(): path for path in FILES if path.suffix == ".py"}
OWN = {name: path for name, path in SOURCES.items() if name.split("/")[0] in PACKAGES}


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything imported, `from a import b` as `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def import_faults(name: str, source: str) -> list[str]:
    """Return what the file imports against design's table: `services → statemachine → contracts`."""
    found = ((line, imported, import_fault(name, imported)) for line, imported in imports(ast.parse(source)))
    return [f"{name}:{line}: {fault} {imported}" for line, imported, fault in found if fault]


def import_fault(name: str, imported: str) -> str | None:
    """Say what is wrong with one import of one file, None when nothing is."""
    room, inner, *_ = name.split("/")
    top, other, *_ = f"{imported}.".split(".")
    if top in OUTSIDE or (top in PACKAGES and top not in BELOW[room]):
        return f"{room} may not import"
    if room in THIRD_PARTY:
        if top not in THIRD_PARTY[room] | BELOW[room] | sys.stdlib_module_names:
            return f"{room} may not depend on"
        if top in IMPURE and (name, top) != QUIETENS_TRANSITIONS and name not in TOOLS:
            return f"{room} is pure and may not use"
    alone = SERVICES | {"cli"}  # the command knows them all, nobody knows the command
    if top == "services" and inner != "cli" and other in alone and other != inner:
        return f"{room}/{inner} may not import"
    return None


def real_world_faults(name: str, source: str) -> list[str]:
    """Return where a file that is to be simulated reads a clock, draws, makes ids or uses threads."""
    tree = ast.parse(source)
    faults = []
    for line, imported in imports(tree):
        if (
            any(imported == module or imported.startswith(f"{module}.") for module in REAL_MODULES)
            or imported in REAL_NAMES
            or imported.rpartition(".")[2] in REAL_METHODS
        ):
            faults.append(f"{name}:{line}: imports {imported}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            dotted = ".".join(ast.unparse(node).split(".")[-2:])
            if dotted in REAL_NAMES or node.attr in REAL_METHODS or node.attr.endswith("PoolExecutor"):
                faults.append(f"{name}:{node.lineno}: uses {ast.unparse(node)}")
    return faults


@pytest.mark.parametrize("name", sorted(OWN))
def test_imports_point_inwards(name: str) -> None:
    assert import_faults(name, OWN[name].read_text("utf-8")) == []


@pytest.mark.parametrize("name", [name for name in sorted(OWN) if name.startswith(SIMULATED)])
def test_what_is_simulated_touches_no_real_clock_randomness_or_thread(name: str) -> None:
    if name in EDGES or name in TOOLS or Path(name).name == COMPOSITION_ROOT:
        return
    assert real_world_faults(name, OWN[name].read_text("utf-8")) == []


def test_an_exception_is_dropped_when_it_is_no_longer_needed() -> None:
    assert [name for name in EDGES if not real_world_faults(name, OWN[name].read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("contracts/a.py", "import statemachine.plan"),
        ("contracts/a.py", "import httpx"),
        ("statemachine/a.py", "from services import store"),
        ("statemachine/a.py", "import sqlalchemy"),
        ("statemachine/a.py", "import logging"),
        ("services/clock/a.py", "from services.dispatcher.queue import Queue"),
        ("services/clock/a.py", "from services import dispatcher"),
        ("services/store/a.py", "import services.clock.app"),
        ("services/runtime/ports.py", "import services.cli"),
        ("services/kafka/a.py", "from tests import conftest"),
    ],
)
def test_the_import_rule_sees(name: str, source: str) -> None:
    assert len(import_faults(name, source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from time import monotonic",
        "from datetime import datetime\ndatetime.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "import uuid\nuuid.uuid4()",
        "from uuid import uuid4",
        "import random",
        "import asyncio\nasyncio.to_thread(work)",
        "loop.run_in_executor(None, work)",
        "from concurrent.futures import ThreadPoolExecutor",
        "import threading",
    ],
)
def test_the_simulation_rule_sees(source: str) -> None:
    assert real_world_faults("statemachine/a.py", source)


def test_the_simulation_rule_lets_virtual_time_and_fixed_ids_be() -> None:
    source = (
        "import asyncio, uuid\nasyncio.sleep(1)\nasyncio.timeout(2)\nuuid.uuid5(space, name)\nclock.now()"
    )
    assert real_world_faults("services/store/a.py", source) == []


def texts() -> Iterator[tuple[str, str]]:
    """Yield name and text of every text file."""
    for path in FILES:
        data = path.read_bytes()
        if b"\0" not in data:
            yield path.relative_to(ROOT).as_posix(), data.decode("utf-8", "replace")


@pytest.mark.parametrize("pattern", [LOCAL_PATHS, REGISTRIES], ids=["machine paths", "package registries"])
def test_nothing_of_one_machine_is_written_down(pattern: re.Pattern[str]) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_the_patterns_see() -> None:
    assert LOCAL_PATHS.search("open('/" + "root/x')")
    assert REGISTRIES.search("https:/" + "/files.pythonhosted.org/x")
    assert not LOCAL_PATHS.search("workdir: ./work/x")


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_file_stays_short_enough_to_read(name: str) -> None:
    assert len(SOURCES[name].read_text("utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_silenced_check_says_why(name: str) -> None:
    lines = SOURCES[name].read_text("utf-8").splitlines()
    silenced = [line.strip() for line in lines if SILENCED.search(line) and not EXPLAINED.search(line)]
    assert name == "tests/test_layout.py" or silenced == []


def test_a_reason_is_told_from_a_bare_code() -> None:
    assert EXPLAINED.search("x  # noqa: BLE001  # whatever fails is counted")
    assert EXPLAINED.search("x  # type: ignore[arg-type]  # the stubs know no keyword groups")
    assert not EXPLAINED.search("x  # noqa: BLE001")
    assert not EXPLAINED.search("x  # type: ignore[arg-type]")
    assert not EXPLAINED.search("x  # noqa")


def test_every_file_of_the_packages_is_in_the_wheel() -> None:
    lost = [
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if path.relative_to(ROOT).parts[0] in PACKAGES
        and path.suffix not in PACKAGED
        and path.name != "py.typed"
    ]
    assert lost == []


def headings(text: str) -> list[int]:
    """Return the levels of a Markdown text's headings, outside of code blocks."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]


def test_both_readmes_have_the_same_sections() -> None:
    english, chinese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert headings(english) == headings(chinese)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-build.txt"])
def test_a_lock_names_versions_and_hashes_and_no_index(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    entries = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert entries
    assert all(re.match(r"[a-z0-9.-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"--(?:index|extra-index|find-links|trusted)|://", text)


def test_production_installs_the_versions_that_were_tested() -> None:
    pins = {
        name: dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        for name in ("requirements.txt", "requirements-dev.txt")
    }
    runtime, full = pins["requirements.txt"], pins["requirements-dev.txt"]
    assert runtime.items() <= full.items()
    assert not {"pytest", "hypothesis", "mypy"} & set(runtime)
    assert "confluent-kafka" in runtime, "`livecard demo` runs from the image"
