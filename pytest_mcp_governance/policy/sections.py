"""From the document's nodes to the policy's values, section by section.

Each key is either understood here or refused here. What only informs people (owner, review_by, a server's
trust) is checked for shape and left where it is, in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from pytest_mcp_governance.policy.arguments import ArgumentRule, make_argument_rule
from pytest_mcp_governance.policy.data import BUILTIN_SECRET, DataScope, ScopeClass
from pytest_mcp_governance.policy.detectors import DETECTORS
from pytest_mcp_governance.policy.jsonpath import JsonPath, parse_jsonpath
from pytest_mcp_governance.policy.matching import Glob, ToolPattern, parse_glob, parse_tool_pattern
from pytest_mcp_governance.policy.model import Protocol, Rule
from pytest_mcp_governance.policy.nodes import Node
from pytest_mcp_governance.policy.operators import OperatorError
from pytest_mcp_governance.policy.places import PathGlob, file_path, parse_host, parse_path_glob, plain_uri
from pytest_mcp_governance.policy.verdicts import RESERVED_RULES

_RULE_KEYS = (
    "id",
    "allow",
    "deny",
    "allow_resources",
    "allow_prompts",
    "to",
    "args",
    "data",
    "unresolved",
    "controls",
)
_RULE_LATER = ("where", "unless", "approval", "deny_resources", "deny_prompts")
_DATA_KEYS = ("class", "resources", "paths", "hosts", "results", "detect")
_DATA_LATER = ("tables",)
_CLASSES: Mapping[str, ScopeClass] = {"secret": "secret", "pii": "pii", "untrusted": "untrusted"}
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,79}")
_ALLOWING = ("allow", "allow_resources", "allow_prompts")

Groups = Mapping[str, tuple[Glob, ...]]
T = TypeVar("T")


def identifier(node: Node, what: str) -> str:
    """A name of letters, digits and `_ . : / -`, at most 80 characters."""
    text = node.text(what)
    if not _IDENTIFIER.fullmatch(text):
        node.fail(f"{what} {text[:80]!r} must be letters, digits and _ . : / -, at most 80")
    return text


def read_agents(node: Node | None) -> dict[str, tuple[Glob, ...]]:
    """The named groups of agents."""
    if node is None:
        return {}
    groups = {}
    for (key, value), name in zip(node.entries, node.mapping("agents"), strict=True):
        identifier(key, "the group")
        groups[name] = tuple(parsed(entry, parse_glob) for entry in value.texts(f"agents.{name}"))
    return groups


def read_servers(node: Node | None) -> None:
    """Servers: only `trust`, which informs; hosts and commands would have to be enforced."""
    for name, server in (node.mapping("servers") if node else {}).items():
        for value in server.keyed(f"servers.{name}", ("trust",), ("hosts", "command")).values():
            value.text("trust")


def read_data(node: Node | None) -> dict[str, DataScope]:
    """The data scopes."""
    if node is None:
        return {}
    entries = node.mapping("data")
    for key, _ in node.entries:
        if identifier(key, "the data scope").startswith("builtin."):
            key.fail("names beginning with 'builtin.' are taken")
    return {name: _scope(name, value) for name, value in entries.items()}


def read_rules(node: Node | None, document: Node, groups: Groups, scopes: Mapping[str, DataScope]) -> tuple[Rule, ...]:
    """The rules; at least one, every id once."""
    if node is None or node.kind != "list" or not node.items:
        (node or document).fail("rules must be a list with at least one rule", "An empty policy allows nothing.")
    rules: list[Rule] = []
    for item in node.items:
        rule = _rule(item, groups, scopes)
        first = next((known for known in rules if known.id == rule.id), None)
        if first:
            item.fail(f"rule id {rule.id!r} is used twice, first in {first.source}", "Findings name rules by their id.")
        rules.append(rule)
    return tuple(rules)


def read_protocol(node: Node | None) -> Protocol:
    """What servers may ask of the agent's side."""
    if node is None:
        return Protocol()
    entries = node.keyed("protocol", ("sampling", "elicitation", "roots"), ("list_changed",))
    return Protocol(
        node.place,
        _allowed(entries.get("sampling"), "protocol.sampling"),
        _allowed(entries.get("elicitation"), "protocol.elicitation"),
        _roots(entries.get("roots")),
    )


