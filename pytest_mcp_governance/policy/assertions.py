"""Inline assertions: `only`, `never` and `named(…).all(…)` as plain, JSON-able requirements, and their judging.

A requirement stands for the whole test: it is judged where it is written and again when the test concludes.
Which calls there were, and what a failure costs, is `standing`'s affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.policy.arguments import ArgumentRule, Failure, first_failure, make_argument_rule
from pytest_mcp_governance.policy.matching import ToolPattern, parse_tool_pattern
from pytest_mcp_governance.policy.operators import OperatorError
from pytest_mcp_governance.policy.places import Paths


def only(*patterns: str, source: str) -> dict[str, object]:
    """Every tool call matches one of these patterns.

    Args:
        patterns: `server.tool` patterns, at least one.
        source: where the assertion stands, "test_file.py:12"; the rule id of its findings.

    Raises:
        PolicyError: no pattern, or one that cannot be read.
    """
    return _checked({"id": source, "only": list(patterns)})


def never(*patterns: str, source: str) -> dict[str, object]:
    """No tool call matches any of these patterns. Arguments and errors as for `only`."""
    return _checked({"id": source, "never": list(patterns)})


def all_args(pattern: str, args: Mapping[str, Mapping[str, object]], *, source: str) -> dict[str, object]:
    """Every call that matches `pattern` has these arguments within these limits; others are free.

    Raises:
        PolicyError: a pattern or an operator that cannot be read, or no argument at all.
    """
    return _checked({"id": source, "named": pattern, "all": {name: dict(ops) for name, ops in args.items()}})


@dataclass(frozen=True, slots=True)
class Requirement:
    """A parsed requirement."""

    id: str
    kind: Literal["only", "never", "all"]
    patterns: tuple[ToolPattern, ...]
    args: tuple[ArgumentRule, ...] = field(default=())

    def matches(self, server: str, tool: str) -> bool:
        """Whether one of the patterns covers the call."""
        return any(pattern.matches(server, tool) for pattern in self.patterns)

    def broken_by(self, server: str, tool: str, arguments: Mapping[str, object], paths: Paths) -> Failure | str | None:
        """Why a call breaks the requirement: an argument's failure, a sentence, or None."""
        matched = self.matches(server, tool)
        shown = ", ".join(pattern.text for pattern in self.patterns)
        if self.kind == "only":
            return None if matched else f"only {shown} may be called"
        if self.kind == "never":
            return f"{shown} may never be called" if matched else None
        return first_failure(self.args, arguments, paths, closed=False) if matched else None


def parse_requirement(raw: Mapping[str, object]) -> Requirement:
    """Read a requirement.

    Raises:
        PolicyError: not one of the three forms, or a part that cannot be read.
    """
    where = raw.get("id")
    source = where if isinstance(where, str) and where else "inline assertion"
    form = set(raw) - {"id"}
    try:
        if form == {"only"}:
            return Requirement(source, "only", _patterns("only", raw["only"]))
        if form == {"never"}:
            return Requirement(source, "never", _patterns("never", raw["never"]))
        if form == {"named", "all"}:
            return Requirement(source, "all", _patterns("named", [raw["named"]]), _arguments(raw["all"]))
    except ValueError as error:
        raise PolicyError(f"{error}", file=source) from error
    raise PolicyError(
        f"a requirement has 'only', 'never', or 'named' and 'all', not {', '.join(sorted(form)) or 'nothing'}",
        file=source,
    )


def _checked(raw: dict[str, object]) -> dict[str, object]:
    parse_requirement(raw)
    return raw


def _patterns(form: str, value: object) -> tuple[ToolPattern, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        # A claim about nothing is no claim.
        raise ValueError(f'{form}() needs at least one server.tool pattern, such as "books.get_*"')
    if not all(isinstance(pattern, str) for pattern in value):
        raise ValueError(f'{form}() takes patterns as texts, such as "books.get_*"')
    return tuple(parse_tool_pattern(pattern) for pattern in value)


def _arguments(value: object) -> tuple[ArgumentRule, ...]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError("'all' needs at least one argument with its limits")
    rules = []
    for name, operators in value.items():
        if not isinstance(operators, Mapping):
            raise ValueError(f'argument {name!r} needs limits such as {{"max": 100}}')
        try:
            rules.append(make_argument_rule(str(name), operators))
        except OperatorError as error:
            raise ValueError(f"argument {name!r}: {error}") from error
    return tuple(rules)
