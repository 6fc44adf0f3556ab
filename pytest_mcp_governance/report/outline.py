"""The page of a run too large for one file: figures, findings by kind, and where the evidence lies.

Reads the clear fields of every record once and keeps only counts, so that memory does not grow with the run; shows no
message and no value. The evidence stays in the run folder, and the page says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from pytest_mcp_governance.evidence.recount import Recount

from . import clock
from . import fields as f
from .facts import RunFacts
from .fields import Record
from .joining import CALL_METHODS
from .page import draw

MOST_ROWS = 500  # kinds of calls, accesses or findings that are counted one by one; an agent may invent names
_UNDER_WAY = 4_096
OTHERS = "others"
_TABLES = ("calls", "accesses", "findings", "connections")


@dataclass(frozen=True, slots=True, order=True)
class CallKind:
    """Whose call of what; `tool` is the method where no tool is called."""

    agent: str
    server: str
    tool: str


@dataclass(frozen=True, slots=True, order=True)
class AccessKind:
    """Whose access to data of which scope."""

    agent: str
    scope: str
    scope_class: str
    status: str


@dataclass(frozen=True, slots=True, order=True)
class FindingKind:
    """Findings that differ only in the call that they are about."""

    state: str
    mode: str
    expected: bool
    rule: str
    clause: str
    agent: str
    server: str
    tool: str


Kind = TypeVar("Kind", CallKind, AccessKind, FindingKind, str)


@dataclass(slots=True)
class Outline:
    """Feed it every record of a run.

    Attributes:
        calls: number of calls of each kind; and of those denied.
        accesses: number of accesses of each kind.
        findings: number of findings of each kind; `first` is the record of its first one.
        connections: server -> number of connections.
        first, last: wall time in microseconds.
    """

    recount: Recount
    calls: Counter[CallKind] = field(default_factory=Counter)
    denied: Counter[CallKind] = field(default_factory=Counter)
    accesses: Counter[AccessKind] = field(default_factory=Counter)
    findings: Counter[FindingKind] = field(default_factory=Counter)
    first_of: dict[FindingKind, str] = field(default_factory=dict)
    connections: Counter[str] = field(default_factory=Counter)
    records: int = 0
    first: tuple[str, int] | None = None
    last: tuple[str, int] | None = None
    _asked: dict[str, CallKind] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """Count one record."""
        at = f.stamp(record)
        self.records += 1
        self.first = self.first or (at.t, at.us)
        self.last = (at.t, at.us)
        match record.get("type"):
            case "msg":
                self._message(at.ref, record)
            case "decision":
                if record.get("verdict") == "deny" and record.get("moment") == "before":
                    kind = self._asked.get(f.string(record, "ref"))
                    if kind is not None:
                        self.denied[kind] += 1
            case "access":
                told = ("agent", "scope", "class", "status")
                _count(self.accesses, AccessKind(*(f.string(record, name) for name in told)), AccessKind(*[OTHERS] * 4))
            case "finding":
                self._finding(at.ref, record)
            case "session":
                if f.string(record, "state") in ("opened", "taken-over"):
                    _count(self.connections, f.string(record, "server"), OTHERS)

    def _message(self, ref: str, record: Record) -> None:
        method = f.string(record, "method")
        received = record.get("origin") == "received" and record.get("direction") == "c2s"
        if not received or record.get("kind") != "request" or method not in CALL_METHODS:
            return
        named = record.get("tool", method)
        tool = named if isinstance(named, str) else "a name that is withheld"
        kind = CallKind(f.string(record, "agent"), f.string(record, "server"), tool)
        kind = _count(self.calls, kind, CallKind(OTHERS, OTHERS, OTHERS))
        self._asked[ref] = kind
        if len(self._asked) > _UNDER_WAY:  # its decision follows at once
            del self._asked[next(iter(self._asked))]

    def _finding(self, ref: str, record: Record) -> None:
        named = record.get("tool", "")
        kind = FindingKind(
            state=f.string(record, "state"),
            mode=f.string(record, "mode"),
            expected=record.get("expected") is True,
            rule=f.string(record, "rule"),
            clause=f.string(record, "clause"),
            agent=f.string(record, "agent"),
            server=f.string(record, "server"),
            tool=named if isinstance(named, str) else "a name that is withheld",
        )
        others = FindingKind(kind.state, kind.mode, kind.expected, OTHERS, OTHERS, OTHERS, OTHERS, OTHERS)
        self.first_of.setdefault(_count(self.findings, kind, others), ref)

    @property
    def agents(self) -> tuple[tuple[str, int, int, int], ...]:
        """(agent, calls, denied, findings), by name."""
        names = {kind.agent for kind in self.calls} | {kind.agent for kind in self.findings if kind.agent}
        return tuple(
            (
                name,
                sum(n for kind, n in self.calls.items() if kind.agent == name),
                sum(n for kind, n in self.denied.items() if kind.agent == name),
                sum(n for kind, n in self.findings.items() if kind.agent == name),
            )
            for name in sorted(names)
        )

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        if not self.recount.judged:
            return "Not judged: there was no policy"
        count = self.recount.unexpected
        return f"{count:,} unexpected finding{'s' if count != 1 else ''} in enforce mode" if count else (
            "No unexpected finding in enforce mode"
        )  # fmt: skip

    @property
    def when(self) -> str:
        """The span of time, in words."""
        if self.first is None or self.last is None:
            return "no record"
        return clock.span(*self.first, *self.last)


def outlined(records: Iterable[Record], recount: Recount) -> Outline:
    """Count a run's records."""
    outline = Outline(recount)
    for record in records:
        outline.take(record)
    return outline


def render_outline(outline: Outline, facts: RunFacts, *, stored_mb: int) -> bytes:
    """The page, from `<!doctype html>` to just before the container's marker, body left open.

    Args:
        outline: what was counted.
        facts: what the closing run knows beside it.
        stored_mb: the size of the evidence, in megabytes.
    """
    named = {name: sorted(getattr(outline, name).items(), key=_by_count) for name in _TABLES}
    return draw("outline.html.j2", facts, {"o": outline, "stored_mb": stored_mb, **named})


def _by_count(row: tuple[Kind, int]) -> tuple[int, Kind]:
    return -row[1], row[0]


def _count(counter: Counter[Kind], kind: Kind, others: Kind) -> Kind:
    """Count a kind, under `others` where there are too many; return what it was counted as."""
    counted = kind if kind in counter or len(counter) < MOST_ROWS else others
    counter[counted] += 1
    return counted
