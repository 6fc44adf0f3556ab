"""Findings as lists outside the page show them: unexpected ones first, worst first, equal ones once with their number.

Shared by Markdown, SARIF and the annotations of GitHub, so that they cannot disagree. Leaves out the words for
states (text.py) and escaping, which is each format's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from .hostile import plain
from .model import Evidence, Finding
from .shards import bare_test
from .text import FOUND, finding_sentence, finding_why, tool_name

MAX_REASON = 500

_PLACE = re.compile(r"([^:]+):([1-9][0-9]{0,8})|([^:]+\.ya?ml)")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file of the project, relative to pytest's root folder; line 0 is the file as a whole."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Listed:
    """Findings that read alike: the first of them, how many there are, and how their test ended."""

    finding: Finding
    count: int
    outcome: str

    @property
    def call(self) -> str:
        return call_of(self.finding)


def listed(evidence: Evidence) -> tuple[Listed, ...]:
    """All findings but those that a test expected, in the order reached, blocked, unproven, observed."""
    outcomes = {(t.name, t.attempt): t.outcome for t in evidence.tests}
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in unexpected(evidence):
        groups.setdefault((finding.shown_state, *identity(finding), finding.source), []).append(finding)
    return tuple(
        Listed(alike[0], len(alike), outcomes.get((alike[0].at.test, alike[0].at.attempt), ""))
        for alike in groups.values()
    )


def unexpected(evidence: Evidence) -> tuple[Finding, ...]:
    """Findings that no test expected, worst first and then in the order of the record."""
    found = [x for x in evidence.findings if not x.expected]
    return tuple(sorted(found, key=lambda x: (FOUND.index(x.shown_state), x.number)))


def identity(finding: Finding) -> tuple[str, str, str, str, str]:
    """What makes it the same finding in another run: rule, test, agent, call and clause."""
    return finding.rule, bare_test(finding.at.test), finding.agent, call_of(finding), finding.clause


def account(finding: Finding) -> str:
    """What happened and why, as recorded: `clerk tried to call books.pay. Rule PAY blocked it: amount is over 50.`"""
    why = plain(finding_why(finding), MAX_REASON).rstrip(". ")
    told = f"{finding_sentence(finding).rstrip('.')}: {why}." if why else finding_sentence(finding)
    return f"{told} Known as {plain(finding.known)}." if finding.known else told


def call_of(finding: Finding) -> str:
    """`server.tool`; empty where the finding is about no call."""
    return tool_name(finding.server, finding.tool)


def place_of(finding: Finding) -> Place | None:
    """Where a reader finds the rule; failing that the test's file; None where the record names neither."""
    return rule_place(finding) or _project_file(bare_test(finding.at.test).partition("::")[0], 0)


def rule_place(finding: Finding) -> Place | None:
    """The line that states the rule, or the policy that has none, unless it lies outside or in another revision."""
    match = _PLACE.fullmatch(finding.source)
    return _project_file(match[1] or match[3], int(match[2] or 0)) if match else None


def _project_file(name: str, line: int) -> Place | None:
    path = PurePosixPath(name)
    if not name or not name.isprintable() or ":" in name or "\\" in name:
        return None  # a `git:` form, or no path that a forge could open
    return None if path.is_absolute() or ".." in path.parts else Place(name, line)
