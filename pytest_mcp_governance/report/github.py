"""Findings as annotations of a GitHub workflow: one line each, at most ten of a kind, the rest counted.

Source of the form and of the limit: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
Leaves out the step summary (markdown.py) and printing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .escaping import command_data, command_property
from .hostile import plain
from .listing import Listed, account, listed, place_of
from .model import Evidence
from .text import STATES, counted

MOST_OF_A_KIND = 10
_MAX_MESSAGE = 1_000
_MAX_PROPERTY = 250


def annotate(evidence: Evidence, *, folder: str = "") -> tuple[str, ...]:
    """Lines to print: errors for findings that fail the run, notices for those that are known or were only observed.

    Args:
        evidence: the run, as collected from its report.
        folder: where pytest's root folder lies in the repository, `/` between its parts; empty where they are one.
    """
    found = listed(evidence)
    errors = [x for x in found if x.finding.counts and not x.finding.known]
    notices = [x for x in found if x not in errors]
    return (*_limited("error", errors, folder), *_limited("notice", notices, folder))


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
