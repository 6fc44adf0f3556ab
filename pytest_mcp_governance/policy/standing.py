"""What a test's findings stand at: refused messages, expectations, requirements, gateways without a call.

Keeps the account and writes the findings; decides nothing. A finding is made anew each time it is asked for,
so that what an assertion said too early is judged again at the end.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_mcp_governance.policy.arguments import Failure
from pytest_mcp_governance.policy.assertions import Requirement, parse_requirement
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.policy.masking import Masker
from pytest_mcp_governance.policy.places import Paths
from pytest_mcp_governance.policy.subjects import Subject
from pytest_mcp_governance.policy.verdicts import (
    BLIND,
    ERROR,
    EXPECTED_DENIAL_MISSING,
    NO_CALLS,
    RESERVED_RULES,
    TOOL_CHANGED,
    UNKNOWN_AGENT,
    Decision,
    Finding,
    Mode,
    State,
    seen_line,
)

MOST_STRANGERS = 20  # findings of refused connections in one test; the records have all of them
_MOST_NAMES = 10
_MAX_NAME = 100
_MOST_CHANGED = 1000  # findings on changed definitions; a server may change them without end
_IDLE_OK = "If that is meant: gateway(…, idle_ok=True)."
_NO_GATEWAY = "If that is meant: drop the fixture mcp_audit; else give the agent mcp_audit.gateway(…)."


@dataclass(slots=True)
class _Refusal:
    event: Event = field(repr=False)
    decision: Decision
    expected: bool
    record: str = ""


@dataclass(slots=True)
class _Call:
    event: Event = field(repr=False)
    tool: str
    arguments: Mapping[str, object] = field(repr=False)
    refusal: _Refusal | None


@dataclass(slots=True)
class _Gateway:
    idle_ok: bool
    label: str = ""
    calls: int = 0


@dataclass(slots=True)
class _Expectation:
    rule: str | None
    met: bool = False
    open: bool = True
    others: dict[str, None] = field(default_factory=dict)  # the rules that denied in its place


def refused_stranger(ref: str, mode: Mode | None, *, expected: bool = False) -> Finding:
    """The finding on a connection without an agent's token; without a mode nothing is judged, so it fails nothing."""
    reason = "a connection without a valid token was refused: it is no agent of this run"
    return Finding("blocked", mode or "observe", UNKNOWN_AGENT, "token", reason, refs=(ref,), expected=expected)


