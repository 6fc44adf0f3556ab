"""A baseline file from a report: the findings that a suite has on the day on which it begins to be gated.

Writes down what was found and nothing that only a person can know: without an owner or ticket and a reason, the file
that comes out is refused until someone has filled them in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence.outcome import Outcome
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.target import open_target
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.policy.verdicts import ERROR
from pytest_mcp_governance.report.collect import collect
from pytest_mcp_governance.report.model import Finding

DAYS = timedelta(days=90)
_TO_FILL_IN = """\
# Before this file is used, each entry needs an owner or a ticket (take out the other) and a reason. Until then it is
# refused.
"""


@dataclass(frozen=True, slots=True)
class Words:
    """What a person says about all entries; empty where it is to be filled in."""

    owner: str = ""
    ticket: str = ""
    reason: str = ""

    @property
    def complete(self) -> bool:
        return bool((self.owner or self.ticket) and self.reason)


def propose(target: Path, words: Words, expires: date) -> tuple[str, int]:
    """The text of a baseline that knows every unexpected finding of a run, and the number of its entries.

    Args:
        target: a report or a run folder.
        words: what goes into every entry.
        expires: the last day of every entry.

    Raises:
        EvidenceError: no evidence, or evidence that contradicts itself.
    """
    checked = verify(target)
    if checked.outcome in (Outcome.TAMPERED, Outcome.MALFORMED):
        first = f": {checked.problems[0]}".rstrip(".") if checked.problems else ""
        raise EvidenceError(f"{checked.outcome.name}{first}. Findings are taken from sound evidence only.")
    evidence = collect(EvidenceReader(open_target(target)))
    # What could not be judged, and a finding that was never concluded, cannot be known: no entry would match it.
    findings = [f for f in evidence.findings if f.counts and f.concluded and f.rule != ERROR]
    entries = list(dict.fromkeys(tuple(_what(finding)) for finding in findings))
    lines = [f"# Unexpected findings of run {evidence.run}, for --mcp-governance-baseline."]
    lines += _TO_FILL_IN.splitlines() if not words.complete else []
    lines += ["baseline: 1", "known:" if entries else "known: []"]
    for number, entry in enumerate(sorted(entries), start=1):
        lines += [f"- id: K-{number}", *(f"  {name}: {value}" for name, value in entry), *_said(words, expires)]
    return "\n".join(lines) + "\n", len(entries)


def _what(finding: Finding) -> Iterator[tuple[str, str]]:
    yield "test", quoted(literal(finding.at.test))
    yield "rule", quoted(finding.rule)
    if isinstance(finding.tool, str) and finding.tool and finding.server:
        yield "tool", quoted(f"{literal(finding.server)}.{literal(finding.tool)}")
    if finding.agent:
        yield "agent", quoted(literal(finding.agent))
    yield "state", finding.state


def _said(words: Words, expires: date) -> Iterator[str]:
    for name, text in (("owner", words.owner), ("ticket", words.ticket)):
        if text or not (words.owner or words.ticket):
            yield f"  {name}: {quoted(text)}" if text else f"  {name}:"
    yield f"  reason: {quoted(words.reason)}" if words.reason else "  reason:"
    yield f"  expires: {expires}"


def literal(text: str) -> str:
    """A pattern that covers this text alone; blanks around it, which no pattern may have, become `*`."""
    inside = text.strip()
    escaped = "".join(f"\\{char}" if char in "\\*{}," else char for char in inside)
    before, after = text[:1].isspace(), text[-1:].isspace()
    return f"{'*' if before else ''}{escaped}{'*' if after and escaped else ''}"


def quoted(text: str) -> str:
    """A YAML text in double quotes; what does not print is escaped."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
