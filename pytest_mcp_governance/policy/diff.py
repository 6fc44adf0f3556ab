"""What changes between two lists of policy sources: for each agent and tool, what is wider and what is narrower.

Sources are AND-ed, so the lists are compared as wholes. "Not wider" is only ever said where it is proven for every
name there is and every argument; what cannot be decided counts as wider and says so. Messages that cannot be judged
at all (rule ERROR) are left out, and so is what only people read: owners, review dates, controls, rule ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Literal

from pytest_mcp_governance.policy.inclusion import Gap, gaps, scope_parts, shown_parts
from pytest_mcp_governance.policy.model import Policy, Rule
from pytest_mcp_governance.policy.permissions import (
    ANY_AGENT,
    Alternative,
    Denied,
    Permitted,
    Slot,
    Sources,
    agent_slots,
    condition,
    prompt_slots,
    resource_slots,
    tool_slots,
)

Direction = Literal["wider", "changed", "narrower"]
EVERY_CALL = "every call"
MAX_COMBINATIONS = 64
_ORDER: tuple[Direction, ...] = ("wider", "changed", "narrower")
_UNDECIDED = "cannot be decided, so it counts as wider"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changes for an agent and a tool.

    Attributes:
        direction: "changed" is what cannot be decided, such as two regular expressions; it counts as wider.
        agent: an agent, a pattern of agents, "any agent" or "any other agent".
        tool: `server.tool` or a pattern, for the names under it that no other line names; or "resource …",
            "prompt …", "data scope …", "every call", or what a server asks of the agent's side.
        before, after: what was and is permitted, as far as it differs.
        detail: more about it, a phrase.
        waiver: id of the waiver that covers this widening; None where none does.
    """

    direction: Direction
    agent: str
    tool: str
    before: str
    after: str
    detail: str = ""
    waiver: str | None = None

    @property
    def widens(self) -> bool:
        """Whether it is, or may be, wider than before, and no waiver covers it."""
        return self.direction != "narrower" and self.waiver is None


@dataclass(frozen=True, slots=True)
class PolicyDiff:
    """All changes, what is wider first."""

    changes: tuple[Change, ...]

    @property
    def widens(self) -> bool:
        """Whether anything is, or may be, wider than before without a waiver."""
        return any(change.widens for change in self.changes)

    def markdown(self) -> str:
        """The changes for a pull request; everything that comes from a policy is escaped."""
        from pytest_mcp_governance.policy.diff_markdown import as_markdown

        return as_markdown(self)


def diff(before: Sequence[Policy], after: Sequence[Policy]) -> PolicyDiff:
    """Compare two lists of sources, each AND-ed.

    Args:
        before, after: the sources; none at all means that nothing is judged and everything goes.

    Returns:
        The changes; none where what is permitted is the same. Rules are compared whatever the mode is, so that a
        policy that only observes is compared too.
    """
    if not before or not after:
        return PolicyDiff(_without_policy(before, after))
    first, second = Sources(before, 0), Sources(after, sum(len(policy.rules) for policy in before))
    changes = [*_mode(before, after), *_Comparison(first, second).changes(), *_asked(before, after)]
    changes += [*_labels(before, after, "wider"), *_labels(after, before, "narrower")]
    rank = {direction: n for n, direction in enumerate(_ORDER)}
    changes.sort(key=lambda change: (change.waiver is not None, rank[change.direction]))
    return PolicyDiff(tuple(dict.fromkeys(changes)))


def _without_policy(before: Sequence[Policy], after: Sequence[Policy]) -> tuple[Change, ...]:
    nothing = "no policy: nothing is judged or blocked"
    if before:
        return (Change("wider", ANY_AGENT, EVERY_CALL, _called(before), nothing),)
    if after:
        detail = "a first policy permits less than none, whatever it says: read all of it"
        return (Change("narrower", ANY_AGENT, EVERY_CALL, nothing, _called(after), detail),)
    return ()


def _called(policies: Sequence[Policy]) -> str:
    return "policy " + " and ".join(policy.id for policy in policies)