class Account:
    """The account of one test attempt; `rules` are the ids that an expectation may name besides ours.

    With `keeps` false nothing is kept of a message once its finding is told: for sessions without assertions and end.
    """

    def __init__(
        self, *, mode: Mode | None, rules: Sequence[str], masker: Masker, paths: Paths, keeps: bool = True
    ) -> None:
        self._keeps = keeps
        self._mode = mode
        self._rules = tuple(rules)
        self._masker = masker
        self._paths = paths
        self._refusals: list[_Refusal] = []
        self._unrecorded: dict[str, _Refusal] = {}
        self._calls: list[_Call] = []
        self._expectations: list[_Expectation] = []
        self._requirements: dict[str, Requirement] = {}
        self._gateways: dict[str, _Gateway] = {}
        self._strangers: dict[str, Event] = {}
        self._refused_strangers: list[Finding] = []
        self._changed: list[Finding] = []

    def note(self, event: Event, decision: Decision, subject: Subject | None) -> None:
        """Take a decision into account."""
        refusal = None
        if decision.verdict in ("deny", "observe") or decision.clause in BLIND:
            refusal = _Refusal(event, decision, self._expected(decision))
            self._unrecorded[event.ref] = refusal
            if self._keeps:
                self._refusals.append(refusal)
        if self._keeps and subject is not None and subject.kind == "tool" and event.kind == "request":
            self._calls.append(_Call(event, subject.names[0], subject.arguments or {}, refusal))
        if not event.agent:
            self._strangers.setdefault(event.conn, event)

    def tool_changed(self, event: Event, tool: str, members: Sequence[str], reached: bool) -> None:
        """A tool is defined otherwise than before: what a model was told, and maybe approved, holds no longer."""
        named = ", ".join(self._masker.text(member)[:_MAX_NAME] for member in members[:_MOST_NAMES])
        more = f" and {len(members) - _MOST_NAMES} more" if len(members) > _MOST_NAMES else ""
        reason = f"the server changed the tool's definition during the run: {named or 'its text'}{more}"
        if len(self._changed) >= _MOST_CHANGED:
            return
        self._changed.append(
            Finding(
                "reached" if reached else "blocked", self._mode or "observe", TOOL_CHANGED, "definition", reason,
                refs=(event.ref,), agent=event.agent, server=event.server, tool=tool,
            )
        )  # fmt: skip

    def recorded(self, event: Event, ref: str) -> Finding | None:
        """The decision's record is `ref`; the finding that it makes where it is not kept until the end."""
        refusal = self._unrecorded.pop(event.ref, None)
        if refusal is None:
            return None
        refusal.record = ref
        return None if self._keeps else self._refused(refusal)

    def _expected(self, decision: Decision) -> bool:
        if decision.rule == ERROR or decision.verdict == "allow":
            return False  # an error of ours is never what a test asked for
        met = [e for e in self._expectations if e.open and e.rule in (None, decision.rule)]
        for expectation in self._expectations:
            if expectation in met:
                expectation.met = True
            elif expectation.open:
                expectation.others[decision.rule] = None
        return bool(met)

    def expect(self, rule: str | None) -> int:
        """Open an expectation; returns its token."""
        self._expectations.append(_Expectation(rule))
        return len(self._expectations) - 1

    def end_expectation(self, token: int) -> tuple[Finding, ...]:
        """Close an expectation; a finding where it was not met."""
        expectation = self._expectations[token]
        expectation.open = False
        return () if expectation.met else (self._missing(expectation),)

    def require(self, raw: Mapping[str, object]) -> tuple[Finding, ...]:
        """Register a requirement and judge it on the calls so far."""
        requirement = parse_requirement(raw)
        self._requirements[json.dumps(raw, sort_keys=True)] = requirement
        return self._judge(requirement)

    def gateway_opened(self, gateway: str, idle_ok: bool, label: str) -> None:
        """A gateway exists; without a call it is a finding unless `idle_ok`."""
        self._gateways[gateway] = _Gateway(idle_ok, label)

    def gateway_call(self, gateway: str) -> None:
        """A call came through the gateway."""
        self._gateways.setdefault(gateway, _Gateway(False)).calls += 1

    def stranger(self, ref: str) -> None:
        """A connection without an agent's token was refused; `ref` records it. The first ones are findings."""
        # Only who expects a stranger by name: it must not stand for the denied call that another test waits for.
        met = [e for e in self._expectations if e.open and e.rule == UNKNOWN_AGENT]
        for expectation in met:
            expectation.met = True
        if len(self._refused_strangers) < MOST_STRANGERS:
            self._refused_strangers.append(refused_stranger(ref, self._mode, expected=bool(met)))

    def findings(self, *, final: bool) -> tuple[Finding, ...]:
        """All findings; those that only an end can show are added when `final`."""
        found = [self._refused(refusal) for refusal in self._refusals]
        found += self._unnamed_agents()
        found += self._refused_strangers
        found += self._changed
        for requirement in self._requirements.values():
            found += self._judge(requirement)
        found += [self._missing(e) for e in self._expectations if not e.met and (final or not e.open)]
        if final:
            found += self._idle()
        return tuple(found)

    def _refused(self, refusal: _Refusal) -> Finding:
        event, decision = refusal.event, refusal.decision
        state: State = "blocked" if decision.verdict == "deny" else "reached"
        if decision.clause in BLIND:
            state = "unproven"
        # An error of ours is never merely observed: the record is not what it claims to be.
        ours = decision.clause in ("exception", "detector-error")
        mode: Mode = "enforce" if ours or decision.verdict == "deny" else "observe"
        rule = ERROR if decision.clause in BLIND else decision.rule
        outside = [access.scope for access in decision.accesses if access.status == "out" and access.scope]
        return Finding(
            state, mode, rule, decision.clause, decision.reason, decision.controls, self._refs(event, refusal),
            refusal.expected, event.agent, event.server, event.tool,
            outside[0] if outside else None, decision.source or None, decision.detail,
        )  # fmt: skip

    def _unnamed_agents(self) -> list[Finding]:
        if self._mode is None:
            return []
        refused = {refusal.event.conn for refusal in self._refusals}
        return [
            Finding(
                "unproven", self._mode, UNKNOWN_AGENT, "agent", "a connection without an agent's token",
                refs=(event.ref,), server=event.server,
            )
            for conn, event in self._strangers.items() if conn not in refused
        ]  # fmt: skip

    def _judge(self, requirement: Requirement) -> tuple[Finding, ...]:
        self._paths.begin()
        made = [call for call in self._calls if not (call.refusal and call.refusal.expected)]
        found = [finding for call in made if (finding := self._broken(requirement, call))]
        if requirement.kind == "all" and not any(requirement.matches(c.event.server, c.tool) for c in made):
            reason = f"no call matched {requirement.patterns[0].text}: the assertion is about nothing"
            found.append(self._unproven(requirement.id, "all.no-call", reason, source=requirement.id))
        return tuple(found)

    def _broken(self, requirement: Requirement, call: _Call) -> Finding | None:
        event = call.event
        try:
            broken = requirement.broken_by(event.server, call.tool, call.arguments, self._paths)
        except Exception:  # a limit that cannot be applied is a limit that is not kept
            broken = "an error while judging the assertion"
        if broken is None:
            return None
        detail: dict[str, str] | None = None
        reason, clause = str(broken), str(requirement.kind)
        if isinstance(broken, Failure):
            detail = failure_detail(broken, event.ref, self._masker)
            reason, clause = seen_line(detail), broken.clause
        blocked = call.refusal is not None and call.refusal.decision.verdict == "deny"
        return Finding(
            "blocked" if blocked else "reached", self._mode or "enforce", requirement.id, clause, reason, (),
            self._refs(event, call.refusal), False, event.agent, event.server, event.tool,
            source=requirement.id, detail=detail,
        )  # fmt: skip

    def _missing(self, expectation: _Expectation) -> Finding:
        wanted = expectation.rule
        denied = f"denied by {' and '.join(expectation.others)}" if expectation.others else ""
        if wanted and self._rules and wanted not in (*self._rules, *RESERVED_RULES):
            reason = "; ".join(filter(None, (denied, self._unknown_rule(wanted))))
        elif wanted and denied:
            reason = f"expected {wanted} to deny it; {' and '.join(expectation.others)} did"
        else:
            reason = f"the test expected a denial by {f'rule {wanted}' if wanted else 'any rule'}; none happened"
        return self._unproven(EXPECTED_DENIAL_MISSING, "expect_denied", reason)

    def _unknown_rule(self, wanted: str) -> str:
        near = difflib.get_close_matches(wanted, (*self._rules, *RESERVED_RULES), n=1)
        known = ", ".join(self._rules[:_MOST_NAMES]) + (", …" if len(self._rules) > _MOST_NAMES else "")
        return f"no rule is named {wanted}; " + (
            f"did you mean {near[0]}?" if near else f"the policy's rules are {known}"
        )

    def _idle(self) -> list[Finding]:
        idle = {id_: gateway for id_, gateway in self._gateways.items() if not gateway.calls and not gateway.idle_ok}
        if not self._gateways and not self._calls:
            return [self._no_calls(f"no call came through any gateway or connection of this test. {_NO_GATEWAY}")]
        found = [self._no_calls(f"no call came through gateway {id_}") for id_, gw in idle.items() if not gw.label]
        for label, count in Counter(gateway.label for gateway in idle.values() if gateway.label).items():
            who, _, servers = label.rpartition(" to ")
            way = "connection" if count == 1 else f"{count} connections"
            reason = f"{who} made no call through its {way} to {servers}. {_IDLE_OK}"
            server = None if ", " in servers else servers
            found.append(self._no_calls(reason, agent=who.removeprefix("agent ") or None, server=server))
        return found

    def _no_calls(self, reason: str, *, agent: str | None = None, server: str | None = None) -> Finding:
        # Without policy and assertion nothing was claimed, so nothing fails.
        mode: Mode = self._mode or ("enforce" if self._requirements or self._expectations else "observe")
        return Finding("unproven", mode, NO_CALLS, "no-calls", reason, agent=agent, server=server)

    def _unproven(self, rule: str, clause: str, reason: str, source: str | None = None) -> Finding:
        return Finding("unproven", self._mode or "enforce", rule, clause, reason, source=source)

    def _refs(self, event: Event, refusal: _Refusal | None) -> tuple[str, ...]:
        return (event.ref, refusal.record) if refusal and refusal.record else (event.ref,)


def _sent(names: tuple[str, ...], masker: Masker) -> str:
    if not names:
        return "no argument was sent"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return "sent: " + ", ".join(masker.text(name)[:_MAX_NAME] for name in names[:_MOST_NAMES]) + more


def failure_detail(failure: Failure, call_ref: str, masker: Masker) -> dict[str, str]:
    """An argument's failure as a finding's detail, masked."""
    detail = {
        "argument": masker.text(failure.argument),
        "seen": masker.seen(failure.seen),
        "limit": failure.limit,
        "call_ref": call_ref,
    }
    if failure.clause.endswith(".missing"):
        detail["sent"] = _sent(failure.sent, masker)
    if failure.nearest:
        detail["nearest"] = (
            f"{failure.argument} {failure.nearest}" if failure.clause != "args.unnamed" else failure.nearest
        )
    return detail
