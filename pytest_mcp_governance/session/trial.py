"""A test attempt as the recorder sees it: its place in the ledger, its judge, its calls and its findings.

Binds the segment that records to the judge that decides; knows no transport and no process.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_mcp_governance.evidence.ledger import Committed, Segment
from pytest_mcp_governance.policy.engine import Access, Decision, Finding, Judge
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.known import Baseline, Known
from pytest_mcp_governance.policy.verdicts import NO_CALLS
from pytest_mcp_governance.session.definitions import Definitions
from pytest_mcp_governance.session.threads import Threads
from pytest_mcp_governance.session.turnstile import Turnstile
from pytest_mcp_governance.session.wire import MAX_FRAME_BYTES, plain_method, plain_tool, storable

if TYPE_CHECKING:
    from pytest_mcp_governance.session.conversation import Conversation


@dataclass(slots=True)
class Call:
    """One `tools/call`, as the test may ask about it."""

    ref: str
    agent: str
    server: str
    tool: str
    arguments: object = field(repr=False)
    verdict: str
    rule: str
    forwarded: bool
    answered: bool = False
    is_error: bool = False

    def as_fields(self) -> dict[str, object]:
        """JSON-able copy."""
        return asdict(self)


class Trial:
    """Everything recorded and decided for one test attempt.

    Args:
        segment: the ledger segment of this recorder.
        judge: the policy's state for this attempt.
        test: clear test name and attempt, from 1.
        baseline: the findings that the suite knows of.
        turnstile: what every message goes through; the same for all attempts of a recorder.
        secrets: values known to be secret, a set that may grow; a name that holds one is not written in the clear.
        keeps: keep calls, accesses and findings for who asks; without it only their numbers.
        definitions: the tool definitions that this recorder has seen, the same for all its attempts.
    """

    def __init__(
        self,
        segment: Segment,
        judge: Judge,
        test: tuple[str, int],
        baseline: Baseline | None = None,
        turnstile: Turnstile | None = None,
        *,
        secrets: Set[str] = frozenset(),
        keeps: bool = True,
        definitions: Definitions | None = None,
    ) -> None:
        self.test = test
        self.judge = judge
        self.turnstile = turnstile or Turnstile()
        self.conversations: weakref.WeakSet[Conversation] = weakref.WeakSet()
        self.calls: list[Call] = []
        self.accesses: list[dict[str, object]] = []
        self.findings: list[Finding] = []
        self.exercised = False
        self.ended = False
        self.call_count = 0
        self.denied_count = 0
        self._keeps = keeps
        self.threads = Threads()
        self.max_message_bytes = MAX_FRAME_BYTES
        self.definitions = definitions if definitions is not None else Definitions()
        self._segment = segment
        self._baseline = baseline
        self._secrets = secrets
        self._written: set[tuple[object, ...]] = set()

    def record(self, type_: str, fields: Mapping[str, object]) -> str:
        """Append a record to the ledger; return its ref.

        Raises:
            LedgerWriteError: it could not be stored, and nothing may be forwarded any more.
        """
        return self._segment.append(type_, fields, test=self.test)

    def record_own(self, type_: str, fields: Mapping[str, object]) -> str:
        """As `record`, for what is about this attempt itself and never about another that it speaks for."""
        return self.record(type_, fields)

    def commit_blob(self, data: bytes) -> Committed:
        """Store `data` beside the ledger; return the commitment of its digest."""
        return self._segment.commit_blob(data)

    def plain_method(self, method: str | None) -> str | None:
        """The method where it may stand in the clear, else None."""
        return None if method is None or self._holds_secret(method) else plain_method(method)

    def plain_tool(self, tool: str | None) -> str | None:
        """The tool's name where it may stand in the clear, else None."""
        return None if tool is None or self._holds_secret(tool) else plain_tool(tool)

    def masked(self, text: str) -> str:
        """`text` from a server or an agent with every value in it that is known to be, or looks, secret masked."""
        for secret in sorted((s for s in self._secrets if s in text), key=len, reverse=True):
            text = text.replace(secret, "[secret]")
        return self.judge.masked(text)

    def _holds_secret(self, text: str) -> bool:
        return any(secret in text for secret in self._secrets)

    def decide(self, event: Event, request: Event | None) -> Decision:
        """Judge a recorded message and record the decision, before anything is forwarded.

        Raises:
            LedgerWriteError: the decision could not be stored.
        """
        decision = self.judge.decide(event, request)
        ref = self.decided(decision, event.ref, "before")
        finding = self.judge.recorded(event, decision, ref)
        if finding is not None:
            self._record_finding(finding)
        for access in decision.accesses:
            recorded = self._record_access(access, event)
            # What was blocked, or withheld from the agent, it did not access.
            if self._keeps and decision.effect == "forward":
                self.accesses.append(recorded)
        return decision

    def decided(self, decision: Decision, about: str, moment: str) -> str:
        """Record a decision about the message `about`; return its ref."""
        fields: dict[str, object] = {
            "moment": moment,
            "rule": decision.rule,
            "clause": decision.clause,
            "verdict": decision.verdict,
            "effect": decision.effect,
            "ref": about,
        }
        if decision.reason:
            fields["reason"] = _committed(decision.reason)
        if decision.resolved:
            fields["resolved"] = _committed(dict(decision.resolved))
        return self.record("decision", fields)

    def called(self, gateway: str, call: Call | None) -> None:
        """Note that something was asked through `gateway`: a tool call, or (None) a resource read."""
        self.judge.gateway_call(gateway)
        if call is None:
            return
        self.call_count += 1
        self.denied_count += call.verdict == "deny" and not call.forwarded
        if self._keeps:
            self.calls.append(call)

    def conclude(self) -> list[Finding]:
        """Judge the attempt as a whole and record what was found and is not recorded yet; return all findings.

        An attempt that was not exercised (skipped, or stopped in its setup) does not miss the calls it never came to.
        """
        found = self.judge.conclude()
        self.findings = [self.marked(x) for x in found if self.exercised or x.rule != NO_CALLS]
        for finding in self.findings:
            key = (finding.rule, finding.clause, finding.refs, finding.reason)
            if key not in self._written:
                self._written.add(key)
                self._record_finding(finding)
        return self.findings

    def marked(self, finding: Finding) -> Finding:
        """The finding, with the entry of the baseline that speaks of it."""
        entry = self._entry(finding)
        return finding if entry is None else replace(finding, known=entry.id)

    def told(self, finding: Finding) -> dict[str, object]:
        """A finding for the test process: its fields and, as `text`, the lines that a person reads."""
        told = self.marked(finding)
        if told.tool is not None and self.plain_tool(told.tool) is None:
            told = replace(told, tool=self.masked(told.tool))
        described = told.describe()
        text = described if isinstance(described, str) else "\n".join(described)
        return asdict(told) | {"text": text, "detail": dict(told.detail or {})}

    def _entry(self, finding: Finding) -> Known | None:
        return self._baseline.find(finding, self.test[0]) if self._baseline is not None else None

    def _record_access(self, access: Access, event: Event) -> dict[str, object]:
        fields: dict[str, object] = {
            "agent": event.agent or "",
            "server": event.server,
            "scope": access.scope,
            "status": access.status,
            "data": _committed(access.data),
            "how": access.how,
            "ref": event.ref,
            "fields": [_committed(value) for value in access.fields],
        }
        if access.scope_class is not None:
            fields["class"] = access.scope_class
        if self.plain_tool(event.tool) is not None:
            fields["tool"] = event.tool
        ref = self.record("access", fields)
        seen = {k: v for k, v in fields.items() if k not in ("data", "fields")}
        return seen | {"data": access.data, "record": ref}

    def _record_finding(self, finding: Finding) -> None:
        fields: dict[str, object] = {
            "state": finding.state,
            "mode": finding.mode,
            "rule": finding.rule,
            "clause": finding.clause,
            "controls": list(finding.controls),
            "refs": list(finding.refs),
            "expected": finding.expected,
            "reason": _committed(finding.reason),
        }
        named = ("agent", "server", "scope", "source")
        fields |= {name: value for name in named if (value := getattr(finding, name)) is not None}
        if finding.tool is not None:
            fields["tool"] = self.plain_tool(finding.tool) or _committed(finding.tool)
        entry = self._entry(finding)
        if entry is not None:
            fields |= {"known": entry.id, "known_entry": _committed(entry.stated())}
        if finding.detail is not None:
            fields["detail"] = _committed(dict(finding.detail))
        self.record_own("finding", fields)


def _committed(value: object) -> Committed:
    return Committed(storable(value))
