"""Runs the demo from nothing to a verified report, and prints the four answers in one screenful.

Each step is a program of its own: set-up, key, pytest, verifier. The answers are read from the report that
came out, not from the run. Exits non-zero when any step failed. Signs with the key that
MCP_GOVERNANCE_SIGNING_KEY names, else with a new one that is deleted at the end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from answers import four_answers

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence.keys import load_signing_key

EXAMPLES = Path(__file__).resolve().parent
REPORT = EXAMPLES.parent / "governance-report.html"
KEY_VARIABLE = "MCP_GOVERNANCE_SIGNING_KEY"


class StepFailed(Exception):
    """A step of the demo that did not work; the text is for a person."""


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="mcp-governance-demo-"))
    try:
        _step("set up the servers", [sys.executable, str(EXAMPLES / "setup_servers.py")])
        key = _signing_key(folder)
        _run_suite(key)
        verdict = _verify(key.fingerprint)
        print(_screenful(verdict, key.fingerprint))
        return 0
    except (StepFailed, GovernanceError) as failure:
        print(f"\nThe demo failed: {failure}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Key:
    location: str
    fingerprint: str


def _signing_key(folder: Path) -> _Key:
    """The key that the environment names, else a new one outside the repository; agents must not reach it."""
    if named := os.environ.get(KEY_VARIABLE):
        return _Key(named, load_signing_key(named, root=Path.cwd()).public.fingerprint)
    said = _output("make a signing key", [_cli(), "keygen", "--out", str(folder)])
    found = re.search(r"SHA256:[A-Za-z0-9+/]{43}", said)
    if not found:
        raise StepFailed("make a signing key: `mcp-governance keygen` printed no fingerprint")
    return _Key(str(folder / "signing.pem"), found[0])


def _run_suite(key: _Key) -> None:
    REPORT.unlink(missing_ok=True)
    options = [
        f"--mcp-governance-signing-key={key.location}",
        f"--mcp-governance-report-path={REPORT}",
    ]
    _step("run the demo suite", [sys.executable, "-P", "-m", "pytest", "-q", str(EXAMPLES), *options])


def _verify(fingerprint: str) -> Mapping[str, object]:
    """The verifier's answer, from a second program that knows nothing but the file and the fingerprint."""
    command = [_cli(), "verify", str(REPORT), "--trust", fingerprint, "--require", "passed", "--json"]
    answer = json.loads(_output("verify the report", command))
    assert isinstance(answer, dict)
    return answer


def _screenful(verdict: Mapping[str, object], fingerprint: str) -> str:
    size_mb = REPORT.stat().st_size / 1e6
    return "\n".join(
        [
            "",
            *four_answers(REPORT, verdict),
            "",
            f"Report       {_shown(REPORT)} ({size_mb:.1f} MB); open it in a browser",
            f"Fingerprint  {fingerprint}",
            f"Verify       {_shown(_cli())} verify {_shown(REPORT)} --trust {fingerprint}",
        ]
    )


def _step(name: str, command: Sequence[str]) -> None:
    """Run a step whose output is for the reader."""
    print(f"==> {name}", flush=True)
    code = subprocess.run(command, check=False).returncode
    if code:
        raise StepFailed(f"{name}: exit code {code}, see above")


def _output(name: str, command: Sequence[str]) -> str:
    """Run a step whose output is for this program."""
    print(f"==> {name}", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepFailed(f"{name}: exit code {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def _shown(path: str | Path) -> str:
    """A path as the reader, who stands in the project's folder, can use it."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else str(path)


def _cli() -> str:
    beside = Path(sys.executable).with_name("mcp-governance")
    found = str(beside) if beside.exists() else shutil.which("mcp-governance")
    if not found:
        raise StepFailed(f"no command mcp-governance beside {sys.executable}; install the project there first")
    return found


if __name__ == "__main__":
    sys.exit(main())
