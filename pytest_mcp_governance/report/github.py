"""Findings as annotations of a GitHub workflow: one line each, at most ten of a kind, the rest counted.

Source of the form and of the limit: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
Leaves out the step summary (markdown.py) and printing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .escaping import command_data, command_property
from .hostile import plain
from .listing import Listed, account, listed, place_of
from .model import Evidence, Finding
from .text import STATES, counted

MOST_OF_A_KIND = 10
_MAX_MESSAGE = 1_000
_MAX_PROPERTY = 250
_OURS = ("exception", "detector-error")  # clauses of our own failure to judge, which no gate lets pass


def annotate(evidence: Evidence, *, folder: str = "") -> tuple[str, ...]:
    """Lines to print: errors for findings that fail the run, warnings for those that its gate lets pass, notices for
    those that are known or were only observed.

    Args:
        evidence: the run, as collected from its report.
        folder: where pytest's root folder lies in the repository, `/` between its parts; empty where they are one.
    """
    found = listed(evidence)
    unexpected = [x for x in found if x.finding.counts and not x.finding.known]
    errors = [x for x in unexpected if _fails(x.finding, evidence.gate)]
    kinds = {
        "error": errors,
        "warning": [x for x in unexpected if x not in errors],
        "notice": [x for x in found if x not in unexpected],
    }
    return tuple(line for kind, those in kinds.items() for line in _limited(kind, those, folder))


def _fails(finding: Finding, gate: str) -> bool:
    """As the plugin's gate decides it, of an unexpected finding; a gate that nobody knows lets nothing pass."""
    if finding.clause in _OURS or gate not in ("reached", "off"):
        return True
    return gate == "reached" and finding.state != "blocked"


def _limited(kind: str, found: list[Listed], folder: str) -> Iterator[str]:
    shown = found if len(found) <= MOST_OF_A_KIND else found[: MOST_OF_A_KIND - 1]
    for one in shown:
        yield _annotation(kind, one, folder)
    if left := sum(x.count for x in found[len(shown) :]):
        yield _command(kind, (("title", "mcp governance"),), f"And {counted(left, 'more finding')}, in the report.")


def _annotation(kind: str, one: Listed, folder: str) -> str:
    finding, place = one.finding, place_of(one.finding)
    properties = [("title", f"{finding.rule}: {STATES[finding.shown_state].label}")]
    if place is not None:
        line = [("line", str(place.line))] if place.line else []
        properties = [("file", "/".join(x for x in (folder, place.file) if x)), *line, *properties]
    times = f" ({counted(one.count, 'time')})" if one.count > 1 else ""
    test = f" In {finding.at.test} ({one.outcome or 'not ended'})." if finding.at.test else ""
    return _command(kind, properties, f"{account(finding)}{times}{test}")


def _command(kind: str, properties: Iterable[tuple[str, str]], message: str) -> str:
    given = ",".join(f"{key}={command_property(plain(value, _MAX_PROPERTY))}" for key, value in properties)
    return f"::{kind} {given}::{command_data(plain(message, _MAX_MESSAGE))}"
