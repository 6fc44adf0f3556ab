"""Whether the run passes, read from the ledger's own count and never from what a test raised or hid.

Pure: facts in, reasons out. Only ever raises a passing exit status to a failing one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from pytest_mcp_governance.session.control import RunResult

Gate = Literal["any", "reached", "off"]
GATES: tuple[Gate, ...] = ("any", "reached", "off")
_OURS = ("exception", "detector-error")  # clauses of our own failure to judge
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Unaudited:
    """The selected tests that ask for no audit, of all selected ones; `first` are a few of their names."""

    count: int
    selected: int
    first: tuple[str, ...]


def is_unexpected(finding: Mapping[str, object]) -> bool:
    """Whether a finding is one that no test provoked and that its policy enforces."""
    return not finding["expected"] and finding["mode"] != "observe"


def fails(finding: Mapping[str, object], gate: Gate) -> bool:
    """Whether a finding fails its test and the run under this gate."""
    if not is_unexpected(finding):
        return False
    if finding["clause"] in _OURS:
        return True  # that we failed to judge is a fault of the evidence, which no gate lets pass
    if finding.get("known"):
        return False
    # Unproven fails beside reached: missing evidence is not permission. So does a state that nobody knows.
    return gate == "any" or (gate == "reached" and finding["state"] != "blocked")


@dataclass(frozen=True, slots=True)
class LetPass:
    """How many unexpected findings failed neither test nor run: known to the baseline, or let pass by the gate."""

    known: int
    gate: int


def let_pass(findings: Sequence[Mapping[str, object]], gate: Gate) -> LetPass:
    """Count the unexpected findings that fail nothing under this gate."""
    passed = [finding for finding in findings if is_unexpected(finding) and not fails(finding, gate)]
    known = sum(bool(finding.get("known")) for finding in passed)
    return LetPass(known, len(passed) - known)


def reasons(
    result: RunResult | None,
    problems: Sequence[str],
    late: Sequence[str],
    gate: Gate = "any",
    unaudited: Unaudited | None = None,
) -> tuple[str, ...]:
    """Why the run fails; empty where it passes. Without evidence there is nothing to fail, unless with a problem.

    Args:
        problems: failures of the evidence itself, or of a setting; they fail the run whatever the gate.
        late: texts of findings after their test had ended that the gate does not let pass.
        unaudited: what --mcp-governance-require does not put up with; None where it was not asked for.
    """
    found: list[str] = list(problems)
    if unaudited is not None and unaudited.count:
        found.append(_without_audit(unaudited))
    if late:
        found.append(f"{len(late)} tests had findings after they ended")
    if result is not None:
        found += result.problems
        passed = let_pass(result.finding_lines, gate)
        failing = result.unexpected - passed.known - passed.gate
        if failing:
            count = "1 unexpected finding" if failing == 1 else f"{failing} unexpected findings"
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


def _without_audit(unaudited: Unaudited) -> str:
    names = ", ".join(unaudited.first[:_MOST_NAMES])
    more = f" and {unaudited.count - _MOST_NAMES} more" if unaudited.count > _MOST_NAMES else ""
    ask = "asks" if unaudited.count == 1 else "ask"
    return (
        f"{unaudited.count} of {unaudited.selected} selected tests {ask} for no audit, which --mcp-governance-require "
        f"does not allow: {names}{more}"
    )
