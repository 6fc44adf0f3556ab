"""Joins messages with answers, decisions, accesses, screens and findings: the calls in order of time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pytest_mcp_governance.evidence.reader import Withheld

from .model import Access, Call, Context, Decision, Finding, Message, Screen

# What an agent does to data. Everything else is listed as protocol traffic, unless something was decided
# or found about it.
CALL_METHODS = frozenset({"tools/call", "resources/read", "resources/subscribe", "prompts/get", "completion/complete"})
ANSWERS = frozenset({"result", "error", "invalid"})  # an invalid one answers only where it names a request
One = TypeVar("One")
Bound = TypeVar("Bound", Access, Screen)
ORDER_OF_STATES = {"reached": 0, "blocked": 1, "unproven": 2}


@dataclass(slots=True)
class Parts:
    messages: list[Message] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    screens: list[Screen] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Joined:
    calls: tuple[Call, ...]
    messages: tuple[tuple[Message, Decision | None], ...]
    findings: tuple[Finding, ...]


def join(parts: Parts, contexts: Iterable[Context]) -> Joined:
    messages = sorted(parts.messages, key=lambda m: m.at.us)
    decisions: Mapping[str, list[Decision]] = _by_about(parts.decisions)
    findings = sorted([*parts.findings, *_unconcluded(parts, messages)], key=_rank)
    findings = [replace(x, number=n) for n, x in enumerate(findings, 1)]
    answers = _answers(messages)
    owner = _owner(messages, parts.decisions)
    noteworthy = {owner.get(ref, ref) for x in findings for ref in x.refs}
    noteworthy |= {owner.get(d.about, d.about) for d in parts.decisions if d.verdict in ("deny", "observe")}
    requests = [m for m in messages if _is_call(m) or (m.at.ref in noteworthy and not _is_by_server_alone(m))]
    builder = _Calls(parts, decisions, answers, owner, findings, list(contexts))
    calls = _continued(builder.build(requests))
    number_of = {c.request.at.ref: c.number for c in calls}
    named = _named(messages, parts.decisions)
    placed = tuple(
        replace(
            x,
            calls=tuple(sorted({number_of[o] for o in map(owner.get, x.refs) if o in number_of})),
            about=next((named[ref] for ref in x.refs if ref in named), None),
        )
        for x in findings
    )
    listed = {ref for c in calls for ref in _refs(c)}
    others = tuple((m, _first(decisions[m.at.ref])) for m in messages if m.at.ref not in listed)
    return Joined(calls, others, placed)


@dataclass(slots=True)
class _Calls:
    parts: Parts
    decisions: Mapping[str, list[Decision]]
    answers: Mapping[str, list[Message]]
    owner: Mapping[str, str]
    findings: list[Finding]
    contexts: list[Context]

    def build(self, requests: list[Message]) -> tuple[Call, ...]:
        accesses = self._by_call(self.parts.accesses)
        screens = self._by_call(self.parts.screens)
        found: dict[str, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            for ref in dict.fromkeys(self.owner.get(r, "") for r in finding.refs):
                found[ref].append(finding)
        before: dict[tuple[str, str, int], int] = {}
        calls = []
        later: dict[str, list[Message]] = defaultdict(list)
        for message in sorted(self.parts.messages, key=lambda m: m.at.us):
            later[self.owner[message.at.ref]].append(message)
        for number, request in enumerate(requests, 1):
            ref, line = request.at.ref, (request.agent, request.at.test, request.at.attempt)
            answers = self.answers.get(ref, [])
            followed = [m for m in later[ref] if m is not request and m not in answers]
            about = [ref, *(m.at.ref for m in (*answers, *followed))]
            decided = tuple(d for r in about for d in self.decisions[r])
            calls.append(
                Call(
                    number=number,
                    request=request,
                    answer=_first([m for m in answers if not m.synthesised]),
                    delivered=_first([m for m in answers if m.synthesised]),
                    decisions=decided,
                    accesses=tuple(accesses[ref]),
                    screens=tuple(screens[ref]),
                    contexts=self._led_here(request),
                    findings=tuple(x.number for x in found[ref]),
                    previous=before.get(line, 0),
                    state=_state(found[ref], decided),
                    later=tuple(followed),
                )
            )
            before[line] = number
        return tuple(calls)

    def _by_call(self, values: Iterable[Bound]) -> Mapping[str, list[Bound]]:
        grouped: dict[str, list[Bound]] = defaultdict(list)
        for value in values:
            grouped[self.owner.get(value.about, value.about)].append(value)
        return grouped

    def _led_here(self, request: Message) -> tuple[Context, ...]:
        """The latest context of each kind that this agent had in this test when it sent the request."""
        latest: dict[str, Context] = {}
        for context in self.contexts:
            same = (context.at.test, context.at.attempt) == (request.at.test, request.at.attempt)
            if same and context.agent in (request.agent, "") and context.at.us <= request.at.us:
                latest[context.kind] = context
        return tuple(sorted(latest.values(), key=lambda c: c.at.us))


def _continued(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    """The calls, those that bring input which an earlier one asked for with its number."""
    number_of = {c.request.at.ref: c.number for c in calls}
    return tuple(replace(c, continues=number_of.get(c.request.about, 0)) if c.request.about else c for c in calls)


def _is_call(message: Message) -> bool:
    if message.kind == "invalid":
        return message.direction == "c2s" and not message.about
    if message.kind != "request" or message.synthesised:
        return False
    if message.direction == "s2c":  # a server that asks the agent for something is never mere traffic
        return message.method != "ping"
    return isinstance(message.method, Withheld) or message.method in CALL_METHODS


def _is_by_server_alone(message: Message) -> bool:
    """A server sent it unasked and asks for nothing: whatever was found about it, no agent called anything."""
    return message.direction == "s2c" and message.kind != "request"


def _answers(messages: Iterable[Message]) -> Mapping[str, list[Message]]:
    """Answers by the request they belong to; a replaced answer's replacement belongs there too."""
    by_ref = {m.at.ref: m for m in messages}
    grouped: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        if message.kind not in ANSWERS or not message.about:
            continue
        target = by_ref.get(message.about)
        if target is not None and target.kind in ANSWERS and target.about:
            target = by_ref.get(target.about)
        grouped[target.at.ref if target else message.about].append(message)
    return grouped


