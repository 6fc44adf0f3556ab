"""The baseline: findings that a suite knows of when it begins to be gated late. Each has an owner or ticket and an end.

Text in, entries out, findings matched. A known finding stays a finding, and a call that it is about stays denied; only
the project's own gate lets it pass.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.policy.loader import read_document
from pytest_mcp_governance.policy.matching import Glob, ToolPattern, parse_glob, parse_tool_pattern
from pytest_mcp_governance.policy.nodes import Node
from pytest_mcp_governance.policy.sections import identifier, parsed
from pytest_mcp_governance.policy.verdicts import ERROR, Finding

LONGEST = timedelta(days=366)  # what is known for longer than a year is a rule: it belongs into the policy
_KEYS = ("id", "test", "rule", "tool", "agent", "state", "owner", "ticket", "reason", "expires")
_STATES = ("reached", "blocked", "unproven")
_NARROWING = ("test", "tool", "agent")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_START = 'A baseline begins with "baseline: 1" and "known:".'


@dataclass(frozen=True, slots=True)
class Known:
    """One entry; what it leaves out it does not ask for. `expires` is the last day, in UTC, on which it applies."""

    id: str
    rule: str
    test: Glob | None
    tool: ToolPattern | None
    agent: Glob | None
    state: str | None
    owner: str
    ticket: str
    reason: str
    expires: date

    def matches(self, finding: Finding, test: str) -> bool:
        """Whether this entry speaks of a finding in a test."""
        # That a message could not be judged is nothing to get used to.
        return (
            finding.rule == self.rule != ERROR
            and self.state in (None, finding.state)
            and (self.test is None or self.test.matches(test))
            and (self.agent is None or (finding.agent is not None and self.agent.matches(finding.agent)))
            and (self.tool is None or self._covers(finding))
        )

    def _covers(self, finding: Finding) -> bool:
        if self.tool is None or finding.server is None or finding.tool is None:
            return False
        return self.tool.matches(finding.server, finding.tool)

    def stated(self) -> dict[str, str]:
        """Who answers for it, until when and why, as evidence keeps it."""
        told = {"owner": self.owner, "ticket": self.ticket, "reason": self.reason, "expires": str(self.expires)}
        return {name: text for name, text in told.items() if text}


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline as of one day."""

    name: str
    sha256: str
    today: date
    entries: tuple[Known, ...]

    @property
    def expired(self) -> tuple[Known, ...]:
        """Entries that are not applied any more."""
        return tuple(entry for entry in self.entries if entry.expires < self.today)

    def find(self, finding: Finding, test: str) -> Known | None:
        """The first entry that applies to an unexpected finding in enforce mode; None for any other finding."""
        if finding.expected or finding.mode == "observe":
            return None
        live = (entry for entry in self.entries if entry.expires >= self.today)
        return next((entry for entry in live if entry.matches(finding, test)), None)


def load_baseline(text: str, *, name: str, today: date) -> Baseline:
    """Read a baseline.

    Args:
        text: the YAML text, at most 1,000,000 characters.
        name: the file's name, for messages.
        today: the day, in UTC, on which entries are held against their end.

    Raises:
        PolicyError: anything that is not understood, with line and column where they are known.
    """
    try:
        document = read_document(text, name, what="the baseline", hint=_START)
        entries = document.keyed("the baseline", ("baseline", "known"))
        for required in ("baseline", "known"):
            if required not in entries:
                document.fail(f"the baseline has no {required!r}", _START)
        version = entries["baseline"]
        if version.kind != "plain" or version.value != 1 or isinstance(version.value, (bool, float)):
            version.fail(f"format version {version.shown} is unknown", "This version reads baseline: 1.")
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Baseline(name, digest, today, _entries(entries["known"], today))
    except PolicyError:
        raise
    except Exception as error:  # a baseline that we fail to read lets nothing pass
        raise PolicyError(f"the baseline cannot be read: {type(error).__name__}", file=name, hint=_START) from error


def _entries(node: Node, today: date) -> tuple[Known, ...]:
    if node.kind != "list":
        node.fail(f"known must be a list, not {node.shown}", "Write known: [] where nothing is known any more.")
    found: dict[str, tuple[Known, Node]] = {}
    for item in node.items:
        entry = _entry(item, today)
        if entry.id in found:
            item.fail(
                f"id {entry.id!r} is used twice, first in {found[entry.id][1].place}", "Findings name it by its id."
            )
        found[entry.id] = entry, item
    return tuple(entry for entry, _ in found.values())


def _entry(node: Node, today: date) -> Known:
    entries = node.keyed("an entry of known", _KEYS)
    if "id" not in entries:
        node.fail("the entry has no id", "Findings and reports name entries by their id: add one.")
    entry_id = identifier(entries["id"], "the id")
    _check_complete(node, entries, f"entry {entry_id}")
    return Known(
        id=entry_id,
        rule=_text(node, entries, "rule"),
        test=parsed(entries["test"], parse_glob) if "test" in entries else None,
        tool=parsed(entries["tool"], parse_tool_pattern) if "tool" in entries else None,
        agent=parsed(entries["agent"], parse_glob) if "agent" in entries else None,
        state=entries["state"].choice("state", _STATES) if "state" in entries else None,
        owner=_text(node, entries, "owner"),
        ticket=_text(node, entries, "ticket"),
        reason=_text(node, entries, "reason"),
        expires=_expires(entries["expires"], today),
    )


def _check_complete(node: Node, entries: Mapping[str, Node], what: str) -> None:
    for required in ("rule", "reason", "expires"):
        if required not in entries:
            node.fail(f"{what} has no {required}", "An entry has id, rule, owner or ticket, reason and expires.")
    if "owner" not in entries and "ticket" not in entries:
        node.fail(f"{what} has neither owner nor ticket", "Say who answers for it, or where it is followed up.")
    if not any(name in entries for name in _NARROWING):
        node.fail(
            f"{what} would let every finding of its rule pass", f"Narrow it by {', '.join(_NARROWING[:-1])} or agent."
        )


def _text(node: Node, entries: Mapping[str, Node], name: str) -> str:
    if name not in entries:
        return ""
    if entries[name].kind == "plain" and entries[name].value is None:
        node.key(name).fail(f"{name} is empty", "Fill it in: an entry says who answers for it, or where, and why.")
    return entries[name].text(name)


def _expires(node: Node, today: date) -> date:
    text = node.text("expires")
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        node.fail(f"expires must be a day such as 2027-02-25, not {text[:40]!r}")
    if day > today + LONGEST:
        node.fail(
            f"expires is {day}, more than a year after {today}",
            "What is known for longer is a rule: allow it in the policy, where everyone sees it.",
        )
    return day