def _mode(before: Sequence[Policy], after: Sequence[Policy]) -> Iterator[Change]:
    blocks = {True: "mode enforce: what is not allowed is blocked", False: "mode observe: nothing is blocked"}
    was, now = (any(policy.mode == "enforce" for policy in policies) for policies in (before, after))
    if was != now:
        yield Change("wider" if was else "narrower", ANY_AGENT, EVERY_CALL, blocks[was], blocks[now])


@dataclass(frozen=True, slots=True)
class _Partial:
    """A change without its agent and tool."""

    direction: Direction
    before: str
    after: str
    detail: str = ""


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


class _Comparison:
    def __init__(self, before: Sources, after: Sources) -> None:
        self._before, self._after = before, after
        self._rules = [*before.rules, *after.rules]
        self._gaps: dict[tuple[Alternative, Alternative], tuple[Gap, ...]] = {}
        self._known: dict[int, tuple[_Partial, ...]] = {}

    def changes(self) -> Iterator[Change]:
        agents = agent_slots(self._rules)
        for kind, slots_of in _KINDS:
            slots = slots_of(self._rules) if agents is not None else None
            if agents is None or slots is None:
                yield from self._too_many(kind)
                continue
            for slot in slots:
                yield from self._of_slot(slot, agents)

    def _of_slot(self, slot: Slot, agents: Sequence[Slot]) -> Iterator[Change]:
        found: dict[_Partial, dict[int, str]] = {}
        for n, agent in enumerate(agents):
            for partial in self._compare(slot.rules & agent.rules):
                found.setdefault(partial, {})[n] = agent.label
        for partial, concerned in found.items():
            labels = [ANY_AGENT] if len(concerned) == len(agents) else dict.fromkeys(concerned.values())
            for label in labels:
                yield Change(partial.direction, label, slot.label, partial.before, partial.after, partial.detail)

    def _compare(self, rules: int) -> tuple[_Partial, ...]:
        if rules not in self._known:
            was, now = self._before.permitted(rules), self._after.permitted(rules)
            self._known[rules] = tuple(self._partials(was, now))
        return self._known[rules]

    def _partials(self, was: Permitted | Denied, now: Permitted | Denied) -> Iterator[_Partial]:
        if isinstance(was, Denied) or isinstance(now, Denied):
            if not isinstance(now, Denied):
                yield _Partial("wider", _summary(was), _summary(now))
            elif not isinstance(was, Denied):
                yield _Partial("narrower", _summary(was), _summary(now))
            return
        more, less = self._missing(now, was), self._missing(was, now)
        decided = any(gap.decided for miss in more for gap in miss.gaps)
        if more:
            narrow, wide = _sides(more)
            yield _Partial("wider" if decided else "changed", narrow, wide, "" if decided else _UNDECIDED)
        if less and (not more or any(gap.decided for miss in less for gap in miss.gaps)):
            narrow, wide = _sides(less)
            yield _Partial("narrower", wide, narrow)

    def _missing(self, inner: Permitted, outer: Permitted) -> list[_Miss]:
        """Why `inner` is not proven to lie within every source of `outer`; empty where it is."""
        found: list[_Miss] = []
        for wanted in outer:
            misses = [self._outside(source, wanted) for source in inner]
            if all(misses) and not self._together(inner, wanted):
                found += sorted(misses, key=len)[0]
        return found

    def _outside(self, inner: Sequence[Alternative], outer: Sequence[Alternative]) -> list[_Miss]:
        return [_Miss(a, *self._nearest(a, outer)) for a in inner if not any(not self._of(a, b) for b in outer)]

    def _nearest(self, inner: Alternative, outer: Sequence[Alternative]) -> tuple[Alternative, tuple[Gap, ...]]:
        nearest = min(outer, key=lambda other: (other.rule != inner.rule, len(self._of(inner, other))))
        return nearest, self._of(inner, nearest)

    def _of(self, inner: Alternative, outer: Alternative) -> tuple[Gap, ...]:
        if (inner, outer) not in self._gaps:
            self._gaps[inner, outer] = gaps(inner.condition, outer.condition)
        return self._gaps[inner, outer]

    def _together(self, inner: Permitted, outer: Sequence[Alternative]) -> bool:
        """Whether the sources together stay within, though none does alone: a call passes one rule of each."""
        if len(inner) < 2 or prod(map(len, inner)) > MAX_COMBINATIONS:
            return False
        for rules in product(*inner):
            joint = rules[0].condition
            for rule in rules[1:]:
                joint = joint & rule.condition
            if not any(not gaps(joint, other.condition) for other in outer):
                return False
        return True

    def _too_many(self, kind: str) -> Iterator[Change]:
        """Patterns that overlap in too many ways to go through: compare the rules as they are written."""
        before, after = self._before.policies, self._after.policies
        if not _written_within(after, before):
            yield Change(
                "changed", ANY_AGENT, f"all {kind}", "", "",
                f"too many patterns overlap to compare what they cover; {_UNDECIDED}",
            )  # fmt: skip