def parsed(node: Node, parse: Callable[[str], T]) -> T:
    """Parse a node's text; what is wrong with it becomes an error at its place."""
    try:
        return parse(node.text("the entry"))
    except ValueError as error:
        node.fail(str(error))


def _scope(name: str, node: Node) -> DataScope:
    what = f"data.{name}"
    entries = node.keyed(what, _DATA_KEYS, _DATA_LATER)
    if not set(entries) - {"class"}:
        node.fail(f"{what} says nothing about where its data is", "Give resources, paths, hosts, results or detect.")
    cls = _CLASSES[entries["class"].choice(f"{what}.class", _CLASSES)] if "class" in entries else None
    resources = _list(entries, "resources", what)
    files = [n for n in resources if str(n.value).lower().startswith("file:")]
    return DataScope(
        name,
        cls,
        uris=tuple(parsed(n, _uri_glob) for n in resources if n not in files),
        paths=(
            *(parsed(n, _file_glob) for n in files),
            *(parsed(n, parse_path_glob) for n in _list(entries, "paths", what)),
        ),
        hosts=tuple(parsed(n, parse_host) for n in _list(entries, "hosts", what)),
        results=_results(entries.get("results"), what),
        detect=tuple(n.choice(f"{what}.detect", DETECTORS) for n in _list(entries, "detect", what)),
    )


def _results(node: Node | None, what: str) -> tuple[tuple[ToolPattern, tuple[JsonPath, ...]], ...]:
    if node is None:
        return ()
    entries = node.mapping(f"{what}.results")
    return tuple(
        (
            parsed(key, parse_tool_pattern),
            tuple(parsed(path, parse_jsonpath) for path in entries[str(key.value)].texts(f"{what}.results paths")),
        )
        for key, _ in node.entries
    )


def _rule(node: Node, groups: Groups, scopes: Mapping[str, DataScope]) -> Rule:
    entries = node.keyed("a rule", _RULE_KEYS, _RULE_LATER)
    if "id" not in entries:
        node.fail("the rule has no id", "Findings and reports name rules by their id: add one.")
    rule_id = identifier(entries["id"], "the rule id")
    if rule_id in RESERVED_RULES:
        entries["id"].fail(f"{rule_id} is a name of ours")
    what = f"rule {rule_id}"
    denies = "deny" in entries
    _check_shape(node, entries, what, denies)
    data = _rule_data(entries.get("data"), what, scopes)
    return Rule(
        rule_id,
        node.place,
        denies,
        tools=tuple(parsed(n, parse_tool_pattern) for n in _list(entries, "deny" if denies else "allow", what)),
        resources=tuple(parsed(n, _uri_glob) for n in _list(entries, "allow_resources", what)),
        prompts=tuple(parsed(n, parse_tool_pattern) for n in _list(entries, "allow_prompts", what)),
        to=read_to(entries.get("to"), f"{what}.to", groups),
        to_names=tuple(str(n.value) for n in _list(entries, "to", what)),
        args=read_args(entries.get("args"), what),
        data=data,
        unresolved_denied=_unresolved(entries.get("unresolved"), what, data),
        controls=tuple(n.text("a control") for n in _list(entries, "controls", what)),
    )


def _check_shape(node: Node, entries: Mapping[str, Node], what: str, denies: bool) -> None:
    if not denies and not any(name in entries for name in _ALLOWING):
        node.fail(
            f"{what} neither allows nor denies anything",
            "Give allow, allow_resources, allow_prompts or deny.",
        )
    if not denies:
        return
    for name in (*_ALLOWING, "args", "data", "unresolved"):
        if name in entries:
            node.key(name).fail(
                f"{name!r} beside deny is not supported in this version" if name in ("args", "data", "unresolved")
                else f"{what} both allows and denies",
                "A deny rule has deny, to and controls; limits go to the rule that allows.",
            )  # fmt: skip


