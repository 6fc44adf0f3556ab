"""Reads every record of a run once and joins what belongs together: `collect(reader) -> Evidence`.

Follows the references that records carry; judges nothing, counts nothing, says nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pytest_mcp_governance.evidence.disclosures import commitment
from pytest_mcp_governance.evidence.reader import Records, Withheld
from pytest_mcp_governance.evidence.recount import Recount

from . import fields as f
from .fields import Record
from .joining import Parts, join
from .model import (
    Access,
    Context,
    Evidence,
    Gap,
    PolicySource,
    Screen,
    Selection,
    ServerOutput,
    Stamp,
    TestRun,
    WithheldCount,
)
from .reading import access, decision, finding, message, output, python_version, screen, server

POLICY_TEXT_LIMIT = 256 * 1024


def collect(reader: Records) -> Evidence:
    """Everything the run recorded, joined and in the order of time."""
    gathered = _Gathered(reader)
    for record in reader.records():
        gathered.take(record)
    return gathered.evidence()


_HTTP_STEPS = frozenset({"request", "response", "event", "body", "left", "refused"})


@dataclass(slots=True)
class _Gathered:
    reader: Records
    parts: Parts = field(default_factory=Parts)
    contexts: list[Context] = field(default_factory=list)
    tests: dict[tuple[str, int], TestRun] = field(default_factory=dict)
    policies: dict[tuple[str, str, str], PolicySource] = field(default_factory=dict)
    policy_of: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    modes: set[str] = field(default_factory=set)
    sessions: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    selection: Selection | None = None
    gaps: list[Gap] = field(default_factory=list)
    outputs: list[ServerOutput] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)
    producers: dict[str, None] = field(default_factory=dict)
    platforms: dict[str, None] = field(default_factory=dict)
    recount: Recount = field(default_factory=Recount)
    withheld: int = 0
    withheld_of_pictures: int = 0
    records: int = 0
    first: Stamp | None = None
    last: Stamp | None = None

    def take(self, record: Record) -> None:
        at = f.stamp(record)
        self.recount.add(record)
        self.records += 1
        self.first = at if self.first is None or at.us < self.first.us else self.first
        self.last = at if self.last is None or at.us > self.last.us else self.last
        withheld = _withheld(self.reader, record)
        self.withheld += withheld
        reveal = self.reader.reveal
        match f.string(record, "type"):
            case "msg":
                self.parts.messages.append(message(at, record, reveal))
            case "decision":
                self.parts.decisions.append(decision(at, record, reveal))
            case "access":
                self.parts.accesses.append(access(at, record, reveal))
            case "finding":
                self.parts.findings.append(finding(at, record, reveal))
            case "blob":
                self.withheld_of_pictures += withheld
                self.parts.screens.append(screen(at, record, reveal))
            case other:
                self._take_about_the_run(other, at, record)

    def _take_about_the_run(self, kind: str, at: Stamp, record: Record) -> None:
        reveal = self.reader.reveal
        match kind:
            case "context":
                text = f.disclosed(reveal, record.get("text"))
                self.contexts.append(Context(at, f.string(record, "kind"), f.string(record, "agent"), text))
            case "test":
                self._take_test(at, record)
            case "policy":
                self._take_policy(at, record)
            case "session":
                # The steps of HTTP exchanges are evidence for whoever reads the ledger, and say nothing about a server.
                if f.string(record, "state") not in _HTTP_STEPS:
                    self.sessions[f.string(record, "server")].append(record)
            case "selection":
                self.selection = Selection(
                    f.strings(record, "selected"),
                    f.integer(record, "unaudited"),
                    f.integer(record, "deselected"),
                    f.string(record, "collection"),
                    record.get("require") is True,
                )
            case "gap":
                reason = f.disclosed(reveal, record.get("reason"))
                self.gaps.append(
                    Gap(
                        at,
                        f.string(record, "what"),
                        f.integer(record, "count"),
                        reason if isinstance(reason, str) else "",
                    )
                )
            case "io":
                self.outputs.append(output(at, record, reveal))
            case "segment":
                self.announced.append(f.string(record, "name"))
            case "open":
                producer = f.mapping(record, "producer")
                named = f"{f.string(producer, 'name')} {f.string(producer, 'version')}".strip()
                self.producers[named] = None
                system = ", ".join(
                    x for x in (f.string(record, "platform"), python_version(f.string(record, "python"))) if x
                )
                self.platforms[system] = None

    def _take_test(self, at: Stamp, record: Record) -> None:
        reveal, key = self.reader.reveal, (at.test, at.attempt)
        if f.string(record, "phase") != "end":
            self.tests[key] = TestRun(
                name=at.test,
                attempt=at.attempt,
                nodeid=f.disclosed(reveal, record.get("nodeid")),
                agent=f.string(record, "agent"),
                controls=f.strings(record, "controls"),
                started=at,
                ended=None,
                outcome="",
                failure="",
                mode="",
                policy="",
            )
            return
        begun = self.tests.get(key)
        self.tests[key] = TestRun(
            name=at.test,
            attempt=at.attempt,
            nodeid=begun.nodeid if begun else f.disclosed(reveal, record.get("nodeid")),
            agent=begun.agent if begun else f.string(record, "agent"),
            controls=begun.controls if begun else f.strings(record, "controls"),
            started=begun.started if begun else at,
            ended=at,
            outcome=f.string(record, "outcome"),
            failure=f.disclosed(reveal, record.get("failure", "")),
            mode="",
            policy="",
        )

    def _take_policy(self, at: Stamp, record: Record) -> None:
        mode, digest = f.string(record, "mode"), f.string(record, "sha256")
        self.modes.add(mode)
        self.policy_of[(at.test, at.attempt)] = (mode, digest)
        sources = record.get("sources")
        for source in sources if isinstance(sources, list) else ():
            if isinstance(source, Mapping):
                blob, name = f.string(source, "blob"), f.string(source, "name")
                key = (name, blob, mode)
                if key not in self.policies:
                    text = self.reader.blob(blob) or b""
                    shown = text[:POLICY_TEXT_LIMIT].decode("utf-8", "replace")
                    self.policies[key] = PolicySource(name, f.string(source, "kind"), blob, mode, shown)

    def evidence(self) -> Evidence:
        joined = join(self.parts, self.contexts)
        present = set(self.reader.segments)
        return Evidence(
            run=self.reader.run,
            calls=joined.calls,
            messages=joined.messages,
            findings=joined.findings,
            accesses=in_order(self.parts.accesses),
            screens=in_order(self.parts.screens),
            contexts=in_order(self.contexts),
            tests=self._tests(),
            policies=tuple(self.policies[key] for key in sorted(self.policies)),
            modes=tuple(sorted(self.modes)),
            servers=tuple(server(name, records) for name, records in sorted(self.sessions.items())),
            selection=self.selection,
            gaps=tuple(self.gaps),
            outputs=in_order(self.outputs),
            agents=self._agents(),
            missing_segments=tuple(name for name in self.announced if name not in present),
            producers=tuple(sorted(p for p in self.producers if p)),
            platforms=tuple(sorted(p for p in self.platforms if p)),
            judged=self.recount.judged,
            outcomes=tuple(self.recount.tests.items()),
            missing_tests=self.recount.missing,
            unfinished_tests=len(self.recount.unfinished),
            withheld=self._withheld_count(),
            records=self.records,
            first=self.first,
            last=self.last,
            gate=_gate(self.reader.open),
            unaudited_servers=_unaudited_servers(self.reader.open),
        )

    def _withheld_count(self) -> WithheldCount:
        hidden = [s for s in self.parts.screens if isinstance(s.digest, Withheld)]
        screens = sum(s.kind == "screen" for s in hidden)
        return WithheldCount(self.withheld, self.withheld_of_pictures, screens, len(hidden) - screens)

    def _tests(self) -> tuple[TestRun, ...]:
        runs = []
        for key, test in self.tests.items():
            mode, policy = self.policy_of.get(key, ("none", ""))
            runs.append(
                TestRun(
                    test.name,
                    test.attempt,
                    test.nodeid,
                    test.agent,
                    test.controls,
                    test.started,
                    test.ended,
                    test.outcome,
                    test.failure,
                    mode,
                    policy,
                )
            )
        return tuple(sorted(runs, key=lambda t: (t.started.us, t.name, t.attempt)))

    def _agents(self) -> tuple[str, ...]:
        named = {m.agent for m in self.parts.messages} | {c.agent for c in self.contexts}
        named |= {a.agent for a in self.parts.accesses} | {x.agent for x in self.parts.findings}
        for records in self.sessions.values():
            named |= {f.string(r, "agent") for r in records}
        return tuple(sorted(name for name in named if name))


def _gate(statement: Record | None) -> str:
    """Which findings failed the suite's own run, as the open statement says; `any` where it says nothing."""
    return f.string(f.mapping(statement or {}, "predicate"), "gate", "any")


def _unaudited_servers(statement: Record | None) -> tuple[str, ...]:
    """The servers that `mcp-governance observe` was told to leave in, as the open statement says."""
    return f.strings(f.mapping(statement or {}, "predicate"), "unaudited_servers")


def _withheld(reader: Records, value: object) -> int:
    """How many commitments in a record have no disclosure here."""
    digest = commitment(value)
    if digest is not None:
        return not reader.has_disclosure(digest)
    if isinstance(value, Mapping):
        return sum(_withheld(reader, item) for item in value.values())
    return sum(_withheld(reader, item) for item in value) if isinstance(value, list) else 0


Timed = TypeVar("Timed", Access, Screen, Context, ServerOutput)


def in_order(values: Iterable[Timed]) -> tuple[Timed, ...]:
    """By recorded time; segments that wrote in the same microsecond stay in stored order."""
    return tuple(sorted(values, key=lambda v: v.at.us))
