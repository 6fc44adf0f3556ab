"""What a test reads and asserts: the calls and the data accesses of its audit. Reprs show counts, no payloads.

Each assertion becomes a requirement in the policy's own vocabulary; the recorder judges it now and again when the
test ends, so that one made too early does not hold by chance.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Require = Callable[[Mapping[str, object]], None]
Rows = Callable[[], Sequence[Mapping[str, object]]]

_HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass(frozen=True, slots=True)
class Call:
    """One tools/call as recorded: who, what, what was decided; `is_error` is None while it is unanswered."""

    ref: str
    agent: str | None
    server: str
    tool: str
    verdict: str
    rule: str
    is_error: bool | None
    arguments: Mapping[str, object] = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.server}.{self.tool}"


@dataclass(frozen=True, slots=True)
class Access:
    """One access to data: which scope, and whether the rule that allowed the call covers it."""

    ref: str
    agent: str | None
    server: str
    tool: str | None
    scope: str | None
    scope_class: str | None
    status: str
    data: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Holds:
    """An assertion that holds so far; true, and judged again when the test ends."""

    source: str

    def __bool__(self) -> bool:
        return True


class Calls:
    """The tool calls of this test so far."""

    def __init__(self, rows: Rows, require: Require, rootdir: Path) -> None:
        self._rows = rows
        self._require = require
        self._rootdir = rootdir

    def __iter__(self) -> Iterator[Call]:
        return iter([_call(row) for row in self._rows()])

    def __len__(self) -> int:
        return len(self._rows())

    def __bool__(self) -> bool:
        return len(self) > 0

    def __repr__(self) -> str:
        return f"<Calls: {len(self)}>"

    def only(self, *patterns: str) -> Holds:
        """Every call of this test matches one of the patterns (`server.tool`, `*`, `{a,b}`).

        Raises:
            FindingsError: a call made so far does not. One made later is a finding at the test's end.
        """
        from pytest_mcp_governance.policy import assertions

        source = caller(self._rootdir)
        self._require(assertions.only(*patterns, source=source))
        return Holds(source)

    def never(self, *patterns: str) -> Holds:
        """No call of this test matches one of the patterns; raises FindingsError as `only` does."""
        from pytest_mcp_governance.policy import assertions

        source = caller(self._rootdir)
        self._require(assertions.never(*patterns, source=source))
        return Holds(source)

    def named(self, pattern: str) -> NamedCalls:
        """The calls that match one pattern, to say something about their arguments."""
        return NamedCalls(pattern, self._require, self._rootdir)


class NamedCalls:
    def __init__(self, pattern: str, require: Require, rootdir: Path) -> None:
        self._pattern = pattern
        self._require = require
        self._rootdir = rootdir

    def __repr__(self) -> str:
        return f"<NamedCalls: {self._pattern}>"

    def all(self, **args: Mapping[str, object]) -> Holds:
        """Each of these calls has the named arguments within their limits: `all(amount={"max": 50_000})`.

        Raises:
            FindingsError: a call made so far does not. One made later is a finding at the test's end.
        """
        from pytest_mcp_governance.policy import assertions

        source = caller(self._rootdir)
        self._require(assertions.all_args(self._pattern, args, source=source))
        return Holds(source)


class Accesses:
    """The data accesses of this test so far."""

    def __init__(self, rows: Rows, agent: str | None = None) -> None:
        self._rows = rows
        self._agent = agent

    def __iter__(self) -> Iterator[Access]:
        found = [_access(row) for row in self._rows()]
        return iter([access for access in found if self._agent in (None, access.agent)])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __repr__(self) -> str:
        return f"<Accesses: {len(self)}>"

    @property
    def scopes(self) -> frozenset[str]:
        """The names of the data scopes that were touched."""
        return frozenset(access.scope for access in self if access.scope is not None)

    def by(self, agent: str) -> Accesses:
        return Accesses(self._rows, agent)


def caller(rootdir: Path) -> str:
    """`file.py:line` of the nearest frame outside this package, the file relative to rootdir."""
    frame = sys._getframe(1)
    while frame.f_back is not None and os.path.dirname(os.path.abspath(frame.f_code.co_filename)) == _HERE:
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    name = path.relative_to(rootdir).as_posix() if path.is_relative_to(rootdir) else path.name
    return f"{name}:{frame.f_lineno}"


def _call(row: Mapping[str, object]) -> Call:
    arguments = row.get("arguments")
    return Call(
        ref=str(row["ref"]),
        agent=_optional(row.get("agent")),
        server=str(row["server"]),
        tool=str(row["tool"]),
        verdict=str(row["verdict"]),
        rule=str(row["rule"]),
        is_error=bool(row["is_error"]) if row["answered"] else None,
        arguments=arguments if isinstance(arguments, Mapping) else {},
    )


def _access(row: Mapping[str, object]) -> Access:
    return Access(
        ref=str(row["ref"]),
        agent=_optional(row.get("agent")),
        server=str(row["server"]),
        tool=_optional(row.get("tool")),
        scope=_optional(row.get("scope")),
        scope_class=_optional(row.get("class")),
        status=str(row["status"]),
        data=row.get("data"),
    )


def _optional(value: object) -> str | None:
    return None if value is None else str(value)
