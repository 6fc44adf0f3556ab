"""What a list of sources permits, name class by name class: the ground on which two lists are compared.

A slot is a class of names (of tools, resources, prompts or agents) that no pattern tells apart. For each slot and
agent the rules that speak are known exactly. Comparing what they permit is `diff`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from math import prod
from typing import Literal

from pytest_mcp_governance.policy.classes import NameClass, name_classes
from pytest_mcp_governance.policy.inclusion import Condition, DataLimit
from pytest_mcp_governance.policy.matching import Glob, ToolPattern
from pytest_mcp_governance.policy.model import Policy, Rule, Waiver

ANY_AGENT = "any agent"
MAX_COMBINATIONS = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """A class of names as people call it, and which rules speak about it: bit i of `rules` is rule i."""

    label: str
    rules: int


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """One way to be permitted: under which rule, condition and waivers, and until when. Compared by identity."""

    rule: str
    condition: Condition
    waivers: tuple[str, ...] = ()
    until: date | None = None

    def __and__(self, other: Alternative) -> Alternative:
        ends = [alternative.until for alternative in (self, other) if alternative.until is not None]
        return Alternative(
            self.rule, self.condition & other.condition, (*self.waivers, *other.waivers), min(ends, default=None)
        )


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a slot is denied."""

    reason: str


Permitted = tuple[tuple[Alternative, ...], ...]  # of each source that speaks, its alternatives


class TooManyCombinationsError(ValueError):
    """More waivers on deny rules that concern one tool than can be gone through."""


@dataclass(frozen=True, slots=True)
class _Source:
    policy: Policy
    rules: tuple[tuple[int, Rule, Alternative], ...]
    waivers: tuple[tuple[int, bool, Alternative], ...]  # bit, whether the source's own, what it lets pass


