"""The approved run that this one is compared with: read once, checked, handed on as text.

One that was named and cannot be used ends pytest before any test. One that is only found at rootdir fails the run
instead: never is a broken approval taken for none.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.plugin.gating import SHARED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_mcp_governance.plugin.given import Given

DEFAULT_APPROVED = "governance.approved.json"


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval's text.

    Args:
        source: what it was read from, as people call it.
        text: all of it; empty where it cannot be used.
        close: close digest of the approved run.
        statement: digest of the approval.
        problem: why it cannot be used and what mends it, or "".
    """

    source: str
    text: str = ""
    close: str = ""
    statement: str = ""
    problem: str = ""

    def for_workers(self) -> dict[str, str]:
        """As pytest-xdist can carry it; a worker that read it again could read another."""
        return asdict(self)

    def stated(self) -> dict[str, object]:
        """What the open statement says of it, signed before any test runs."""
        return {"approved": {"close": self.close, "statement": self.statement}} if self.text else {}


def read_named(given: Given | None, config: pytest.Config) -> Approved | None:
    """Read what the option or ini setting names; in xdist's workers, what the controller read.

    Raises:
        pytest.UsageError: it cannot be read, is no approval, or was altered.
    """
    if hasattr(config, "workerinput"):
        told: Mapping[str, str] | None = config.workerinput.get(SHARED, {}).get("approved")
        return Approved(**told) if told else None
    if given is None:
        return None
    from pytest_mcp_governance.plugin.outside import read

    found = read(given, config)
    try:
        return _checked(found.name, found.text)
    except GovernanceError as error:
        raise pytest.UsageError(f"mcp-governance: the approved run {given.value} cannot be used: {error}") from None


def find_default(rootdir: Path) -> Approved | None:
    """The approval at rootdir; None where there is none."""
    if not (rootdir / DEFAULT_APPROVED).exists():
        return None
    from pytest_mcp_governance.run.outside import read_outside

    try:
        found = read_outside(DEFAULT_APPROVED, folder=rootdir)
        return _checked(found.name, found.text)
    except GovernanceError as error:
        problem = (
            f"{DEFAULT_APPROVED} cannot be used: {error}. Restore it from version control, approve a run anew with "
            "`mcp-governance approve`, or delete it to compare with none"
        )
        return Approved(DEFAULT_APPROVED, problem=problem)


def _checked(source: str, text: str) -> Approved:
    from pytest_mcp_governance.evidence.approval import read_approval
    from pytest_mcp_governance.run.approved import from_json

    approval = read_approval(text.encode())
    from_json(approval.summary)
    return Approved(source, text, approval.close, approval.digest)
