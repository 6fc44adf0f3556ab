"""What the policy answers: decisions, accesses and findings, and how a finding reads.

Values only. Nothing here decides; `engine` and `standing` make these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_mcp_governance.policy.detectors import mask

Mode = Literal["enforce", "observe"]
Verdict = Literal["allow", "deny", "approve", "observe"]
Effect = Literal["forward", "block", "replace"]
State = Literal["reached", "blocked", "unproven"]
Status = Literal["in", "out", "unresolved"]
How = Literal["uri", "argument", "result", "embedded", "link", "detected"]

PROTOCOL = "PROTOCOL"
DEFAULT_DENY = "DEFAULT-DENY"
NOT_JUDGED = "NOT-JUDGED"
MALFORMED = "MALFORMED"
ERROR = "ERROR"
UNKNOWN_AGENT = "UNKNOWN-AGENT"
NO_CALLS = "NO-CALLS"
TOO_LONG = "too-long"  # the problem, and the clause, of a message past the limit
TOOL_CHANGED = "TOOL-CHANGED"
EXPECTED_DENIAL_MISSING = "EXPECTED-DENIAL-MISSING"
# Clauses of a message forwarded without a policy that the detectors could not read.
BLIND = frozenset({"detector-error", "detector-size"})
RESERVED_RULES = frozenset(
    {
        PROTOCOL,
        DEFAULT_DENY,
        NOT_JUDGED,
        MALFORMED,
        ERROR,
        UNKNOWN_AGENT,
        NO_CALLS,
        TOOL_CHANGED,
        EXPECTED_DENIAL_MISSING,
    }
)


@dataclass(frozen=True, slots=True)
class Access:
    """One touch of data: which scope, where, how it was recognised, and the matched values one by one."""

    scope: str | None
    scope_class: str | None
    status: Status
    data: str
    how: How
    fields: tuple[object, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one message, given before it is forwarded.

    `rule`, `clause` and `source` hold policy text only and may stand in the clear; `reason`, `detail` and
    `resolved` derive from the message. Values that a secret or pii scope matches are masked in `reason` and
    `detail`; `resolved` holds each path as sent and the real path it stood for, which a replay needs.
    """

    verdict: Verdict
    rule: str
    clause: str
    reason: str = ""
    effect: Effect = "forward"
    accesses: tuple[Access, ...] = ()
    source: str = ""
    resolved: Mapping[str, str] = field(default_factory=dict, repr=False)
    controls: tuple[str, ...] = ()
    detail: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the policy did not permit, or that could not be shown.

    `state` is "reached" (data or effect happened), "blocked", or "unproven" (evidence missing).
    """

    state: State
    mode: Mode
    rule: str
    clause: str
    reason: str
    controls: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    expected: bool = False
    agent: str | None = None
    server: str | None = None
    tool: str | None = None
    scope: str | None = None
    source: str | None = None
    detail: Mapping[str, str] | None = field(default=None, repr=False)
    known: str | None = None  # the entry of the suite's baseline that speaks of it

    def describe(self) -> str:
        """The failure lines: rule, place and controls; the call; what was seen and what is allowed.

        Secret and personal values are masked, control and bidirectional characters are escaped.
        """
        head = [
            self.rule,
            *([self.source] if self.source and self.source != self.rule else []),
            *([" ".join(self.controls)] if self.controls else []),
        ]
        lines = [
            "  ".join(head),
            *(f"  {line}" for line in self._where()),
            *(f"  {line}" for line in self._why()),
        ]
        if self.expected:
            lines.append("  expected by the test")
        elif self._could_be_expected():
            lines.append(f'  if this test is about the denial: with mcp_audit.expect_denied("{self.rule}"):')
        return "\n".join(printable(line) for line in lines)

    @property
    def headline(self) -> str:
        """One line: the rule, the call and what became of it; without a call, the reason."""
        told = f"{self._call()} {self.state}" if self.tool else mask(self.reason.partition(". If that is meant")[0])
        return printable(f"{self.rule} {told}")

    def _could_be_expected(self) -> bool:
        # An error of ours is never what a test asked for, and an assertion is not a rule.
        return self.state == "blocked" and self.rule not in (ERROR, self.source)

    def _call(self) -> str:
        return ".".join(mask(part) for part in (self.server, self.tool) if part)

    def _where(self) -> list[str]:
        if self.rule == NO_CALLS:
            return []  # its reason says whose
        call = self._call()
        parts = [f"call {call}"] if self.tool else [f"server {call}"] if call else []
        if self.agent:
            parts.append(f"agent {self.agent}")
        if self.refs:
            parts.append(self.refs[0])
        return ["  ".join(parts)] if parts else []

    def _why(self) -> list[str]:
        detail = self.detail or {}
        lines: list[str] = []
        if "argument" in detail:
            lines.append(mask(seen_line(detail)))
        else:
            lines.append(mask(self.reason))
        if detail.get("nearest"):
            lines.append(f"nearest allowed: {detail['nearest']}")
        if detail.get("waiver"):
            lines.append(detail["waiver"])
        return [f"{line} ({self.state})" if n == 0 else line for n, line in enumerate(lines)]


def seen_line(detail: Mapping[str, str]) -> str:
    """The argument, what it was and what it must be, in one line."""
    if "sent" in detail:
        return f"args.{detail['argument']} is missing ({detail['sent']})"
    return f"args.{detail['argument']} = {detail.get('seen', 'absent')}, {detail.get('limit', '')}"


def printable(text: str) -> str:
    """`text` with every control, bidirectional and other unprintable character written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
