"""From the document's nodes to the waivers: whose limit they lift, for whom, how far and until when.

A waiver is an exception that somebody answers for, so nothing in it is optional but the tools. What it does is
`waivers`' affair.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from pytest_mcp_governance.policy.arguments import ArgumentRule, make_argument_rule
from pytest_mcp_governance.policy.matching import ToolPattern, parse_tool_pattern
from pytest_mcp_governance.policy.model import Rule, Waiver
from pytest_mcp_governance.policy.nodes import Node
from pytest_mcp_governance.policy.operators import OperatorError
from pytest_mcp_governance.policy.sections import Groups, identifier, parsed, read_args, read_to

_WAIVER_KEYS = ("id", "rule", "args", "agents", "tools", "ticket", "owner", "expires", "reason")
_OPTIONAL = ("args", "tools")


def read_waivers(node: Node | None, rules: Sequence[Rule], groups: Groups) -> tuple[Waiver, ...]:
    """The waivers of these rules; every id once."""
    if node is None:
        return ()
    if node.kind != "list" or not node.items:
        node.fail(
            f"waivers must be a list with at least one waiver, not {node.shown}", "Leave it out if there is none."
        )
    waivers: dict[str, Waiver] = {}
    for item in node.items:
        waiver = _waiver(item, rules, groups)
        if waiver.id in waivers:
            item.fail(
                f"waiver id {waiver.id!r} is used twice, first in {waivers[waiver.id].source}",
                "Decisions name waivers by their id.",
            )
        waivers[waiver.id] = waiver
    return tuple(waivers.values())


def _waiver(node: Node, rules: Sequence[Rule], groups: Groups) -> Waiver:
    entries = node.keyed("a waiver", _WAIVER_KEYS)
    missing = [key for key in _WAIVER_KEYS if key not in entries and key not in _OPTIONAL]
    if missing:
        node.fail(
            f"the waiver has no {' and no '.join(missing)}",
            "Somebody answers for an exception, for a reason and for a time: give id, rule, agents, owner, ticket, "
            "expires and reason.",
        )
    waiver_id = identifier(entries["id"], "the waiver id")
    what = f"waiver {waiver_id}"
    rule = _rule(entries["rule"], what, rules)
    own = _own_args(node, entries, what, rule)
    return Waiver(
        waiver_id,
        node.place,
        rule.id,
        agents=read_to(entries["agents"], f"{what}.agents", groups) or (),
        agent_names=tuple(str(n.value) for n in entries["agents"].items),
        tools=_tools(entries.get("tools"), what),
        args=own if rule.denies else _in_place(entries["args"], what, rule),
        shown=_shown(own),
        owner=entries["owner"].text(f"{what}.owner"),
        ticket=entries["ticket"].text(f"{what}.ticket"),
        expires=entries["expires"].date(f"{what}.expires"),
        reason=entries["reason"].text(f"{what}.reason"),
    )


def _rule(node: Node, what: str, rules: Sequence[Rule]) -> Rule:
    name = node.text(f"{what}.rule")
    found = next((rule for rule in rules if rule.id == name), None)
    if found is None:
        close = difflib.get_close_matches(name, [rule.id for rule in rules], n=1)
        node.fail(
            f"{what}: no rule of this file is named {name!r}",
            f"Did you mean {close[0]!r}?" if close else "A waiver lifts a limit of its own file only.",
        )
    return found


def _own_args(node: Node, entries: Mapping[str, Node], what: str, rule: Rule) -> tuple[ArgumentRule, ...] | None:
    """The limits that the waiver names, as written."""
    if rule.denies:
        return read_args(entries.get("args"), what)
    if rule.args is None:
        entries["rule"].fail(f"{what}: rule {rule.id} limits no argument, so there is nothing to waive")
    if "args" not in entries:
        node.fail(
            f"{what} names no argument",
            f"Rule {rule.id} allows: say which limit is lifted and how far, as args: {{amount: {{max: 9}}}} does.",
        )
    return _merged(entries["args"], what, {})


def _in_place(node: Node, what: str, rule: Rule) -> tuple[ArgumentRule, ...]:
    """All of the rule's arguments, each limit that the waiver names in the place of the rule's."""
    own = {argument.name: argument for argument in rule.args or ()}
    named = {argument.name: argument for argument in _merged(node, what, own)}
    return tuple((own | named).values())


def _merged(node: Node, what: str, own: Mapping[str, ArgumentRule]) -> tuple[ArgumentRule, ...]:
    rules = []
    for name, operators in node.mapping(f"{what}.args").items():
        if operators.kind != "mapping":
            operators.fail(f"{what}.args.{name} must be a mapping of operators, not {operators.shown}")
        kept: dict[str, object] = {}
        if name in own:
            kept = {limit.operator: limit.value for limit in own[name].limits}
            kept |= {"optional": True} if own[name].optional else {}
        given = {key.text("an operator"): value.plain() for key, value in operators.entries}
        try:
            rules.append(make_argument_rule(name, kept | given))
        except OperatorError as error:
            place = operators.key(error.operator) if error.operator else operators
            place.fail(f"{what}.args.{name}, with what rule's limits it leaves: {error}")
    return tuple(rules)


def _tools(node: Node | None, what: str) -> tuple[ToolPattern, ...] | None:
    return None if node is None else tuple(parsed(n, parse_tool_pattern) for n in node.texts(f"{what}.tools"))


def _shown(args: tuple[ArgumentRule, ...] | None) -> str:
    parts = [f"{rule.name} {' and '.join(li.demand for li in rule.limits) or 'left out'}" for rule in args or ()]
    return ", ".join(parts) or "it"
