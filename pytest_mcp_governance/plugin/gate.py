"""Whether the run passes, read from the ledger's own count and never from what a test raised or hid.

Pure: facts in, reasons out. Only ever raises a passing exit status to a failing one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_mcp_governance.session.control import RunResult


def reasons(result: RunResult | None, problems: Sequence[str], late: Sequence[str]) -> tuple[str, ...]:
    """Why the run fails; empty where it passes. Without evidence there is nothing to fail, unless with a problem."""
    found: list[str] = list(problems)
    if late:
        found.append(f"{len(late)} tests had findings after they ended")
    if result is not None:
        found += result.problems
        if result.unexpected:
            count = "1 unexpected finding" if result.unexpected == 1 else f"{result.unexpected} unexpected findings"
            found.append(f"{count} in enforce mode")
    return tuple(dict.fromkeys(found))


def exit_status(status: int | pytest.ExitCode, failing: Sequence[str]) -> int | pytest.ExitCode:
    """The status to end with: OK becomes TESTS_FAILED where there is a reason; any other stays."""
    return pytest.ExitCode.TESTS_FAILED if failing and status == pytest.ExitCode.OK else status


def incomplete(session: pytest.Session, finished: int) -> str:
    """Why not every selected test ran to its end; empty where all did."""
    if session.exitstatus == pytest.ExitCode.INTERRUPTED:
        return "the run was interrupted"
    for stopped in (session.shouldfail, session.shouldstop):
        if stopped:
            return stopped if isinstance(stopped, str) else "the run was stopped early"
    if finished < session.testscollected:
        return f"{session.testscollected - finished} of {session.testscollected} selected tests did not finish"
    return ""