class Sources:
    """A list of sources; its rules and waivers have the numbers from `first` on.

    Args:
        policies: the sources, AND-ed.
        first: the number of the first rule.
        today: the day by which waivers hold; None: all of them are taken as holding until they expire.
        granted: waivers from elsewhere, taken to be for the rules of the same id in any of these sources.
        joined: whether deny rules for the same agents count as one, so that fewer classes have to be told apart.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        first: int,
        today: date | None,
        granted: Sequence[Waiver] = (),
        *,
        joined: bool = False,
    ) -> None:
        self._joins_denies = joined
        self.policies = tuple(policies)
        self.rules: list[Rule] = []
        self._joined: dict[tuple[Alternative, ...], Alternative] = {}
        self._sources = tuple(self._source(policy, first, today, granted) for policy in policies)

    def _source(self, policy: Policy, first: int, today: date | None, granted: Sequence[Waiver]) -> _Source:
        numbered: list[tuple[int, Rule, Alternative]] = []
        named = {waiver.rule for waiver in (*policy.waivers, *granted)}
        for rule in _with_joined_denies(policy.rules, named) if self._joins_denies else policy.rules:
            numbered.append((1 << first + len(self.rules), rule, Alternative(rule.id, condition(rule, policy))))
            self.rules.append(rule)
        by_id = {rule.id: rule for rule in policy.rules}
        waivers: list[tuple[int, bool, Alternative]] = []
        for own, waiver in (*((True, w) for w in policy.waivers), *((False, w) for w in granted)):
            waived = by_id.get(waiver.rule)
            if waived is None or (today is not None and not waiver.active(today)):
                continue
            lets_pass = _waived_condition(waived, waiver, policy)
            alternative = Alternative(waived.id, lets_pass, (waiver.id,), waiver.expires)
            waivers.append((1 << first + len(self.rules), own, alternative))
            self.rules.append(_scope_of(waiver, waived))
        return _Source(policy, tuple(numbered), tuple(waivers))

    def permitted(self, rules: int, waivers: Literal["all", "own", "none"]) -> Permitted | Denied:
        """What these rules permit together: every source must allow.

        Args:
            rules: those that speak.
            waivers: which waivers count: also granted ones, the sources' own, or none.

        Raises:
            TooManyCombinationsError: too many ways to be permitted.
        """
        lists: list[tuple[Alternative, ...]] = []
        allowing = False
        for source in self._sources:
            lifting: dict[str, list[Alternative]] = {}
            for bit, own, alternative in source.waivers if waivers != "none" else ():
                if bit & rules and (own or waivers == "all"):
                    lifting.setdefault(alternative.rule, []).append(alternative)
            speaking = [(rule, alternative) for bit, rule, alternative in source.rules if bit & rules]
            denying = [rule for rule, _ in speaking if rule.denies]
            kept = next((rule for rule in denying if rule.id not in lifting), None)
            if kept:
                return Denied(f"denied by {kept.id}")
            ways = [lifting[rule.id] for rule in denying]
            if not source.policy.constraint:
                allowing = True
                allows = [(rule, alternative) for rule, alternative in speaking if not rule.denies]
                ways.insert(0, [way for rule, plain in allows for way in (plain, *lifting.get(rule.id, ()))])
            if ways:
                lists.append(self._all_of(ways))
        if not all(lists):
            return Denied("denied: no rule allows it")
        return tuple(lists) if allowing else Denied("denied: constraints alone allow nothing")

    def _all_of(self, ways: Sequence[Sequence[Alternative]]) -> tuple[Alternative, ...]:
        if len(ways) == 1:
            return tuple(ways[0])
        if prod(map(len, ways)) > MAX_COMBINATIONS:
            raise TooManyCombinationsError
        return tuple(self.together(parts) for parts in product(*ways))

    def together(self, parts: tuple[Alternative, ...]) -> Alternative:
        """All of these at once; the same object for the same parts."""
        if parts not in self._joined:
            joined = parts[0]
            for part in parts[1:]:
                joined = joined & part
            self._joined[parts] = joined
        return self._joined[parts]


def _with_joined_denies(rules: Sequence[Rule], apart: Collection[str]) -> list[Rule]:
    """The rules, with those that deny for the same agents as one; `apart` stay as they are."""
    found = [rule for rule in rules if not rule.denies or rule.id in apart]
    joined: dict[tuple[Glob, ...] | None, list[Rule]] = {}
    for rule in rules:
        if rule.denies and rule.id not in apart:
            joined.setdefault(rule.to, []).append(rule)
    for same in joined.values():
        ids = " or ".join(rule.id for rule in same[:3]) + (" or another" if len(same) > 3 else "")
        found.append(replace(same[0], id=ids, tools=tuple(p for rule in same for p in rule.tools)))
    return found


def _scope_of(waiver: Waiver, rule: Rule) -> Rule:
    """A rule that speaks about what the waiver is for, so that slots are told apart by it."""
    if waiver.tools is not None:
        return Rule(waiver.id, waiver.source, False, tools=waiver.tools, to=waiver.agents)
    return Rule(
        waiver.id,
        waiver.source,
        False,
        tools=rule.tools,
        resources=rule.resources,
        prompts=rule.prompts,
        to=waiver.agents,
    )


def _waived_condition(rule: Rule, waiver: Waiver, policy: Policy) -> Condition:
    if rule.denies:
        return Condition((), () if waiver.args is None else (waiver.args,))
    kept = condition(rule, policy)
    return Condition(() if waiver.args is None else (waiver.args,), kept.open, kept.data)


def condition(rule: Rule, policy: Policy) -> Condition:
    """What a call must meet to pass an allowing rule."""
    return Condition(
        () if rule.args is None else (rule.args,),
        (),
        () if rule.data is None else (DataLimit(rule.data, rule.unresolved_denied, policy.data),),
    )


def agent_slots(rules: Sequence[Rule]) -> tuple[Slot, ...] | None:
    """The classes of agents; None where there are too many to tell."""
    everyone = sum(1 << n for n, rule in enumerate(rules) if rule.to is None)
    groups = {n: frozenset(rule.to) for n, rule in enumerate(rules) if rule.to is not None}
    slots = _slots(groups, "any other agent" if groups else ANY_AGENT)
    return None if slots is None else tuple(Slot(slot.label, slot.rules | everyone) for slot in slots)


def resource_slots(rules: Sequence[Rule]) -> tuple[Slot, ...] | None:
    """The classes of resources that some rule speaks about."""
    slots = _slots({n: frozenset(rule.resources) for n, rule in enumerate(rules) if rule.resources}, "")
    return None if slots is None else tuple(Slot(f"resource {s.label}", s.rules) for s in slots if s.rules)


def tool_slots(rules: Sequence[Rule]) -> tuple[Slot, ...] | None:
    """The classes of tools that some rule speaks about."""
    return _named_slots(rules, lambda rule: rule.tools, "")


def prompt_slots(rules: Sequence[Rule]) -> tuple[Slot, ...] | None:
    """The classes of prompts that some rule speaks about."""
    return _named_slots(rules, lambda rule: rule.prompts, "prompt ")


def _named_slots(
    rules: Sequence[Rule], patterns: Callable[[Rule], Iterable[ToolPattern]], prefix: str
) -> tuple[Slot, ...] | None:
    servers = tuple(dict.fromkeys(pattern.server for rule in rules for pattern in patterns(rule)))
    classes = name_classes([(server,) for server in servers])
    if classes is None:
        return None
    found: list[Slot] = []
    for server in classes:
        covering = {glob for n, glob in enumerate(servers) if server.groups >> n & 1}
        groups = {n: frozenset(p.name for p in patterns(rule) if p.server in covering) for n, rule in enumerate(rules)}
        slots = _slots({n: group for n, group in groups.items() if group}, "")
        if slots is None:
            return None
        begin = f"{prefix}{_label(server, covering, '')}."
        found += [Slot(f"{begin}{slot.label}", slot.rules) for slot in slots if slot.rules]
    return tuple(found)


def _slots(groups: dict[int, frozenset[Glob]], nothing: str) -> tuple[Slot, ...] | None:
    """Slots from each rule's patterns; rules with the same patterns are told apart by nothing."""
    speaking: dict[frozenset[Glob], int] = {}
    for number, group in groups.items():
        speaking[group] = speaking.get(group, 0) | 1 << number
    classes = name_classes(tuple(speaking))
    if classes is None:
        return None
    patterns, masks = tuple(speaking), tuple(speaking.values())
    slots = []
    for found in classes:
        covering = [n for n in range(len(masks)) if found.groups >> n & 1]
        label = _label(found, (glob for n in covering for glob in patterns[n]), nothing)
        slots.append(Slot(label, sum(masks[n] for n in covering)))
    return tuple(dict.fromkeys(slots))


def _label(found: NameClass, globs: Iterable[Glob], nothing: str) -> str:
    """The name itself, or the pattern that says the most about it."""
    if found.exact:
        return found.witness
    covering = sorted(glob.text for glob in globs if not glob.exact and glob.matches(found.witness))
    return max(covering, key=lambda text: len(text.replace("*", "")), default=nothing)
