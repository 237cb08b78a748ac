"""Resolve the dependencies into the lock files: names, versions and hashes for every supported platform.

`requirements-dev.txt` is what a checkout installs, `requirements.txt` what the image installs (a subset with
the same versions, with the embedded broker of `livecard demo` and with OpenTelemetry),
`requirements-build.txt` what builds the wheel, `requirements-bench.txt` the peers of `make bench`, which go
on top of a checkout's. What is locked stays as it is unless `--upgrade` or `--upgrade-package NAME` is given;
those options go to `uv pip compile`.
"""

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEV, RUNTIME, BUILD = "requirements-dev.txt", "requirements.txt", "requirements-build.txt"
BENCH = "requirements-bench.txt"


def compile_lock(output: str, *arguments: str, stdin: str | None = None) -> None:
    """Run `uv pip compile` into `output`; neither index addresses nor the command line are written down."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.11"]
    command += ["--custom-compile-command", "make lock", "--output-file", output, *arguments]
    subprocess.run(command, cwd=ROOT, check=True, text=True, input=stdin)


def main(options: Sequence[str]) -> None:
    """Write the lock files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    compile_lock(DEV, "pyproject.toml", "--extra", "dev", *options)
    compile_lock(
        RUNTIME, "pyproject.toml", "--extra", "embedded", "--extra", "traces", "--constraint", DEV, *options
    )
    needs = "\n".join(project["build-system"]["requires"])
    compile_lock(BUILD, "-", "--constraint", DEV, *options, stdin=needs)
    peers = "\n".join(project["project"]["optional-dependencies"]["bench"])
    compile_lock(BENCH, "-", "--constraint", DEV, *options, stdin=peers)
    for name in (DEV, RUNTIME, BUILD, BENCH):
        print(f"{name}: {(ROOT / name).read_text('utf-8').count('==')} packages")


if __name__ == "__main__":
    main(sys.argv[1:])
