"""The operators that limit one argument: what each demands, how it tests, what would have passed.

Built from plain values with `MAKERS`; a value that an operator cannot read does not pass it. Which operators go
together, and what a whole call must look like, is `arguments`' affair.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pytest_mcp_governance.policy.places import (
    Address,
    HostPattern,
    Paths,
    file_path,
    parse_address,
    parse_host,
    scheme_of,
)

MAX_REGEX_SUBJECT = 4096  # longer strings fail `regex`: a policy's pattern must not stall the recorder
NOT_SUPPORTED = frozenset({"format", "from", "sql"})
KNOWN = (
    "type",
    "min",
    "max",
    "in",
    "regex",
    "within",
    "resolve",
    "scheme",
    "host",
    "no_userinfo",
    "no_ip",
    "optional",
)
_SEEN_CHARS = 120
ABSENT = object()

_TYPES: Mapping[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: _is_number(value),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "any": lambda value: True,
}


class OperatorError(ValueError):
    """A limit that cannot be used as written; `operator` says which key is at fault, "" for the whole."""

    def __init__(self, message: str, operator: str = "") -> None:
        super().__init__(message)
        self.operator = operator


@dataclass(frozen=True, slots=True)
class Limit:
    """One operator: its name, what it demands in words, its test, the nearest value that would pass, and its text.

    `value` is the operator's value as the policy writes it.
    """

    operator: str
    demand: str
    passes: Callable[[object, Paths], bool] = field(repr=False, compare=False)
    nearest: Callable[[object], str] = field(repr=False, compare=False)
    value: object = field(default=None, repr=False, compare=False)


def seen_text(value: object) -> str:
    """A value as one short line of JSON."""
    if value is ABSENT:
        return "absent"
    text = json.dumps(value[: 2 * _SEEN_CHARS] if isinstance(value, str) else value, ensure_ascii=False, default=str)
    return text if len(text) <= _SEEN_CHARS else f"{text[:_SEEN_CHARS]}…"


def _is_number(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool)  # finite however long it is; math.isfinite fails on long ones
    return isinstance(value, float) and math.isfinite(value)


def _nothing(value: object) -> str:
    return ""


def _type(wanted: object) -> Limit:
    if not isinstance(wanted, str) or wanted not in _TYPES:
        raise OperatorError(f"{wanted!r} is no type; types are {', '.join(_TYPES)}", "type")
    test = _TYPES[wanted]
    return Limit("type", f"of type {wanted}", lambda value, paths: test(value), _nothing)


def _minimum(bound: object) -> Limit:
    low = _bound(bound, "min")

    def passes(value: object, paths: Paths) -> bool:
        return isinstance(value, (int, float)) and _is_number(value) and value >= low

    return Limit("min", f">= {low}", passes, lambda value: f">= {low}")


def _maximum(bound: object) -> Limit:
    high = _bound(bound, "max")

    def passes(value: object, paths: Paths) -> bool:
        return isinstance(value, (int, float)) and _is_number(value) and value <= high

    return Limit("max", f"<= {high}", passes, lambda value: f"<= {high}")


def _bound(bound: object, operator: str) -> int | float:
    if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not math.isfinite(bound):
        raise OperatorError(f"{operator} needs a number, not {bound!r}", operator)
    return bound


def _one_of(choices: object) -> Limit:
    values = _list(choices, "in")
    if not all(value is None or isinstance(value, (str, int, float)) for value in values):
        raise OperatorError("'in' needs a list of plain values", "in")
    allowed = frozenset((type(value), value) for value in values)  # True is not 1, and 1 is not 1.0
    shown = ", ".join(seen_text(value) for value in values[:6]) + (", …" if len(values) > 6 else "")

    def passes(value: object, paths: Paths) -> bool:
        return (value is None or isinstance(value, (str, int, float))) and (type(value), value) in allowed

    def nearest(value: object) -> str:
        names = [choice for choice in values if isinstance(choice, str)]
        close = difflib.get_close_matches(value, names, n=1) if isinstance(value, str) and len(value) < 200 else []
        return seen_text(close[0]) if close else shown

    return Limit("in", f"one of {shown}", passes, nearest)


def _regex(pattern: object) -> Limit:
    if not isinstance(pattern, str) or not pattern:
        raise OperatorError(f"regex needs a pattern as text, not {pattern!r}", "regex")
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise OperatorError(f"regex cannot be read: {error}", "regex") from error

    def passes(value: object, paths: Paths) -> bool:
        return isinstance(value, str) and len(value) <= MAX_REGEX_SUBJECT and compiled.fullmatch(value) is not None

    return Limit("regex", f"text that /{pattern}/ matches in full", passes, _nothing)


def _within(roots: object) -> Limit:
    names = [roots] if isinstance(roots, str) else _list(roots, "within")
    folders = [name for name in names if isinstance(name, str) and name.strip() and ".." not in name.split("/")]
    if len(folders) != len(names):
        raise OperatorError("within needs a directory, or a list of them, without '..'", "within")
    shown = " or ".join(folders)

    def passes(value: object, paths: Paths) -> bool:
        # A relative path depends on the server's working directory, which nobody vouches for.
        path = file_path(value) if isinstance(value, str) else None
        return path is not None and any(paths.inside(path, folder) for folder in folders)

    return Limit("within", f"an absolute path inside {shown} (symlinks resolved)", passes, lambda value: f"{shown}/…")


def _scheme(schemes: object) -> Limit:
    names = [str(name).lower() for name in _strings(schemes, "scheme")]
    if not all(re.fullmatch(r"[a-z][a-z0-9+.-]*", name) for name in names):
        raise OperatorError("scheme needs names such as https, without a colon", "scheme")
    shown = ", ".join(names)

    def passes(value: object, paths: Paths) -> bool:
        return isinstance(value, str) and scheme_of(value) in names

    return Limit("scheme", f"a URL with scheme {shown}", passes, lambda value: f"{names[0]}://…")


def _host(hosts: object) -> Limit:
    try:
        patterns: list[HostPattern] = [parse_host(name) for name in _strings(hosts, "host")]
    except ValueError as error:
        raise OperatorError(str(error), "host") from error
    shown = ", ".join(pattern.text for pattern in patterns)

    def passes(value: object, paths: Paths) -> bool:
        address = _address(value)
        return address is not None and any(pattern.matches(address.host) for pattern in patterns)

    return Limit("host", f"a URL with host {shown}", passes, lambda value: shown)


def _no_userinfo(wanted: object) -> Limit:
    _true(wanted, "no_userinfo")

    def passes(value: object, paths: Paths) -> bool:
        address = _address(value)
        return address is not None and not address.userinfo

    return Limit("no_userinfo", "a URL without user information", passes, _nothing)


def _no_ip(wanted: object) -> Limit:
    _true(wanted, "no_ip")

    def passes(value: object, paths: Paths) -> bool:
        address = _address(value)
        return address is not None and not address.is_ip

    return Limit("no_ip", "a URL with a host name, not an IP address", passes, _nothing)


def _address(value: object) -> Address | None:
    return parse_address(value) if isinstance(value, str) else None


def _list(value: object, operator: str) -> list[object]:
    if not isinstance(value, (list, tuple)) or not value:
        raise OperatorError(f"{operator} needs a list with at least one entry, not {value!r}", operator)
    return list(value)


def _strings(value: object, operator: str) -> list[str]:
    values = _list(value, operator)
    names = [name for name in values if isinstance(name, str) and name]
    if len(names) != len(values):
        raise OperatorError(f"{operator} needs a list of texts", operator)
    return names


def _true(value: object, operator: str) -> None:
    if value is not True:
        raise OperatorError(f"{operator} can only be true; leave it out otherwise", operator)


MAKERS: Mapping[str, Callable[[object], Limit]] = {
    "type": _type,
    "min": _minimum,
    "max": _maximum,
    "in": _one_of,
    "regex": _regex,
    "within": _within,
    "scheme": _scheme,
    "host": _host,
    "no_userinfo": _no_userinfo,
    "no_ip": _no_ip,
}
