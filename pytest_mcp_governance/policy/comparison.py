"""Compares what two lists of sources permit, for every class of names and agents: what is wider, narrower or undecided.

Rules and waivers only; modes, labels and what servers ask are in `diff`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from pytest_mcp_governance.policy.changes import Change, Direction
from pytest_mcp_governance.policy.inclusion import Gap, gaps
from pytest_mcp_governance.policy.model import Policy, Rule
from pytest_mcp_governance.policy.permissions import (
    ANY_AGENT,
    MAX_COMBINATIONS,
    Alternative,
    Denied,
    Permitted,
    Slot,
    Sources,
    TooManyCombinationsError,
    agent_slots,
    condition,
    prompt_slots,
    resource_slots,
    tool_slots,
)

_UNDECIDED = "cannot be decided, so it counts as wider"


@dataclass(frozen=True, slots=True)
class _Partial:
    """A change without its agent and tool."""

    direction: Direction
    before: str
    after: str
    detail: str = ""
    waiver: str | None = None


@dataclass(frozen=True, slots=True)
class _Miss:
    """An alternative that is not within any of another source, and why not within the one that is nearest."""

    inner: Alternative
    outer: Alternative
    gaps: tuple[Gap, ...]


_KINDS: tuple[tuple[str, Callable[[Sequence[Rule]], tuple[Slot, ...] | None]], ...] = (
    ("tools", tool_slots),
    ("resources", resource_slots),
    ("prompts", prompt_slots),
)


class Comparison:
    def __init__(self, before: Sources, after: Sources) -> None:
        self._before, self._after = before, after
        self._gaps: dict[tuple[Alternative, Alternative], tuple[Gap, ...]] = {}
        self._known: dict[int, tuple[_Partial, ...]] = {}
        rules = [*before.rules, *after.rules]
        self._agents = agent_slots(rules)
        self._slots = {kind: slots_of(rules) if self._agents is not None else None for kind, slots_of in _KINDS}

    @property
    def complete(self) -> bool:
        """Whether all classes of names could be told apart."""
        return all(slots is not None for slots in self._slots.values())

    def changes(self) -> Iterator[Change]:
        """What changes, kind by kind."""
        for kind, slots in self._slots.items():
            if self._agents is None or slots is None:
                yield from self._too_many(kind)
                continue
            for slot in slots:
                yield from self._of_slot(slot, self._agents)

    def _of_slot(self, slot: Slot, agents: Sequence[Slot]) -> Iterator[Change]:
        found: dict[_Partial, dict[int, str]] = {}
        for n, agent in enumerate(agents):
            for partial in self._compare(slot.rules & agent.rules):
                found.setdefault(partial, {})[n] = agent.label
        for partial, concerned in found.items():
            labels = [ANY_AGENT] if len(concerned) == len(agents) else dict.fromkeys(concerned.values())
            for label in labels:
                yield Change(
                    partial.direction, label, slot.label, partial.before, partial.after, partial.detail, partial.waiver
                )

    def _compare(self, rules: int) -> tuple[_Partial, ...]:
        if rules not in self._known:
            try:
                self._known[rules] = tuple(self._partials(rules))
            except TooManyCombinationsError:
                detail = f"too many waivers meet here; {_UNDECIDED}"
                self._known[rules] = (_Partial("changed", "", "", detail),)
        return self._known[rules]

    def _partials(self, rules: int) -> Iterator[_Partial]:
        own, now = self._before.permitted(rules, "own"), self._after.permitted(rules, "own")
        if isinstance(now, Denied):
            if not isinstance(own, Denied):
                yield _Partial("narrower", _summary(own), _summary(now))
            return
        more = None if isinstance(own, Denied) else self._missing(now, own)
        if more is None or more:
            yield self._wider(rules, own, now)
        less = [] if isinstance(own, Denied) else self._missing(own, now)
        if less and (not more or any(gap.decided for miss in less for gap in miss.gaps)):
            narrow, wide = _sides(less)
            yield _Partial("narrower", wide, narrow)

    def _wider(self, rules: int, own: Permitted | Denied, now: Permitted) -> _Partial:
        """A widening, and whether waivers from before or from the floor allow as much for a time."""
        granted = self._before.permitted(rules, "all")
        beyond = None if isinstance(granted, Denied) else self._missing(now, granted, lasting=False)
        if beyond is None or isinstance(granted, Denied):
            return _Partial("wider", _summary(own), _summary(now))
        if not beyond:
            return self._waived(rules, granted, now)
        if isinstance(own, Denied):
            return _Partial("wider", _summary(own), _summary(now))
        decided = any(gap.decided for miss in beyond for gap in miss.gaps)
        narrow, wide = _sides(beyond)
        return _Partial("wider" if decided else "changed", narrow, wide, "" if decided else _UNDECIDED)

    def _waived(self, rules: int, granted: Permitted, now: Permitted) -> _Partial:
        ways = [way for source in granted for way in source if way.waivers]
        inner = [way for source in now for way in source]
        used = [way for way in ways if any(not self._of(own, way, lasting=False) for own in inner)] or ways
        waiver = ", ".join(dict.fromkeys(name for way in used for name in way.waivers)) or None
        plain, now_plain = self._before.permitted(rules, "none"), self._after.permitted(rules, "none")
        detail = "as far as the waiver allows it"
        if not isinstance(plain, Denied) and not isinstance(now_plain, Denied):
            missing = self._missing(now_plain, plain)
            if missing:
                return _Partial("wider", *_sides(missing), detail, waiver)
        return _Partial("wider", _summary(plain), _summary(now), detail, waiver)

    def _missing(self, inner: Permitted, outer: Permitted, *, lasting: bool = True) -> list[_Miss]:
        """Why `inner` is not proven to lie within every source of `outer`; empty where it is.

        Args:
            lasting: whether what holds for good is wider than what a waiver allows for a time.
        """
        found: list[_Miss] = []
        for wanted in outer:
            misses = [self._outside(source, wanted, lasting) for source in inner]
            if all(misses) and not self._together(inner, wanted, lasting):
                found += sorted(misses, key=len)[0]
        return found

    def _outside(self, inner: Sequence[Alternative], outer: Sequence[Alternative], lasting: bool) -> list[_Miss]:
        return [
            _Miss(own, *self._nearest(own, outer, lasting))
            for own in inner
            if not any(not self._of(own, other, lasting) for other in outer)
        ]

    def _nearest(
        self, inner: Alternative, outer: Sequence[Alternative], lasting: bool
    ) -> tuple[Alternative, tuple[Gap, ...]]:
        nearest = min(
            outer,
            key=lambda other: (
                other.rule != inner.rule, len(self._of(inner, other, lasting)), other.waivers != inner.waivers
            ),
        )  # fmt: skip
        return nearest, self._of(inner, nearest, lasting)

    def _of(self, inner: Alternative, outer: Alternative, lasting: bool) -> tuple[Gap, ...]:
        if (inner, outer) not in self._gaps:
            self._gaps[inner, outer] = gaps(inner.condition, outer.condition)
        return self._gaps[inner, outer] + _outlasting(inner, outer, lasting)

    def _together(self, inner: Permitted, outer: Sequence[Alternative], lasting: bool) -> bool:
        """Whether the sources together stay within, though none does alone: a call passes one rule of each."""
        if len(inner) < 2 or prod(map(len, inner)) > MAX_COMBINATIONS:
            return False
        joined = (self._after.together(parts) for parts in product(*inner))
        return all(any(not self._of(own, other, lasting) for other in outer) for own in joined)

    def _too_many(self, kind: str) -> Iterator[Change]:
        """Patterns that overlap in too many ways to go through: compare the rules as they are written."""
        before, after = self._before.policies, self._after.policies
        if not _written_within(after, before):
            yield Change(
                "changed", ANY_AGENT, f"all {kind}", "", "",
                f"too many patterns overlap to compare what they cover; {_UNDECIDED}",
            )  # fmt: skip


def _outlasting(inner: Alternative, outer: Alternative, lasting: bool) -> tuple[Gap, ...]:
    """The gap where one holds longer than the other."""
    if outer.until is None or (inner.until is None and not lasting):
        return ()
    if inner.until is not None and inner.until <= outer.until:
        return ()
    ids = " and ".join(dict.fromkeys((*outer.waivers, *inner.waivers)))
    shown = "for good" if inner.until is None else f"until {inner.until.isoformat()}"
    return (Gap(f"waiver {ids}", f"until {outer.until.isoformat()}", shown),)


def _written_within(inner: Sequence[Policy], outer: Sequence[Policy]) -> bool:
    if any(policy.waivers and policy.text not in {other.text for other in outer} for policy in inner):
        return False
    if all(policy.constraint for policy in outer) and not all(policy.constraint for policy in inner):
        return False
    return all(any(_policy_within(own, wanted) for own in inner) for wanted in outer)


def _policy_within(own: Policy, wanted: Policy) -> bool:
    denying = [rule for rule in own.rules if rule.denies]
    if not all(any(_names_within(rule, kept) for kept in denying) for rule in wanted.rules if rule.denies):
        return False
    if wanted.constraint:
        return True
    return not own.constraint and all(
        any(
            _names_within(rule, other) and not gaps(condition(rule, own), condition(other, wanted))
            for other in wanted.rules
            if not other.denies
        )
        for rule in own.rules
        if not rule.denies
    )


def _names_within(inner: Rule, outer: Rule) -> bool:
    everyone = outer.to is None or (inner.to is not None and set(inner.to) <= set(outer.to))
    pairs = ((inner.tools, outer.tools), (inner.resources, outer.resources), (inner.prompts, outer.prompts))
    return everyone and all(set(own) <= set(other) for own, other in pairs)


def _sides(misses: Sequence[_Miss]) -> tuple[str, str]:
    """What the narrower side demands and what the wider one does."""
    narrow = dict.fromkeys(f"{_named(m.outer)}: {'; '.join(f'{g.what} {g.narrow}' for g in m.gaps)}" for m in misses)
    wide = dict.fromkeys(f"{_named(m.inner)}: {'; '.join(f'{g.what} {g.wide}' for g in m.gaps)}" for m in misses)
    return " / ".join(narrow), " / ".join(wide)


def _named(alternative: Alternative) -> str:
    return " with waiver ".join((alternative.rule, *alternative.waivers[:1]))


def _summary(side: Permitted | Denied) -> str:
    if isinstance(side, Denied):
        return side.reason
    ways = [" or ".join(_way(alternative) for alternative in source) for source in side]
    return "allowed by " + " and ".join(ways)


def _way(alternative: Alternative) -> str:
    condition = alternative.condition
    parts = [
        f"{rule.name} {' and '.join(limit.demand for limit in rule.limits) or 'any'}"
        for rules in (*condition.closed, *condition.open)
        for rule in rules
    ]
    parts += [f"data {', '.join(sorted(limit.names))}" for limit in condition.data]
    if alternative.until is not None:
        parts.append(f"waiver {' and '.join(alternative.waivers)} until {alternative.until.isoformat()}")
    return f"{alternative.rule} ({'; '.join(parts)})" if parts else alternative.rule
