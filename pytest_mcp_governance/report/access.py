"""Who accessed what: agents against data scopes, and every data reference behind the figures.

A cell counts calls, not records: one call that matches five fields of a scope counts once there.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from pytest_mcp_governance.evidence.reader import Withheld

from .model import Access, Call, Evidence, Text
from .summary import RunSummary
from .text import FOUND, placed

UNRESOLVED, OUTSIDE = "unresolved", "outside"


@dataclass(frozen=True, slots=True)
class Column:
    """A data scope, or one of the two columns for what lies in none."""

    key: str
    label: str
    scope_class: str


@dataclass(frozen=True, slots=True)
class Cell:
    """Calls of one agent in one column; `marks` are the states of findings among them with their calls, worst first."""

    column: str
    calls: tuple[int, ...]
    marks: tuple[tuple[str, tuple[int, ...]], ...]
    level: int

    @property
    def plain(self) -> int:
        """Calls without a finding."""
        return len(self.calls) - sum(len(numbers) for _, numbers in self.marks)


@dataclass(frozen=True, slots=True)
class Row:
    agent: str
    calls: int
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """One piece of data that an agent accessed, over all its calls."""

    agent: str
    scope: str
    scope_class: str
    placed: str
    data: Text
    how: tuple[str, ...]
    calls: tuple[int, ...]
    first: str


@dataclass(frozen=True, slots=True)
class Matrix:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    references: tuple[Reference, ...]

    @property
    def marks(self) -> tuple[str, ...]:
        """The states that stand in any cell, worst first."""
        used = {state for row in self.rows for cell in row.cells if cell for state, _ in cell.marks}
        return tuple(state for state in FOUND if state in used)

    @property
    def named(self) -> bool:
        """Whether a call lies in a scope that a policy names."""
        own = (column.key for column in self.columns if column.key not in (UNRESOLVED, OUTSIDE))
        return any(not key.startswith("builtin.") for key in own)


def matrix(evidence: Evidence, run: RunSummary) -> Matrix:
    about = {c.number: (c.request, c.answer, c.delivered, *c.later) for c in evidence.calls}
    call_of = {m.at.ref: c for c in evidence.calls for m in about[c.number] if m is not None}
    touched: dict[tuple[str, str], dict[int, Call]] = defaultdict(dict)
    classes: dict[str, str] = {}
    accesses = _resolved_first(evidence.accesses, call_of)
    for access in accesses:
        column = column_of(access)
        classes.setdefault(column, access.scope_class)
        if (call := call_of.get(access.about)) is not None:
            touched[(access.agent, column)][call.number] = call
    columns = _columns(classes)
    most = max((len(calls) for calls in touched.values()), default=1)
    rows = tuple(
        Row(
            agent=a.agent,
            calls=a.calls,
            cells=tuple(_cell(c.key, touched.get((a.agent, c.key), {}), most) for c in columns),
        )
        for a in run.agents
    )
    return Matrix(columns, rows, _references(accesses, call_of))


def column_of(access: Access) -> str:
    """The column an access counts in: its scope, allowed there or not; else unresolved, or outside all scopes."""
    return access.scope or (UNRESOLVED if access.status == "unresolved" else OUTSIDE)


def _resolved_first(accesses: tuple[Access, ...], call_of: dict[str, Call]) -> tuple[Access, ...]:
    """Without "unresolved" for a call whose answer, or another argument, did say what it touched."""
    resolved = {call_of[a.about].number for a in accesses if a.about in call_of and column_of(a) != UNRESOLVED}
    return tuple(
        a
        for a in accesses
        if column_of(a) != UNRESOLVED or a.about not in call_of or call_of[a.about].number not in resolved
    )


def _columns(classes: dict[str, str]) -> tuple[Column, ...]:
    scopes = sorted(k for k in classes if k not in (UNRESOLVED, OUTSIDE))
    return (
        *(Column(k, k, classes[k]) for k in scopes),
        Column(OUTSIDE, "In no scope", ""),
        Column(UNRESOLVED, "Unresolved", ""),
    )


def _cell(column: str, calls: dict[int, Call], most: int) -> Cell | None:
    if not calls:
        return None
    level = 1 + min(2, 3 * len(calls) // (most + 1))
    found = ((state, tuple(sorted(n for n, c in calls.items() if c.state == state))) for state in FOUND)
    return Cell(column, tuple(sorted(calls)), tuple((state, numbers) for state, numbers in found if numbers), level)


def _references(accesses: tuple[Access, ...], call_of: dict[str, Call]) -> tuple[Reference, ...]:
    grouped: dict[tuple[str, str, str, Text], list[Access]] = defaultdict(list)
    for access in accesses:
        grouped[(access.agent, access.scope, access.status, access.data)].append(access)
    references = [
        Reference(
            agent=agent,
            scope=scope,
            scope_class=group[0].scope_class,
            placed=placed(group[0]),
            data=data,
            how=tuple(dict.fromkeys(a.how for a in group if a.how)),
            calls=tuple(dict.fromkeys(call_of[a.about].number for a in group if a.about in call_of)),
            first=group[0].at.t,
        )
        for (agent, scope, status, data), group in grouped.items()
    ]
    return tuple(sorted(references, key=lambda r: (r.agent, r.scope, r.placed, _sortable(r.data))))


def _sortable(data: Text) -> tuple[bool, str]:
    return (True, data.digest) if isinstance(data, Withheld) else (False, data)
