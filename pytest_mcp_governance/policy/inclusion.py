"""Whether everything that one condition lets pass also passes another: arguments, their limits, and data scopes.

Answers "yes" only where that is proven; what cannot be decided (two regular expressions, two directories that a
symlink may join) is a gap like any other, marked as such. Which rules are compared is `diff`'s affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_mcp_governance.policy.arguments import ArgumentRule
from pytest_mcp_governance.policy.data import DataScope
from pytest_mcp_governance.policy.operators import Limit
from pytest_mcp_governance.policy.places import Address, HostPattern, Paths, parse_host

Scopes = Mapping[str, DataScope]
_OF_STRINGS = frozenset({"regex", "within", "scheme", "host", "no_userinfo", "no_ip"})
_OF_NUMBERS = frozenset({"min", "max"})
_UNDECIDABLE = frozenset({"regex", "within"})


@dataclass(frozen=True, slots=True)
class DataLimit:
    """Which scopes a call may touch, and what the source means by them."""

    names: frozenset[str]
    unresolved_denied: bool
    scopes: Scopes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a call must meet, all of it: lists of arguments that name every one, lists that do not, data limits."""

    closed: tuple[tuple[ArgumentRule, ...], ...] = ()
    open: tuple[tuple[ArgumentRule, ...], ...] = ()
    data: tuple[DataLimit, ...] = ()

    def __and__(self, other: Condition) -> Condition:
        return Condition(self.closed + other.closed, self.open + other.open, self.data + other.data)

    def named(self) -> frozenset[str] | None:
        """The arguments that a call may have; None where any."""
        lists = [frozenset(rule.name for rule in rules) for rules in self.closed]
        return frozenset.intersection(*lists) if lists else None

    def needed(self) -> frozenset[str]:
        """The arguments that a call must have."""
        return frozenset(r.name for rules in (*self.closed, *self.open) for r in rules if not r.optional)

    def limits(self, name: str) -> tuple[Limit, ...]:
        """Everything demanded of one argument."""
        return tuple(li for rules in (*self.closed, *self.open) for r in rules if r.name == name for li in r.limits)


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing that the wider condition lets pass and the narrower does not, or may not (`decided` False)."""

    what: str
    narrow: str
    wide: str
    decided: bool = True


def gaps(inner: Condition, outer: Condition) -> tuple[Gap, ...]:
    """Why not everything that passes `inner` passes `outer`; empty where it is proven that all of it does."""
    found = _argument_gaps(inner, outer)
    for limit in outer.data:
        best = min((_data_gaps(own, limit) for own in inner.data), key=len, default=None)
        found += [Gap("data", _names(limit.names), "any data")] if best is None else best
    return tuple(dict.fromkeys(found))


def _argument_gaps(inner: Condition, outer: Condition) -> list[Gap]:
    found: list[Gap] = []
    named, needed = inner.named(), inner.needed()
    if named is not None and needed - named:
        return []  # an argument that must and must not be given: no call with arguments passes
    for rules in outer.closed:
        allowed = {rule.name for rule in rules}
        if named is None:
            found.append(Gap("arguments", f"only {', '.join(sorted(allowed))}", "any"))
            continue
        found += [Gap(f"args.{name}", "must not be given", "may be given") for name in sorted(named - allowed)]
        found += _unmet(rules, inner, named, needed)
    for rules in outer.open:
        found += _unmet(rules, inner, named, needed)
    return found


def _unmet(
    rules: Sequence[ArgumentRule], inner: Condition, named: frozenset[str] | None, needed: frozenset[str]
) -> list[Gap]:
    found: list[Gap] = []
    for rule in rules:
        what = f"args.{rule.name}"
        if named is not None and rule.name not in named:
            found += [] if rule.optional else [Gap(what, "must be given", "is not given")]
            continue
        if not rule.optional and rule.name not in needed:
            found.append(Gap(what, "must be given", "may be left out"))
        own = inner.limits(rule.name)
        found += [_limit_gap(what, own, limit) for limit in rule.limits if not implied(own, limit)]
    return found


def _limit_gap(what: str, own: Sequence[Limit], limit: Limit) -> Gap:
    same = [other for other in own if other.operator == limit.operator]
    wide = " and ".join(other.demand for other in same) or f"no {limit.operator}"
    return Gap(what, limit.demand, wide, decided=not (same and limit.operator in _UNDECIDABLE))


def implied(own: Sequence[Limit], wanted: Limit) -> bool:
    """Whether every value that passes all of `own` is proven to pass `wanted`."""
    listed = _listed(own)
    if listed is not None and wanted.operator != "within":
        return all(wanted.passes(value, _NO_PATHS) for value in listed)
    if wanted.operator == "type":
        return wanted.value == "any" or wanted.value in _types(own)
    return any(_at_least_as_narrow(limit, wanted) for limit in own)


class _NoFiles:
    """No limit but `within` looks at files, and that one is not asked."""

    def real_path(self, path: str, *, root: str | None = None) -> str:
        raise OSError(f"a comparison of policies resolves no path, {path!r} neither")


_NO_PATHS = Paths(_NoFiles())


def _listed(own: Sequence[Limit]) -> list[object] | None:
    """The only values that can pass, where some limit lists them."""
    lists = [limit for limit in own if limit.operator == "in"]
    if not lists or not isinstance(lists[0].value, (list, tuple)):
        return None
    checked = [limit for limit in own if limit.operator != "within"]
    return [value for value in lists[0].value if all(limit.passes(value, _NO_PATHS) for limit in checked)]


def _types(own: Sequence[Limit]) -> set[object]:
    operators = {limit.operator for limit in own}
    types: set[object] = {limit.value for limit in own if limit.operator == "type"}
    if operators & _OF_STRINGS:
        types.add("string")
    if operators & _OF_NUMBERS or "integer" in types:
        types.add("number")
    return types


def _at_least_as_narrow(limit: Limit, wanted: Limit) -> bool:
    if limit.operator == "host" and wanted.operator == "no_ip":
        return all(not _is_ip(pattern) for pattern in _hosts(limit))
    if limit.operator != wanted.operator:
        return False
    own, other = limit.value, wanted.value
    if isinstance(own, (int, float)) and isinstance(other, (int, float)) and wanted.operator in _OF_NUMBERS:
        return own >= other if wanted.operator == "min" else own <= other
    if wanted.operator == "host":
        return all(any(_covers(wide, narrow) for wide in _hosts(wanted)) for narrow in _hosts(limit))
    if wanted.operator == "scheme":
        return {text.lower() for text in _texts(own)} <= {text.lower() for text in _texts(other)}
    if wanted.operator == "within":
        # By name only: a directory below another may be a symlink that leads out of it.
        return set(_texts(own)) <= set(_texts(other))
    return wanted.operator in ("regex", "no_userinfo", "no_ip") and own == other


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [str(v) for v in value] if isinstance(value, (list, tuple)) else []


def _hosts(limit: Limit) -> list[HostPattern]:
    return [parse_host(text) for text in _texts(limit.value)]


def _covers(wide: HostPattern, narrow: HostPattern) -> bool:
    if narrow.suffix:
        return bool(wide.suffix) and narrow.suffix.endswith(wide.suffix)
    return wide.matches(narrow.text)


def _is_ip(pattern: HostPattern) -> bool:
    return Address("", pattern.text, False).is_ip


def _data_gaps(own: DataLimit, wanted: DataLimit) -> list[Gap]:
    added = own.names - wanted.names
    found = [Gap("data", _names(wanted.names), _names(own.names))] if added else []
    if wanted.unresolved_denied and not own.unresolved_denied:
        found.append(Gap("unresolved", "deny", "report"))
    if own.scopes == wanted.scopes:
        return found
    if wanted.unresolved_denied:
        return [*found, Gap("data scopes", "as they were", "defined otherwise", decided=False)]
    return found + _scope_gaps(own, wanted)


def _scope_gaps(own: DataLimit, wanted: DataLimit) -> list[Gap]:
    """What other definitions may let pass: a permitted scope that covers more, another that covers less."""
    found: list[Gap] = []
    for name in dict.fromkeys((*wanted.scopes, *own.scopes)):
        old, new = wanted.scopes.get(name), own.scopes.get(name)
        was, now = _permitted(old, wanted.names), _permitted(new, own.names)
        if now and not was:
            what = "untrusted, so always in" if new and new.scope_class == "untrusted" else "allowed"
            found.append(Gap(f"data scope {name}", "not allowed" if old else "none", what))
        elif now and old and new and (more := scope_parts(new) - scope_parts(old)):
            found.append(Gap(f"data scope {name}", "without it", f"also {shown_parts(more)}", decided=False))
        elif now and old and new and new.sensitive and not old.sensitive:
            found.append(Gap(f"data scope {name}", f"class {old.scope_class}", f"class {new.scope_class}", False))
        elif old and not was and (less := scope_parts(old) - (scope_parts(new) if new else frozenset())):
            found.append(Gap(f"data scope {name}", f"also {shown_parts(less)}", "without it", decided=False))
    for kind in (("paths",), ("uris", "hosts")):
        if _maps(wanted.scopes, kind) and not _maps(own.scopes, kind):
            found.append(Gap("data scopes", f"some have {' or '.join(kind)}", "none has: such places are not judged"))
    return found


def _permitted(scope: DataScope | None, names: frozenset[str]) -> bool:
    return scope is not None and (scope.name in names or scope.scope_class == "untrusted")


def _maps(scopes: Scopes, kinds: Sequence[str]) -> bool:
    return any(getattr(scope, kind) for scope in scopes.values() for kind in kinds)


def scope_parts(scope: DataScope) -> frozenset[tuple[str, str]]:
    """What a scope covers, as (kind, text as written)."""
    results = {("results", f"{pattern.text} {path.text}") for pattern, paths in scope.results for path in paths}
    plain = (("resources", scope.uris), ("paths", scope.paths), ("hosts", scope.hosts))
    return frozenset(
        {(kind, pattern.text) for kind, patterns in plain for pattern in patterns}
        | results
        | {("detect", name) for name in scope.detect}
    )


def shown_parts(parts: frozenset[tuple[str, str]]) -> str:
    """Some of these parts, in words."""
    texts = [f"{kind} {text}" for kind, text in sorted(parts)]
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _names(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