def read_to(node: Node | None, what: str, groups: Groups) -> tuple[Glob, ...] | None:
    """Groups and patterns of agents, as `to` names them."""
    if node is None:
        return None
    globs: list[Glob] = []
    for entry in node.texts(what):
        name = str(entry.value)
        if name in groups:
            globs.extend(groups[name])
            continue
        glob = parsed(entry, parse_glob)
        # A group's name with a typo would be an agent that nobody has, and the rule would be lost.
        if groups and glob.exact and not any(known.matches(name) for group in groups.values() for known in group):
            entry.fail(f"{name!r} is no group, and no pattern in agents covers it", f"Groups: {', '.join(groups)}.")
        globs.append(glob)
    return tuple(globs)


def read_args(node: Node | None, what: str) -> tuple[ArgumentRule, ...] | None:
    if node is None:
        return None
    rules = []
    for name, operators in node.mapping(f"{what}.args").items():
        if operators.kind != "mapping":
            operators.fail(f"{what}.args.{name} must be a mapping of operators, not {operators.shown}")
        plain = {key.text("an operator"): value.plain() for key, value in operators.entries}
        try:
            rules.append(make_argument_rule(name, plain))
        except OperatorError as error:
            place = operators.key(error.operator) if error.operator else operators
            place.fail(f"{what}.args.{name}: {error}")
    return tuple(rules)


def _rule_data(node: Node | None, what: str, scopes: Mapping[str, DataScope]) -> frozenset[str] | None:
    if node is None:
        return None
    names = node.texts(f"{what}.data")
    for entry in names:
        entry.choice(f"{what}.data", (*scopes, BUILTIN_SECRET))
    return frozenset(str(entry.value) for entry in names)


def _unresolved(node: Node | None, what: str, data: frozenset[str] | None) -> bool:
    if node is None:
        return False
    if data is None:
        node.fail(f"{what}: 'unresolved' goes with 'data'")
    return node.choice(f"{what}.unresolved", ("deny", "report")) == "deny"


def _allowed(node: Node | None, what: str) -> bool | None:
    if node is None:
        return None
    entries = node.keyed(what, ("allow",), ("forbid_fields", "url_mode"))
    value = entries["allow"]
    if value.kind == "list":
        value.fail(f"a list in {what}.allow is not supported in this version", "Write true or false.")
    return value.flag(f"{what}.allow")


def _roots(node: Node | None) -> tuple[str, ...] | None:
    if node is None:
        return None
    entries = node.keyed("protocol.roots", ("max",))
    return tuple(parsed(entry, _root) for entry in entries["max"].texts("protocol.roots.max"))


def _root(text: str) -> str:
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) or not plain_uri(text) or "*" in text:
        raise ValueError(f"{text!r} is no URI of a directory, such as file:///srv/ap")
    if text.lower().startswith("file:") and file_path(text) is None:
        raise ValueError(f"{text!r} names no absolute path")
    return text


def _uri_glob(text: str) -> Glob:
    if not re.match(r"[A-Za-z*][A-Za-z0-9+.*-]*:", text) or not plain_uri(text):
        raise ValueError(f"{text!r} is no URI pattern, such as file:///srv/ap/** (no '..', blanks, encoded slashes)")
    return parse_glob(text, separator="/")


def _file_glob(text: str) -> PathGlob:
    match = re.fullmatch(r"file://(?:localhost)?(/.*)", text, re.IGNORECASE)
    if not match or "%" in text:
        raise ValueError(f"{text!r}: write file:///absolute/path, unencoded")
    return parse_path_glob(match[1])


def _list(entries: Mapping[str, Node], name: str, what: str) -> tuple[Node, ...]:
    return entries[name].texts(f"{what}.{name}") if name in entries else ()
