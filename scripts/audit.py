"""Look for known vulnerabilities in what the lock files pin: `python -m scripts.audit`, or `make audit`.

pip-audit asks PyPI's vulnerability service (`--vulnerability-service osv`: OSV's). It says that all is well
also where it could not ask; so it is first asked about a release whose vulnerabilities everybody knows.
Exits 1 for a vulnerability that is not accepted below. When nobody could be asked it says so in capitals
and exits 0, so that a registry that is away does not stop the work; with `--strict` it exits 2.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.txt", "requirements-dev.txt", "requirements-build.txt", "requirements-bench.txt")
KNOWN = "urllib3==1.26.4"
"""Vulnerable since 2021 (CVE-2021-33503): who finds nothing here cannot be trusted to find anything."""
ACCEPTED: dict[str, str] = {}
"""Vulnerabilities we live with: the id or an alias, and why it does not reach us."""
SECONDS = 600


class Finding(NamedTuple):
    """One vulnerability of one locked package."""

    package: str
    names: frozenset[str]
    fixed: str

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.package}: {', '.join(sorted(self.names))} (fixed in {self.fixed or 'no release yet'})"


class NobodyToAsk(Exception):
    """The vulnerability service did not answer; the text is what pip-audit said last."""


def ask(files: Sequence[Path], options: Sequence[str]) -> tuple[list[Finding], list[str]]:
    """The vulnerabilities of what the files pin, and the packages that could not be looked up."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--format", "json"]
    command += ["--progress-spinner", "off", *(f"--requirement={file}" for file in files), *options]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise NobodyToAsk(f"no answer in {SECONDS} s") from None
    try:
        packages: list[dict[str, Any]] = json.loads(told.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise NobodyToAsk((told.stderr.strip().splitlines() or ["it said nothing"])[-1]) from None
    findings = [
        Finding(
            f"{each['name']} {each['version']}",
            frozenset({vulnerability["id"], *vulnerability["aliases"]}),
            ", ".join(vulnerability["fix_versions"]),
        )
        for each in packages
        for vulnerability in each.get("vulns", [])
    ]
    return findings, [each["name"] for each in packages if "skip_reason" in each]


def audit(options: Sequence[str], locks: Sequence[Path]) -> list[Finding]:
    """The vulnerabilities of the locks that are not accepted; raises `NobodyToAsk`."""
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "known.txt"
        probe.write_text(f"{KNOWN}\n", "utf-8")
        findings, _ = ask([probe], options)
    if not findings:
        raise NobodyToAsk(f"the service knows nothing about {KNOWN}")
    findings, unknown = ask(locks, options)
    if unknown:
        raise NobodyToAsk(f"the service could not look up {', '.join(unknown)}")
    return [each for each in findings if not each.names & ACCEPTED.keys()]


def main(arguments: Sequence[str]) -> int:
    """Audit and tell."""
    options = [each for each in arguments if each != "--strict"]
    try:
        findings = audit(options, [ROOT / name for name in LOCKS])
    except NobodyToAsk as why:
        print(f"audit: NOTHING WAS AUDITED, NOTHING IS KNOWN ABOUT VULNERABILITIES: {why}", file=sys.stderr)
        return 2 if "--strict" in arguments else 0
    for finding in findings:
        print(f"audit: {finding}", file=sys.stderr)
    print(f"audit: {len(findings)} known vulnerabilities in {', '.join(LOCKS)}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
