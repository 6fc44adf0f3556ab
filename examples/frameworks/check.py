"""Runs one framework's test, then holds its signed report against what the server was really sent.

    python check.py langchain

Needs this project, pytest and the framework in one environment; `tox run -e frameworks` makes one for each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(name: str, *options: str) -> int:
    with tempfile.TemporaryDirectory(prefix="mcp-governance-frameworks-") as made:
        folder = Path(made)
        report, log = folder / "report.html", folder / "server.log"
        _command("keygen", "--out", str(folder / "key"), quiet=True)
        suite = [
            *("-q", f"--rootdir={HERE}", f"--basetemp={folder / 'tests'}", str(HERE / f"test_{name}.py")),
            f"--mcp-governance-report-path={report}",
            f"--mcp-governance-signing-key={folder / 'key' / 'signing.pem'}",
        ]
        if status := subprocess.run([sys.executable, "-P", "-m", "pytest", *suite, *options], check=False).returncode:
            return status
        # pytest leaves a link to each test's folder beside it.
        parts = sorted(part for part in (folder / "tests").glob("*/server.log") if not part.parent.is_symlink())
        log.write_bytes(b"".join(part.read_bytes() for part in parts))
        trusted = str(folder / "key" / "signing.pub.pem")
        return _command("reconcile", str(report), "--server=files", f"--server-log={log}", f"--trust={trusted}")


def _command(*arguments: str, quiet: bool = False) -> int:
    program = str(Path(sys.executable).with_name("mcp-governance"))
    return subprocess.run([program, *arguments], check=False, stdout=subprocess.DEVNULL if quiet else None).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
