"""What a list of sources permits, name class by name class: the ground on which two lists are compared.

A slot is a class of names (of tools, resources, prompts or agents) that no pattern tells apart. For each slot and
agent the rules that speak are known exactly. Comparing what they permit is `diff`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pytest_mcp_governance.policy.classes import NameClass, name_classes
from pytest_mcp_governance.policy.inclusion import Condition, DataLimit
from pytest_mcp_governance.policy.matching import Glob, ToolPattern
from pytest_mcp_governance.policy.model import Policy, Rule

ANY_AGENT = "any agent"


@dataclass(frozen=True, slots=True)
class Slot:
    """A class of names as people call it, and which rules speak about it: bit i of `rules` is rule i."""

    label: str
    rules: int


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """One way to be permitted: under which rule and condition. Compared by identity."""

    rule: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a slot is denied."""

    reason: str


Permitted = tuple[tuple[Alternative, ...], ...]  # of each source that allows, its alternatives


class Sources:
    """A list of sources whose rules have the numbers from `first` on."""

    def __init__(self, policies: Sequence[Policy], first: int) -> None:
        self.policies = tuple(policies)
        self.rules = [rule for policy in policies for rule in policy.rules]
        self._numbered: list[tuple[Policy, list[tuple[int, Rule, Alternative]]]] = []
        for policy in policies:
            numbered = [
                (1 << first + n, rule, Alternative(rule.id, condition(rule, policy)))
                for n, rule in enumerate(policy.rules)
            ]
            first += len(numbered)
            self._numbered.append((policy, numbered))

    def permitted(self, rules: int) -> Permitted | Denied:
        """What these rules permit together: every source must allow."""
        lists: list[tuple[Alternative, ...]] = []
        for policy, numbered in self._numbered:
            speaking = [(rule, alternative) for bit, rule, alternative in numbered if bit & rules]
            denying = next((rule for rule, _ in speaking if rule.denies), None)
            if denying:
                return Denied(f"denied by {denying.id}")
            if not policy.constraint:
                lists.append(tuple(alternative for _, alternative in speaking))
        if not all(lists):
            return Denied("denied: no rule allows it")
        return tuple(lists) if lists else Denied("denied: constraints alone allow nothing")


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
    globs = {glob for group in groups.values() for glob in group}
    masks = tuple(speaking.values())
    slots = (
        Slot(_label(found, globs, nothing), sum(mask for n, mask in enumerate(masks) if found.groups >> n & 1))
        for found in classes
    )
    return tuple(dict.fromkeys(slots))


def _label(found: NameClass, globs: Iterable[Glob], nothing: str) -> str:
    """The name itself, or the pattern that says the most about it."""
    if found.exact:
        return found.witness
    covering = sorted(glob.text for glob in globs if not glob.exact and glob.matches(found.witness))
    return max(covering, key=lambda text: len(text.replace("*", "")), default=nothing)
