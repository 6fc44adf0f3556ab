"""From text to a policy: strict YAML, every error with file, line and column.

One document; no anchors, tags, directives or duplicate keys; nothing is ignored. Text comes in, no file is
opened. The only module that imports a YAML library, and only when a policy is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NoReturn

from pytest_mcp_governance.errors import PolicyError
from pytest_mcp_governance.policy.model import Policy, SourceKind
from pytest_mcp_governance.policy.nodes import Node, plain_value
from pytest_mcp_governance.policy.sections import (
    identifier,
    read_agents,
    read_data,
    read_protocol,
    read_rules,
    read_servers,
)
from pytest_mcp_governance.policy.verdicts import Mode
from pytest_mcp_governance.policy.waiver_section import read_waivers

MAX_CHARS = 1_000_000
MAX_DEPTH = 30
_KEYS = (
    "governance", "policy", "kind", "owner", "review_by", "mode", "default", "agents", "servers", "data", "rules",
    "protocol", "waivers",
)  # fmt: skip
_LATER = ("extends", "pins", "flows", "sequences", "budgets", "evidence", "coverage")
_START = 'A policy begins with "governance: 1" and "policy: <name>".'


def load_policy(text: str, *, name: str, kind: SourceKind = "file") -> Policy:
    """Read a policy.

    Args:
        text: the YAML text, at most 1,000,000 characters.
        name: the file's name, for messages and findings.
        kind: where the source comes from.

    Returns:
        The policy; `sha256` is the hex digest of the text in UTF-8.

    Raises:
        PolicyError: anything that is not understood, with line and column where they are known.
    """
    try:
        document = read_document(text, name)
        return _policy(document, text, name, kind)
    except PolicyError:
        raise
    except Exception as error:  # a policy that we fail to read is refused like any other
        raise PolicyError(f"the policy cannot be read: {type(error).__name__}", file=name, hint=_START) from error


def _policy(document: Node, text: str, name: str, kind: SourceKind) -> Policy:
    entries = document.keyed("the policy", _KEYS, _LATER)
    _header(document, entries)
    groups, scopes = read_agents(entries.get("agents")), read_data(entries.get("data"))
    read_servers(entries.get("servers"))
    rules = read_rules(entries.get("rules"), document, groups, scopes)
    constraint = "kind" in entries and bool(entries["kind"].choice("kind", ("constraint",)))
    allowing = next((rule for rule in rules if not rule.denies), None)
    if constraint and allowing:
        document.key("kind").fail(f"a constraint only limits, but rule {allowing.id} allows", f"See {allowing.source}.")
    if not constraint and not allowing:
        document.key("rules").fail("no rule allows anything", "Add a rule with allow, or say 'kind: constraint'.")
    return Policy(
        id=identifier(entries["policy"], "the policy's name"),
        name=name,
        kind=kind,
        text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        mode=_mode(entries.get("mode")),
        constraint=constraint,
        rules=rules,
        data=scopes,
        agents=groups,
        protocol=read_protocol(entries.get("protocol")),
        waivers=read_waivers(entries.get("waivers"), rules, groups),
        owned="owner" in entries,
        review_by=entries["review_by"].date("review_by") if "review_by" in entries else None,
    )


def _header(document: Node, entries: dict[str, Node]) -> None:
    for required in ("governance", "policy"):
        if required not in entries:
            document.fail(f"the policy has no {required!r}", _START)
    version = entries["governance"]
    if version.kind != "plain" or version.value != 1 or isinstance(version.value, (bool, float)):
        version.fail(f"format version {version.shown} is unknown", "This version reads governance: 1.")
    if "default" in entries:
        entries["default"].choice("default", ("deny",))
    for value in entries["owner"].mapping("owner").values() if "owner" in entries else ():
        value.text("an entry of owner")


def _mode(node: Node | None) -> Mode:
    if node is None:
        return "enforce"
    return "observe" if node.choice("mode", ("enforce", "observe")) == "observe" else "enforce"


def read_document(text: str, name: str, *, what: str = "the policy", hint: str = _START) -> Node:
    """Read strict YAML, for a policy and for what is written like one.

    Args:
        what: what the text is, for messages.
        hint: how such a text begins.

    Raises:
        PolicyError: no YAML, or YAML with anchors, tags, directives, duplicate keys, or nothing in it.
    """
    if len(text) > MAX_CHARS:
        raise PolicyError(f"{what} has more than {MAX_CHARS} characters", file=name)
    empty = PolicyError(f"{what} is empty", file=name, line=1, column=1, hint=hint)
    if not text.strip():
        raise empty
    builder = _Builder(name)
    for event in _events(text, name):
        builder.take(event)
    if builder.document is None:
        raise empty
    return builder.document


def _events(text: str, name: str) -> Iterator[object]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except PolicyError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part) or "no YAML"
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise PolicyError(message, file=name, line=line, column=column, hint="The text is no valid YAML.") from error


@dataclass(slots=True)
class _Open:
    place: Node
    is_list: bool
    nodes: list[Node] = field(default_factory=list)


class _Builder:
    """Builds nodes from parse events, without recursion."""

    def __init__(self, name: str) -> None:
        self.document: Node | None = None
        self._name = name
        self._open: list[_Open] = []

    def take(self, event: object) -> None:
        """Take the next event."""
        handler = self._HANDLERS.get(type(event).__name__)
        if handler:
            handler(self, event)

    def _scalar(self, event: object) -> None:
        place = self._place(event, "plain")
        text = str(getattr(event, "value", ""))
        bare = getattr(event, "style", None) in (None, "")
        value = plain_value(text, place) if bare else text
        self._add(Node(place.file, place.line, place.column, "plain", value))

    def _begin(self, event: object, is_list: bool) -> None:
        place = self._place(event, "list" if is_list else "mapping")
        if len(self._open) >= MAX_DEPTH:
            place.fail(f"the policy is nested deeper than {MAX_DEPTH} levels")
        self._open.append(_Open(place, is_list))

    def _begin_list(self, event: object) -> None:
        self._begin(event, True)

    def _begin_mapping(self, event: object) -> None:
        self._begin(event, False)

    def _end(self, event: object) -> None:
        done = self._open.pop()
        place = done.place
        if done.is_list:
            self._add(Node(place.file, place.line, place.column, "list", items=tuple(done.nodes)))
            return
        keys, values = done.nodes[::2], done.nodes[1::2]
        seen: set[str] = set()
        for key in keys:
            text = key.text("a key")
            if text in seen:
                key.fail(
                    f"the key {text!r} stands here twice",
                    "One of the two would be lost: join or rename them.",
                )
            seen.add(text)
        entries = tuple(zip(keys, values, strict=True))
        self._add(Node(place.file, place.line, place.column, "mapping", entries=entries))

    def _start_document(self, event: object) -> None:
        place = self._place(event, "plain")
        if getattr(event, "version", None) or getattr(event, "tags", None):
            place.fail("YAML directives are not supported")
        if self.document is not None:
            place.fail("the file holds more than one document", "Take out the line with ---.")

    def _alias(self, event: object) -> NoReturn:
        self._place(event, "plain").fail("anchors and aliases are not supported", "Write the value out.")

    def _add(self, node: Node) -> None:
        if self._open:
            self._open[-1].nodes.append(node)
        else:
            self.document = node

    def _place(self, event: object, kind: str) -> Node:
        mark = getattr(event, "start_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        place = Node(self._name, line, column, "plain")
        if getattr(event, "anchor", None) is not None and type(event).__name__ != "AliasEvent":
            place.fail("anchors and aliases are not supported", "Write the value out.")
        tag = getattr(event, "tag", None)
        if tag is not None:
            place.fail(f"the tag {tag} is not supported", "Write the value without a tag.")
        return place

    _HANDLERS: ClassVar[Mapping[str, Callable[[_Builder, object], None]]] = {
        "ScalarEvent": _scalar,
        "SequenceStartEvent": _begin_list,
        "MappingStartEvent": _begin_mapping,
        "SequenceEndEvent": _end,
        "MappingEndEvent": _end,
        "DocumentStartEvent": _start_document,
        "AliasEvent": _alias,
    }
