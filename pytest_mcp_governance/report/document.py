"""A run as JSON for programs that want figures and findings and not their own reader of ledgers.

Leaves out records, arguments and answers. Values are those of the ticket; a withheld one is `null`.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from pytest_mcp_governance.evidence.reader import Withheld

from .access import matrix
from .facts import Checked
from .listing import place_of, unexpected
from .model import Evidence, Finding, Text
from .summary import summary_of

VERSION = 1


def document(evidence: Evidence, checked: Checked) -> str:
    """The run as one JSON object, in ASCII; `version` rises when a field changes its meaning."""
    run = summary_of(evidence, status=checked.status or "partial")
    table = matrix(evidence, run)
    return (
        json.dumps(
            {
                "version": VERSION,
                "file": asdict(checked),
                "verdict": {"word": run.verdict.word, "text": run.verdict.headline},
                "judged": run.judged,
                "calls": run.calls,
                "denied": run.denied,
                "findings": {state: asdict(getattr(run, state)) for state in ("reached", "blocked", "unproven")},
                "tests": dict(run.tests),
                "agents": [asdict(agent) for agent in run.agents],
                "accesses": [
                    {"agent": row.agent, "scope": column.key, "class": column.scope_class, "calls": len(cell.calls)}
                    for row in table.rows
                    for column, cell in zip(table.columns, row.cells, strict=True)
                    if cell is not None
                ],
                "unexpected": [_finding(finding) for finding in unexpected(evidence)],
            },
            indent=2,
        )
        + "\n"
    )


def _finding(finding: Finding) -> dict[str, object]:
    place = place_of(finding)
    return {
        "state": finding.state,
        "mode": finding.mode,
        "rule": finding.rule,
        "clause": finding.clause,
        "controls": list(finding.controls),
        "agent": finding.agent,
        "server": finding.server,
        "tool": _shown(finding.tool),
        "scope": finding.scope,
        "test": finding.at.test,
        "attempt": finding.at.attempt,
        "reason": _shown(finding.reason),
        "source": finding.source,
        "place": asdict(place) if place else None,
        "records": list(finding.refs),
        "known": finding.known or None,
    }


def _shown(text: Text | None) -> str | None:
    return None if text is None or isinstance(text, Withheld) else text
