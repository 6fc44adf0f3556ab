"""Limits on a call's arguments: each one named, typed and within its operators, none beyond those named.

`make_argument_rule` builds them from plain values, for the YAML loader and the inline assertions alike;
`first_failure` applies a rule's limits to a call. No coercion: the string "5000" is no number.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_mcp_governance.policy.operators import ABSENT, KNOWN, MAKERS, NOT_SUPPORTED, Limit, OperatorError
from pytest_mcp_governance.policy.places import Paths


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call's arguments do not pass.

    `clause`, `limit` and `nearest` hold policy text only; `argument`, `seen` and `sent` (of a missing argument, the
    names of the others) may hold the call's, unmasked.
    """

    clause: str
    argument: str
    seen: object = field(repr=False)
    limit: str
    nearest: str = ""
    sent: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ArgumentRule:
    """All limits on one argument."""

    name: str
    optional: bool
    limits: tuple[Limit, ...]

    def failure(self, value: object, paths: Paths) -> Failure | None:
        """The first limit that `value` does not pass."""
        for limit in self.limits:
            if not limit.passes(value, paths):
                clause = f"args.{self.name}.{limit.operator}"
                return Failure(clause, self.name, value, f"must be {limit.demand}", limit.nearest(value))
        return None


def first_failure(
    rules: Sequence[ArgumentRule], arguments: Mapping[str, object], paths: Paths, *, closed: bool = True
) -> Failure | None:
    """Why these arguments do not pass, or None.

    Args:
        closed: an argument that no rule names fails; the file's `args` are closed, an inline `all` is not.
    """
    for rule in rules:
        if rule.name in arguments:
            failed = rule.failure(arguments[rule.name], paths)
            if failed:
                return failed
        elif not rule.optional:
            sent = tuple(str(name) for name in arguments)
            return Failure(f"args.{rule.name}.missing", rule.name, ABSENT, "must be given", sent=sent)
    named = {rule.name for rule in rules}
    for name, value in arguments.items():
        if closed and name not in named:
            allowed = ", ".join(sorted(named)) or "none"
            return Failure("args.unnamed", name, value, "must not be given: the rule does not name it", allowed)
    return None


def make_argument_rule(name: str, operators: Mapping[str, object]) -> ArgumentRule:
    """Build the limits of one argument from plain values.

    Raises:
        OperatorError: unknown or unsupported operator, a value of the wrong type, operators that no value can
            pass together, or nothing said at all.
    """
    if not operators:
        raise OperatorError("says nothing; for any value at all write {type: any}")
    for operator in operators:
        _known(operator)
    if "resolve" in operators and (operators["resolve"] != "symlinks" or "within" not in operators):
        raise OperatorError(
            "goes with 'within' and has the one value 'symlinks', which is also what happens", "resolve"
        )
    optional = operators.get("optional", False)
    if not isinstance(optional, bool):
        raise OperatorError(f"optional needs true or false, not {optional!r}", "optional")
    limits = tuple(
        replace(MAKERS[operator](operators[operator]), value=operators[operator])
        for operator in KNOWN
        if operator in operators and operator in MAKERS
    )
    _no_contradiction(operators)
    return ArgumentRule(name, optional, limits)


def _known(operator: object) -> None:
    if operator in NOT_SUPPORTED:
        raise OperatorError(f"{operator!r} is not supported in this version", str(operator))
    if operator not in KNOWN:
        close = difflib.get_close_matches(str(operator), KNOWN, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(KNOWN)}"
        raise OperatorError(f"{operator!r} is no operator{meant}", str(operator))


def _no_contradiction(operators: Mapping[str, object]) -> None:
    kind = operators.get("type", "any")
    wanted = {
        "number": [name for name in ("min", "max") if name in operators],
        "string": [name for name in ("regex", "within", "scheme", "host", "no_userinfo", "no_ip") if name in operators],
    }
    for needed, names in wanted.items():
        fitting = {"any", needed} | ({"integer"} if needed == "number" else set())
        if names and kind not in fitting:
            raise OperatorError(f"{names[0]!r} needs a {needed}, but type is {kind}", names[0])
    if wanted["number"] and wanted["string"]:
        raise OperatorError(
            f"{wanted['number'][0]!r} and {wanted['string'][0]!r} exclude each other", wanted["string"][0]
        )
    low, high = operators.get("min"), operators.get("max")
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low > high:
        raise OperatorError(f"min {low} is above max {high}: no value passes", "min")
