"""The screenful that ends a run: who did what, the verdict, where the report is, and what anchors it outside.

Pure: facts in, lines out. What does not print, or turns the reading direction, is escaped, because names come from
tests and agents.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mcp_governance.plugin import gate

if TYPE_CHECKING:
    from pytest_mcp_governance.session.control import RunResult

NO_POLICY = "Write governance.policy.yaml at rootdir, or name one with --mcp-governance-policy=FILE"
_MOST_AGENTS = 20
_MOST_PROBLEMS = 10
_MOST_FINDINGS = 20
_SHOWN_BY_PYTEST = ("failed", "error")


def printable(text: object) -> str:
    """Text on one line: letters of any alphabet as they are; control, format and other hidden characters escaped."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def summary(
    result: RunResult | None,
    failing: Sequence[str],
    late: Sequence[str],
    start: Path,
    *,
    policy_unreadable: bool = False,
    which: gate.Gate = "any",
    no_policy: str = NO_POLICY,
) -> list[str]:
    """The lines of the terminal summary.

    Args:
        failing: why the run fails, from the gate.
        late: texts of findings that came after their test had ended.
        start: folder that paths are shown relative to.
        policy_unreadable: tests were not judged because of a policy that pytest has shown to be wrong.
        which: the gate that applied.
        no_policy: what to do where no policy judged the run.
    """
    lines: list[str] = []
    if result is not None:
        lines += [_agent(agent) for agent in result.agents[:_MOST_AGENTS]]
        if len(result.agents) > _MOST_AGENTS:
            lines.append(f"and {len(result.agents) - _MOST_AGENTS} more agents, listed in the report")
        lines += _of_no_agent(result.finding_lines)
        lines += _findings(result.finding_lines, which)
        lines.append(_verdict(result, policy_unreadable, no_policy))
        lines += map(printable, result.since)
        passed = gate.let_pass(result.finding_lines, which)
        if passed.known:
            lines.append(f"baseline: {_count(passed.known, 'known finding')} failed neither test nor run")
        if which != "any":
            lines.append(_gate(which, passed.gate))
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


def _of_no_agent(findings: Sequence[Mapping[str, object]]) -> list[str]:
    count = sum(not finding["agent"] and not finding["expected"] for finding in findings)
    return [f"{_count(count, 'finding')} about tests, not agents"] if count else []


def _findings(findings: Sequence[Mapping[str, object]], which: gate.Gate) -> list[str]:
    """The findings that no failing test shows: those that fail the run, those let pass, those only observed."""
    failing = [f for f in findings if gate.fails(f, which)]
    hidden = [_finding(f) for f in failing if f["outcome"] not in _SHOWN_BY_PYTEST]
    passed = [_passed(f) for f in findings if gate.is_unexpected(f) and not gate.fails(f, which)]
    observed = [_finding(f) for f in findings if not f["expected"] and f["mode"] == "observe"]
    counted = Counter([*hidden, *passed, *observed])
    lines = [line if times == 1 else f"{line}, {times} times" for line, times in counted.items()]
    if len(lines) > _MOST_FINDINGS:
        left = sum(list(counted.values())[_MOST_FINDINGS:])
        lines[_MOST_FINDINGS:] = [f"and {_count(left, 'more finding')}, listed in the report"]
    return lines


def _finding(finding: Mapping[str, object]) -> str:
    call = ".".join(str(part) for part in (finding["server"], finding["tool"]) if part)
    by = f" by {finding['agent']}" if finding["agent"] else ""
    what = f"  {call or 'no call'}{by}" if call or by else ""
    state = f"{finding['state']}, observed" if finding["mode"] == "observe" else finding["state"]
    outcome = finding["outcome"] or "not ended"
    return printable(f"{finding['test']} ({outcome})  {finding['rule']}{what} ({state})")


def _passed(finding: Mapping[str, object]) -> str:
    known = finding.get("known")
    return f"{_finding(finding)}, {printable(f'known as {known}') if known else 'let pass'}"


def _gate(which: gate.Gate, passed: int) -> str:
    what = {"reached": "only reached and unproven findings fail", "off": "no finding fails"}.get(which, "")
    return f"gate: {which} ({what} a test or the run); it let {_count(passed, 'finding')} pass"


def _verdict(result: RunResult, policy_unreadable: bool, no_policy: str) -> str:
    if not result.judged and policy_unreadable:
        return "NOT JUDGED: the policy could not be read (see above)"
    if not result.tests:
        return "verdict: no audited test was selected here"
    if not result.judged:
        return printable(f"NOT JUDGED: no policy. {no_policy}")
    if not result.unexpected and result.agents and not any(agent["calls"] for agent in result.agents):
        return "verdict: no call was made, so nothing was judged"
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
    unknown = (
        " (key made for this run; for one that readers can trust: mcp-governance keygen)"
        if result.key_is_ephemeral
        else ""
    )
    lines.append(printable(f"signer {result.fingerprint}{unknown}"))
    return lines


def _shown(path: Path, start: Path) -> str:
    return os.path.relpath(path, start) if path.is_relative_to(start) else str(path)


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{count / 1000:.1f} kB"


def _count(value: object, noun: str) -> str:
    return f"{value} {noun}" if value == 1 else f"{value} {noun}s"