def _written_within(inner: Sequence[Policy], outer: Sequence[Policy]) -> bool:
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
    narrow = dict.fromkeys(f"{m.outer.rule}: {'; '.join(f'{g.what} {g.narrow}' for g in m.gaps)}" for m in misses)
    wide = dict.fromkeys(f"{m.inner.rule}: {'; '.join(f'{g.what} {g.wide}' for g in m.gaps)}" for m in misses)
    return " / ".join(narrow), " / ".join(wide)


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
    return f"{alternative.rule} ({'; '.join(parts)})" if parts else alternative.rule


def _asked(before: Sequence[Policy], after: Sequence[Policy]) -> Iterator[Change]:
    """What servers may ask of the agent's side."""
    words = {True: "allowed", False: "denied"}
    for name in ("sampling", "elicitation", "roots"):
        was, now = _may_ask(before, name), _may_ask(after, name)
        if was != now:
            yield Change("wider" if now else "narrower", ANY_AGENT, f"what servers ask: {name}", words[was], words[now])
    if _may_ask(before, "roots") and _may_ask(after, "roots"):
        yield from _root_limits(before, after)


def _may_ask(policies: Sequence[Policy], name: str) -> bool:
    answers = []
    for policy in policies:
        said = getattr(policy.protocol, name)
        if said is None and policy.constraint:
            continue
        answers.append(bool(said))
    return bool(answers) and all(answers)


def _root_limits(before: Sequence[Policy], after: Sequence[Policy]) -> Iterator[Change]:
    was, now = ([p.protocol.roots for p in policies if p.protocol.roots] for policies in (before, after))
    shown = [" and in ".join(", ".join(roots) for roots in side) for side in (was, now)]
    if not all(any(_roots_within(own, wanted) for own in now) for wanted in was):
        yield Change("wider", ANY_AGENT, "what servers ask: roots", f"in {shown[0]}", f"in {shown[1]}")
    elif not all(any(_roots_within(own, wanted) for own in was) for wanted in now):
        yield Change("narrower", ANY_AGENT, "what servers ask: roots", f"in {shown[0]}", f"in {shown[1]}")


def _roots_within(own: Sequence[str], wanted: Sequence[str]) -> bool:
    # A directory below another may be a symlink that leads out of it, so file roots are within themselves only.
    return all(
        any(
            root == other or (not root.lower().startswith("file:") and root.startswith(other.rstrip("/") + "/"))
            for other in wanted
        )
        for root in own
    )


def _labels(before: Sequence[Policy], after: Sequence[Policy], direction: Direction) -> Iterator[Change]:
    """What is no longer labelled secret or personal, and so no longer masked and withheld."""
    kept: dict[str, frozenset[tuple[str, str]]] = {}
    for scope in (scope for policy in after for scope in policy.data.values() if scope.sensitive):
        kept[scope.name] = kept.get(scope.name, frozenset()) | scope_parts(scope)
    labelled = {(s.name, s.scope_class): s for policy in before for s in policy.data.values() if s.sensitive}
    everything = frozenset(part for parts in kept.values() for part in parts)
    for scope in labelled.values():
        lost = scope_parts(scope) - everything
        if lost:
            on, off = f"{scope.scope_class}: masked and withheld", "not labelled"
            sides = (on, off) if direction == "wider" else (off, on)
            yield Change(direction, ANY_AGENT, f"data scope {scope.name}", *sides, shown_parts(lost))
