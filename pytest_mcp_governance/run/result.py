"""What a closed run tells the gate and the terminal: figures, findings one by one, servers that ended unasked.

From the records, by the view model that the page uses, so that terminal and page cannot disagree.
"""

from collections.abc import Iterator
from dataclasses import asdict

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.evidence.reader import EvidenceReader, Withheld
from pytest_mcp_governance.evidence.recount import Recount
from pytest_mcp_governance.policy.known import Baseline
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.policy.model import Waiver
from pytest_mcp_governance.report.collect import collect
from pytest_mcp_governance.report.model import Evidence, PolicySource, Text
from pytest_mcp_governance.report.outline import FindingKind, Outline
from pytest_mcp_governance.report.summary import summary_of

_MOST_LINES = 10_000
_CALLED = ("passed", "failed", "xfailed", "xpassed")
_BY_WAIVER = "waiver."  # begins the clause of a call that passed by waivers, with their ids joined by +


def told(reader: EvidenceReader, status: str, baseline: Baseline | None = None) -> dict[str, object]:
    """The fields of `session.control.RunResult` that come from the records.

    Args:
        status: as the close statement says it.
        baseline: the findings that the suite knows of, for what to note about them.
    """
    evidence = collect(reader)
    summary = summary_of(evidence, status=status)
    states = {"reached": summary.reached, "blocked": summary.blocked, "unproven": summary.unproven}
    agents = [
        {
            "agent": a.agent,
            "calls": a.calls,
            "denied": a.denied,
            "findings": a.findings,
            "screens": a.screens,
            "scopes": list(a.scopes),
        }
        for a in summary.agents
    ]
    return {
        "judged": summary.judged,
        "verdict": summary.verdict.headline,
        "findings": {
            name: {"enforce": c.enforce, "observe": c.observe, "expected": c.expected} for name, c in states.items()
        },
        "unexpected": summary.unexpected,
        "unexpected_reached": summary.reached.enforce,
        "agents": agents,
        "tests": dict(summary.tests),
        "finding_lines": list(_findings(evidence)),
        "notes": [
            *_ended_unasked(reader),
            *(_of_the_baseline(evidence, status, baseline) if baseline else ()),
            *_of_the_waivers(reader, evidence, status),
        ],
    }


def told_in_outline(outline: Outline) -> dict[str, object]:
    """The same of a run that is too large to be read as a whole; findings of one kind beyond some are not repeated."""
    count = outline.recount
    findings = count.findings
    whole = outline.findings.total() <= _MOST_LINES
    return {
        "judged": count.judged,
        "verdict": outline.headline,
        "findings": findings,
        "unexpected": count.unexpected,
        "unexpected_reached": findings["reached"]["enforce"],
        "agents": [
            {"agent": agent, "calls": calls, "denied": denied, "findings": found, "screens": 0, "scopes": []}
            for agent, calls, denied, found in outline.agents
        ],
        "tests": count.tests,
        "finding_lines": [
            line
            for kind, number in outline.findings.items()
            for line in [_line(kind, count)] * (number if whole else 1)
        ],
        "notes": ["the run is too large for one file: the report is an outline, its evidence stays in the run folder"],
    }


def _line(kind: FindingKind, count: Recount) -> dict[str, object]:
    (test, outcome), *_ = (*count.last_outcomes.items(), ("", ""))
    attempt = {"test": test, "attempt": 1, "outcome": outcome}
    return attempt | asdict(kind) | {"known": ""}


def _findings(evidence: Evidence) -> Iterator[dict[str, object]]:
    outcomes = {(t.name, t.attempt): t.outcome for t in evidence.tests}
    for finding in evidence.findings:
        attempt = (finding.at.test, finding.at.attempt)
        yield {
            "test": finding.at.test,
            "attempt": finding.at.attempt,
            "outcome": outcomes.get(attempt, ""),
            "rule": finding.rule,
            "clause": finding.clause,
            "agent": finding.agent,
            "server": finding.server,
            "tool": _text(finding.tool),
            "state": finding.state,
            "mode": finding.mode,
            "expected": finding.expected,
            "known": finding.known,
        }


def _of_the_baseline(evidence: Evidence, status: str, baseline: Baseline) -> Iterator[str]:
    """Entries that are over, and those that matched nothing although every test that they speak of was there."""
    for entry in baseline.expired:
        yield f"baseline entry {entry.id} expired on {entry.expires} and is not applied"
    whole = _is_whole(evidence, status)
    called = {test.name for test in evidence.tests if test.outcome in _CALLED}
    used = {finding.known for finding in evidence.findings}
    for entry in baseline.entries if whole else ():
        concerned = any(entry.test is None or entry.test.matches(name) for name in called)
        if concerned and entry.id not in used and entry not in baseline.expired:
            yield f"baseline entry {entry.id} matched no finding of this run; take it out if it is mended"


def _of_the_waivers(reader: EvidenceReader, evidence: Evidence, status: str) -> Iterator[str]:
    """Waivers that are over, and those without which every call of a whole run would have been decided alike."""
    waivers = [(source.name, waiver) for source in evidence.policies for waiver in _waivers(source)]
    if not waivers:
        return
    day, used = "", set[str]()
    for record in reader.records():
        if record["type"] == "policy":
            day = max(day, str(record.get("day") or ""))
        clause = str(record.get("clause", "")) if record["type"] == "decision" else ""
        if clause.startswith(_BY_WAIVER):
            used.update(clause.removeprefix(_BY_WAIVER).split("+"))
    for source, waiver in waivers:
        if day > waiver.expires.isoformat():
            yield f"waiver {waiver.id} of {source} expired on {waiver.expires} and lifts nothing"
        elif _is_whole(evidence, status) and waiver.id not in used:
            yield f"waiver {waiver.id} of {source} let no call of this run pass; take it out if none needs it"


def _waivers(source: PolicySource) -> tuple[Waiver, ...]:
    try:
        return load_policy(source.text, name=source.name, kind="floor" if source.kind == "floor" else "file").waivers
    except PolicyError:
        return ()  # too long to be shown whole; a policy that cannot be read has failed its tests


def _is_whole(evidence: Evidence, status: str) -> bool:
    return status == "complete" and evidence.selection is not None and not evidence.selection.deselected


def _ended_unasked(reader: EvidenceReader) -> Iterator[str]:
    for record in reader.records():
        if record["type"] == "io" and record.get("stream") == "exit" and record.get("asked") is False:
            test = record.get("test", "a test")
            yield f"server {record.get('server')} ended with status {record.get('code')} during {test}, unasked"


def _text(value: Text | None) -> str:
    return "withheld" if isinstance(value, Withheld) else value or ""
