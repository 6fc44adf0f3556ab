"""The four answers of a report, in words and one screenful, read from its evidence.

Uses the public reader over the report file, so what the report withholds is not known here either.
Proves nothing itself: the fourth answer repeats what the verifier said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_mcp_governance.evidence.reader import EvidenceReader, Record
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.source import ContainerSource


def four_answers(report: Path, verdict: Mapping[str, object]) -> list[str]:
    """The lines to print.

    Args:
        report: a governance report.
        verdict: what `mcp-governance verify --json` said about it.
    """
    reader = EvidenceReader(ContainerSource(report.read_bytes()))
    records = list(reader.records())
    return [
        "1  Which agent accessed what data?",
        *_indent(_who_what(records)),
        "2  When?",
        *_indent(_when(records)),
        "3  What was on the screen when it decided?",
        *_indent(_screens(reader, records)),
        "4  Can you prove that nothing was altered?",
        *_indent(_proof(verdict)),
    ]


def _who_what(records: Sequence[Record]) -> Iterator[str]:
    """One line an agent: the data scopes that its calls reached, and those that it was kept from."""
    denied = {r["ref"] for r in records if r["type"] == "decision" and r["verdict"] == "deny"}
    reached: dict[str, dict[str, None]] = defaultdict(dict)
    refused: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        if record["type"] == "access" and record.get("scope"):
            kind = f" ({record['class']})" if record.get("class") else ""
            into = refused if record["ref"] in denied else reached
            into[str(record["agent"])][f"{record['scope']}{kind}"] = None
    for agent in sorted(reached.keys() | refused.keys()):
        kept_from = f"; kept from {', '.join(refused[agent])}" if refused[agent] else ""
        yield f"{agent:<10} {', '.join(reached[agent]) or 'nothing'}{kept_from}"


def _when(records: Sequence[Record]) -> Iterator[str]:
    times = sorted(str(r["t"]) for r in records if r["type"] == "access")
    if times:
        yield f"{len(times)} accesses, {times[0][:10]} from {times[0][11:23]} to {times[-1][11:23]} UTC; of note:"
    messages = {_ref(r): r for r in records if r["type"] == "msg"}
    for record in records:
        if record["type"] == "decision" and record["verdict"] in ("deny", "observe"):
            call = messages[str(record["ref"])]
            what = "denied" if record["verdict"] == "deny" else "let through, would be denied"
            yield f"{str(record['t'])[11:23]} {call['agent']:<10} {_tool(call)}: {what} by {record['rule']}"


def _screens(reader: EvidenceReader, records: Sequence[Record]) -> Iterator[str]:
    screens = [r for r in records if r["type"] == "blob" and r["kind"] == "screen" and not r.get("failed")]
    shown = [r for r in screens if isinstance(reader.reveal(r["title"]), str)]
    withheld = len(screens) - len(shown)
    yield f"{len(screens)} screens, taken from outside the agent; {withheld} withheld for what they show"
    denied = {r["ref"] for r in records if r["type"] == "decision" and r["verdict"] == "deny"}
    for screen in shown:
        if screen["ref"] in denied and screen["moment"] == "before":
            yield f"before the denied call {screen['agent']} saw: {reader.reveal(screen['title'])}"


def _proof(verdict: Mapping[str, object]) -> Iterator[str]:
    yield f"{verdict['outcome']} by a second program: {verdict['sealed']} of {verdict['records']} records signed,"
    yield f"{verdict['withheld']} values withheld from the report and still covered by the signature;"
    yield f"the policy's verdict: {verdict['verdict']}"


def _tool(call: Record) -> str:
    """`server.tool`; an odd tool name is committed and not shown."""
    tool = call.get("tool")
    return f"{call['server']}.{tool if isinstance(tool, str) else '?'}"


def _ref(record: Record) -> str:
    return f"{record['seg']}/{record['seq']}"


def _indent(lines: Iterator[str]) -> Iterator[str]:
    # Titles, agents and tools come from pages and tests: nothing of theirs may steer the terminal.
    return (f"   {safe(line)}" for line in lines)