def _owner(messages: Iterable[Message], decisions: Iterable[Decision]) -> Mapping[str, str]:
    """For each message and decision: the request (or lone message) that it belongs to."""
    owner = {m.at.ref: m.at.ref for m in messages}
    for message in messages:  # in order of time, so that what a message goes back to is placed already
        if message.about in owner and not message.is_answer and not _is_call(message):
            owner[message.at.ref] = owner[message.about]
    for ref, answers in _answers(messages).items():
        for answer in answers:
            owner[answer.at.ref] = owner.get(ref, ref)
    for decision in decisions:
        owner[decision.at.ref] = owner.get(decision.about, decision.about)
    return owner


def _named(messages: Iterable[Message], decisions: Iterable[Decision]) -> Mapping[str, Message]:
    """The very message that each ref of a message or decision names."""
    by_ref = {m.at.ref: m for m in messages}
    return by_ref | {d.at.ref: by_ref[d.about] for d in decisions if d.about in by_ref}


def _unconcluded(parts: Parts, messages: list[Message]) -> list[Finding]:
    """Denials that no finding refers to count as unexpected blocked findings, as any recount will count them."""
    named = {ref for x in parts.findings for ref in x.refs}
    by_ref = {m.at.ref: m for m in messages}
    left = []
    for d in parts.decisions:
        if d.verdict != "deny" or d.moment != "before" or d.at.ref in named or d.about in named:
            continue
        message = by_ref.get(d.about)
        left.append(
            Finding(
                at=d.at,
                number=0,
                state="blocked",
                mode="enforce",
                rule=d.rule,
                clause=d.clause,
                controls=(),
                refs=(d.at.ref,),
                expected=False,
                reason=d.reason,
                agent=message.agent if message else "",
                server=message.server if message else "",
                tool=message.tool if message else None,
                scope="",
                source="",
                detail=(),
                calls=(),
                concluded=False,
            )
        )
    return left


def _rank(finding: Finding) -> tuple[bool, bool, int, int]:
    state = ORDER_OF_STATES.get(finding.state, 3)
    return (finding.expected, finding.mode == "observe", state, finding.at.us)


def _state(findings: list[Finding], decisions: Iterable[Decision]) -> str:
    """The one word for a call: its worst finding, else how it was decided."""
    decisions = list(decisions)
    if findings:
        return min(findings, key=_rank).shown_state
    rules = [d.rule for d in decisions]
    if any(d.verdict == "deny" for d in decisions):
        return "blocked"
    if any(d.verdict == "observe" for d in decisions):
        return "observed"
    if not rules:
        return "undecided"
    return "unjudged" if "NOT-JUDGED" in rules else "allowed"


def _by_about(decisions: Iterable[Decision]) -> Mapping[str, list[Decision]]:
    grouped: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        grouped[decision.about].append(decision)
    return grouped


def _refs(call: Call) -> Iterable[str]:
    return (m.at.ref for m in (call.request, call.answer, call.delivered) if m is not None)


def _first(values: Iterable[One]) -> One | None:
    return next(iter(values), None)
