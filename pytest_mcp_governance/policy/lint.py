"""What in a policy is probably not meant: rules that nothing reaches, exceptions that ran out, grants without a limit.

A first check, fast enough for every commit; it warns and forbids nothing. What cannot be loaded at all is the
loader's affair, and what agents really did is the report's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pytest_mcp_governance.policy.inclusion import gaps
from pytest_mcp_governance.policy.lockfile import Lock, LockedTool
from pytest_mcp_governance.policy.matching import ToolPattern
from pytest_mcp_governance.policy.model import Policy, Rule
from pytest_mcp_governance.policy.permissions import agent_slots, condition, prompt_slots, resource_slots, tool_slots

SOON = timedelta(days=14)
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class LintWarning:
    """One thing to look at.

    Attributes:
        code: which check, such as "unreachable".
        place: "file:line", or the file.
        text: what was seen and what to do.
        hint: whether a policy may stay as it is: a safeguard, or what only a person can fill in.
    """

    code: str
    place: str
    text: str
    hint: bool = False


def lint(policy: Policy, *, today: date, lock: Lock | None = None) -> tuple[LintWarning, ...]:
    """Check a policy.

    Args:
        policy: one source.
        today: the day by which waivers and reviews are due, in UTC.
        lock: what the servers offer, where that is known; without it no check needs to know a tool.

    Returns:
        The warnings, in the order of the checks.
    """
    found = [*_people(policy, today), *_waivers(policy, today), *_everything(policy), *_unreachable(policy)]
    if lock is not None:
        found += [*_unknown_tools(policy, lock), *_destructive(policy, lock)]
    return tuple(found)


def _people(policy: Policy, today: date) -> Iterator[LintWarning]:
    if not policy.owned:
        yield LintWarning("no-owner", policy.name, "nobody owns this policy: add owner: {team: …}", hint=True)
    if policy.review_by is not None and policy.review_by < today:
        yield LintWarning(
            "review-due", policy.name, f"its review was due on {policy.review_by}: read it, set a new day"
        )


def _waivers(policy: Policy, today: date) -> Iterator[LintWarning]:
    for waiver in policy.waivers:
        what = f"waiver {waiver.id} of {waiver.owner} ({waiver.ticket})"
        if waiver.expires < today:
            yield LintWarning("waiver-expired", waiver.source, f"{what} expired on {waiver.expires}: take it out")
        elif waiver.expires - today <= SOON:
            yield LintWarning(
                "waiver-expires", waiver.source, f"{what} expires on {waiver.expires}: settle what follows"
            )


def _everything(policy: Policy) -> Iterator[LintWarning]:
    for rule in policy.rules:
        unlimited = rule.args is None and rule.data is None and rule.to is None and not rule.denies
        if unlimited and any(pattern.text == "*.*" for pattern in rule.tools):
            text = f"rule {rule.id} allows every tool to every agent with any arguments: name tools, or say to whom"
            yield LintWarning("allows-everything", rule.source, text)


def _unreachable(policy: Policy) -> Iterator[LintWarning]:
    """Rules that decide nothing: all that they speak about is decided the same without them."""
    agents = agent_slots(policy.rules)
    slots = [slots_of(policy.rules) for slots_of in (tool_slots, resource_slots, prompt_slots)]
    if agents is None or any(found is None for found in slots):
        return  # too many patterns overlap: no claim is made
    masks = {slot.rules & agent.rules for found in slots for slot in found or () for agent in agents}
    kept = set(range(len(policy.rules)))
    warnings: list[LintWarning] = []
    for number, rule in reversed(list(enumerate(policy.rules))):  # of two that are alike the first one stays
        mine = [mask for mask in masks if mask >> number & 1]
        others = [(n, other) for n, other in enumerate(policy.rules) if n in kept and n != number]
        speaking = [[other for n, other in others if mask >> n & 1] for mask in mine]
        found = _needless(policy, rule, speaking) if mine else None
        if found is not None:
            kept.remove(number)
            warnings.append(found)
    yield from reversed(warnings)


def _needless(policy: Policy, rule: Rule, speaking: Sequence[Sequence[Rule]]) -> LintWarning | None:
    """Why a rule changes nothing, given the other rules that speak about each class of what it is about."""
    denying = _common([[other for other in rules if other.denies] for rules in speaking])
    if rule.denies:
        if denying:
            return _shadowed(rule, denying, "denies the same already")
        if policy.constraint or any(not other.denies for rules in speaking for other in rules):
            return None
        text = f"rule {rule.id} denies what no rule allows anyway; as a safeguard it may stay"
        return LintWarning("denies-nothing", rule.source, text, hint=True)
    if denying and not any(waiver.rule == other.id for waiver in policy.waivers for other in denying):
        return _shadowed(rule, denying, "denies all of it")
    own = condition(rule, policy)
    wider = _common(
        [
            [other for other in rules if not other.denies and not gaps(own, condition(other, policy))]
            for rules in speaking
        ]
    )
    return _shadowed(rule, wider, "allows the same already") if wider else None


def _common(lists: Sequence[Sequence[Rule]]) -> list[Rule]:
    """A rule for each list, each named once; none where a list is empty."""
    return list({rules[0].id: rules[0] for rules in lists}.values()) if all(lists) else []


def _shadowed(rule: Rule, others: Sequence[Rule], why: str) -> LintWarning:
    names = " and ".join(f"{other.id} ({other.source})" for other in others[:_MOST_NAMED])
    return LintWarning("unreachable", rule.source, f"rule {rule.id} changes nothing: {names} {why}")


def _unknown_tools(policy: Policy, lock: Lock) -> Iterator[LintWarning]:
    for rule in policy.rules:
        for pattern in rule.tools:
            if not _matching(pattern, lock):
                text = f"rule {rule.id}: {pattern.text} is no tool of any server in the lock file"
                yield LintWarning("no-such-tool", rule.source, text)


def _matching(pattern: ToolPattern, lock: Lock) -> list[LockedTool]:
    return [tool for tool in lock.tools if pattern.matches(tool.server, tool.name)]


def _destructive(policy: Policy, lock: Lock) -> Iterator[LintWarning]:
    denied = [rule for rule in policy.rules if rule.denies and rule.to is None]
    for rule in policy.rules:
        if rule.denies or rule.args is not None:
            continue
        tools = [
            f"{tool.server}.{tool.name}"
            for tool in lock.tools
            if _may_destroy(tool)
            and any(pattern.matches(tool.server, tool.name) for pattern in rule.tools)
            and not any(p.matches(tool.server, tool.name) for other in denied for p in other.tools)
        ]
        if tools:
            more = f" and {len(tools) - _MOST_NAMED} more" if len(tools) > _MOST_NAMED else ""
            text = (
                f"rule {rule.id} allows {', '.join(tools[:_MOST_NAMED])}{more} with any arguments, and no server says "
                "that it destroys nothing: limit args, or name only what is read-only"
            )
            yield LintWarning("destructive", rule.source, text)


def _may_destroy(tool: LockedTool) -> bool:
    """What a server does not say is destructive; a tool that only reads is not."""
    if tool.annotations.get("readOnlyHint") is True:
        return False
    return tool.annotations.get("destructiveHint") is not False
