"""The screenful that ends a run: who did what, the verdict, where the report is, and what anchors it outside.

Pure: facts in, lines out. Everything is escaped to printable ASCII, because names come from tests and agents.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_mcp_governance.session.control import RunResult

_MOST_AGENTS = 20
_MOST_PROBLEMS = 10


def printable(text: object) -> str:
    """Text as printable ASCII on one line; anything else as an escape."""
    return str(text).encode("unicode_escape").decode("ascii")


def summary(result: RunResult | None, failing: Sequence[str], late: Sequence[str], start: Path) -> list[str]:
    """The lines of the terminal summary.

    Args:
        failing: why the run fails, from the gate.
        late: texts of findings that came after their test had ended.
        start: folder that paths are shown relative to.
    """
    lines: list[str] = []
    if result is not None:
        lines += [_agent(agent) for agent in result.agents[:_MOST_AGENTS]]
        if len(result.agents) > _MOST_AGENTS:
            lines.append(f"and {len(result.agents) - _MOST_AGENTS} more agents, listed in the report")
        lines.append(_verdict(result))
    for text in late:
        lines += [printable(line) for line in text.splitlines()]
    for reason in failing[:_MOST_PROBLEMS]:
        first, *rest = reason.splitlines() or [""]
        lines.append(f"run fails: {printable(first)}")
        lines += [f"  {printable(line.strip())}" for line in rest]
    if len(failing) > _MOST_PROBLEMS:
        lines.append(f"and {len(failing) - _MOST_PROBLEMS} more reasons")
    if result is not None:
        lines += _anchors(result, start)
    return lines


def _agent(agent: Mapping[str, object]) -> str:
    return printable(
        f"agent {agent['agent']}: {_count(agent['calls'], 'call')}, {agent['denied']} denied, "
        f"{_count(agent['findings'], 'finding')}, {_count(agent['screens'], 'screen')}"
    )


def _verdict(result: RunResult) -> str:
    if not result.judged:
        return (
            "NOT JUDGED: no policy. Write governance.policy.yaml at rootdir, or name one with --mcp-governance-policy"
        )
    unexpected = _count(result.unexpected, "unexpected finding") if result.unexpected else "no unexpected finding"
    reached = (
        f", {result.unexpected_reached} of them reached data or had an effect" if result.unexpected_reached else ""
    )
    also = [f"{_total(result, kind)} {kind}" for kind in ("expected", "observed") if _total(result, kind)]
    return f"verdict: {unexpected}{reached}" + (f"; besides {' and '.join(also)}" if also else "")


def _total(result: RunResult, kind: str) -> int:
    column = "observe" if kind == "observed" else kind
    return sum(by_column.get(column, 0) for by_column in result.findings.values())


def _anchors(result: RunResult, start: Path) -> list[str]:
    lines = [printable(f"note: {note}") for note in result.notes]
    if result.status != "complete":
        lines.append(printable(f"status: {result.status}"))
    if result.report is None:
        lines.append(printable(f"report: none; evidence in {_shown(result.run_dir, start)}"))
    else:
        lines.append(printable(f"report: {_shown(result.report, start)} ({_size(result.report_bytes)})"))
    lines.append(printable(f"open   {result.open_digest}"))
    lines.append(printable(f"close  {result.close_digest}"))
    unknown = "  Signer unknown to a reader: see mcp-governance keygen" if result.key_is_ephemeral else ""
    lines.append(printable(f"signer {result.fingerprint}{unknown}"))
    return lines


def _shown(path: Path, start: Path) -> str:
    return os.path.relpath(path, start) if path.is_relative_to(start) else str(path)


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{count / 1000:.1f} kB"


def _count(value: object, noun: str) -> str:
    return f"{value} {noun}" if value == 1 else f"{value} {noun}s"
