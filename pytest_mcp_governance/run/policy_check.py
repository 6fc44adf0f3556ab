"""Policies in files, checked one by one, with the lock file that lies beside each.

Reads; what is worth a warning is `policy.lint`'s affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.policy.lint import LintWarning, lint
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.policy.lockfile import LOCK_NAME, Lock, read_lock
from pytest_mcp_governance.run.outside import read_outside


@dataclass(frozen=True, slots=True)
class Checked:
    """One file: its warnings, or why it cannot be read."""

    file: str
    warnings: tuple[LintWarning, ...] = ()
    error: str = ""

    def failing(self, *, strict: bool) -> bool:
        """Whether something has to be settled: any warning that is more than a hint, and a hint where it is strict."""
        return any(strict or not warning.hint for warning in self.warnings)


def check_policies(specs: Sequence[str], *, folder: Path, today: date, lock: str | None = None) -> tuple[Checked, ...]:
    """Lint every file; one that cannot be read hides none of the others.

    Args:
        specs: `FILE` or `git:REV:PATH`.
        folder: where relative paths start and git looks for the repository.
        today: the day by which waivers and reviews are due, in UTC.
        lock: the lock file; None takes `mcp-tools.lock` beside each policy, where there is one.
    """
    return tuple(_checked(spec, folder, today, lock) for spec in specs)


def _checked(spec: str, folder: Path, today: date, lock: str | None) -> Checked:
    try:
        found = read_outside(spec, folder=folder)
        policy = load_policy(found.text, name=found.name)
        return Checked(spec, lint(policy, today=today, lock=_lock(found.path, folder, lock)))
    except GovernanceError as error:
        return Checked(spec, error=str(error))


def _lock(policy: Path | None, folder: Path, named: str | None) -> Lock | None:
    if named is None:
        beside = policy.with_name(LOCK_NAME) if policy is not None else None
        if beside is None or not beside.exists():
            return None
        named = str(beside)
    found = read_outside(named, folder=folder)
    return read_lock(found.text, Path(found.name).name)
