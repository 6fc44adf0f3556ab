"""Builds `.workspace/`, the folder that the demo's agents work in: files from `workspace/`, a git ledger.

Deterministic: fixed authors and dates, so the same commit ids on every machine. Starts no server.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
TEMPLATE = EXAMPLES / "workspace"
WORKSPACE = EXAMPLES / ".workspace"
STAMP = ".complete"

POSTINGS = (
    ("2026-08-17", "lindqvist", "INV-1998", "EUR 980.00"),
    ("2026-09-15", "brightwater", "INV-2013", "EUR 388.00"),
    ("2026-10-15", "lindqvist", "INV-2027", "EUR 1102.40"),
)


def build() -> Path:
    """Make the workspace if it is absent or made from other files than now; return its path.

    Raises:
        subprocess.CalledProcessError: git refuses; what it said is in `stderr`.
        OSError: there is no git on PATH, or the folder cannot be written.
    """
    with (EXAMPLES / ".workspace.lock").open("w") as lock:
        # pytest -n2: the first worker builds, the other waits and finds it done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        recipe = _recipe()
        stamp = WORKSPACE / STAMP
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != recipe:
            shutil.rmtree(WORKSPACE, ignore_errors=True)
            shutil.copytree(TEMPLATE, WORKSPACE)
            (WORKSPACE / "ap" / "proposals").mkdir()
            (WORKSPACE / "screens").mkdir()
            _commit_ledger(WORKSPACE / "ledger")
            stamp.write_text(recipe, encoding="utf-8")
    return WORKSPACE


def _commit_ledger(folder: Path) -> None:
    """A repository with one commit for each posting, oldest first."""
    folder.mkdir()
    _git(folder, "init", "--quiet", "--initial-branch=main")
    lines = ["date,vendor,invoice,amount"]
    for date, vendor, invoice, amount in POSTINGS:
        lines.append(f"{date},{vendor},{invoice},{amount}")
        (folder / "postings.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        _git(folder, "add", "postings.csv")
        _git(folder, "commit", "--quiet", "--message", f"Post {invoice}: {vendor}, {amount}", date=date)


def _git(folder: Path, *arguments: str, date: str = POSTINGS[0][0]) -> None:
    who = {"NAME": "Acme Payables", "EMAIL": "payables@acme.example", "DATE": f"{date}T09:00:00+00:00"}
    identity = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in who.items()}
    # The user's own configuration (signing, hooks) would change the commits; GIT_DIR would move them.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    neutral = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**inherited, **neutral, **identity},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _recipe() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(TEMPLATE.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(TEMPLATE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()
