"""npm: the packages that a package-lock.json pins, installed once into a cache folder."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts.engines.kafka import cache_folder
from scripts.engines.process import EngineError


def missing() -> str | None:
    """Say what keeps npm's packages from being had here, or None when nothing does."""
    return None if shutil.which("node") and shutil.which("npm") else "no npm (Debian: nodejs, npm)"


def node_modules(folder: Path) -> Path:
    """Return the `node_modules` of the package.json and package-lock.json in `folder`, which it leaves alone.

    They are installed once for each content of the lock; several processes may do it together.
    """
    if reason := missing():
        raise EngineError(f"the packages of {folder.name} cannot be installed: {reason}")
    lock = folder / "package-lock.json"
    target = cache_folder() / f"npm-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not target.exists():
        _install(folder, target)
    return target / "node_modules"


def _install(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(folder / name, partial)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        told = subprocess.run(
            command, cwd=partial, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if told.returncode:
            raise EngineError(f"npm could not install it:\n{(told.stdout + told.stderr)[-2000:]}")
        try:
            partial.rename(target)
        except OSError:
            if not target.exists():  # otherwise somebody else was faster, and theirs is as good
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
