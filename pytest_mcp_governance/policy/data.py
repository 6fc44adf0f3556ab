"""Data scopes: what data a message touches, by declared place or path first and by detection second.

A `Touch` says what was touched, in words of one policy; whether that is in or out is the rule's affair and
decided in `ruling`. Texts are collected once per message, with a limit on depth and size.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pytest_mcp_governance.policy.detectors import TooMuch, detect
from pytest_mcp_governance.policy.jsonpath import JsonPath
from pytest_mcp_governance.policy.matching import Glob, ToolPattern
from pytest_mcp_governance.policy.places import (
    HostPattern,
    PathGlob,
    Paths,
    file_path,
    parse_address,
    plain_uri,
    scheme_of,
)
from pytest_mcp_governance.policy.verdicts import How

ScopeClass = Literal["secret", "pii", "untrusted"]
BUILTIN_SECRET = "builtin.secret"
MAX_DEPTH = 100
MAX_VALUES = 1_000_000
MAX_CHARS = 1024 * 1024 * 1024  # as long as the longest message that can be let through
_MAX_PATH = 4096  # PATH_MAX: what is longer is content that begins with a slash
_MAX_SCHEME = 100
_BLANKS = "".join(chr(code) for code in range(33))  # browsers strip these, and drop the others anywhere
_DROPPED = {ord(char): None for char in "\t\r\n"}
_WEB_SCHEMES = ("http", "https", "ws", "wss", "ftp")
_MAX_SHOWN = 200
_MAX_COMPARISONS = 5_000_000
_PATH_KEYS = frozenset(
    {
        "path", "paths", "file", "files", "filename", "filepath", "dir", "directory", "folder", "root", "source",
        "destination", "repo", "repository",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DataScope:
    """A named set of data: places that hold it, result paths that carry it, forms that give it away."""

    name: str
    scope_class: ScopeClass | None
    uris: tuple[Glob, ...] = ()
    paths: tuple[PathGlob, ...] = ()
    hosts: tuple[HostPattern, ...] = ()
    results: tuple[tuple[ToolPattern, tuple[JsonPath, ...]], ...] = ()
    detect: tuple[str, ...] = ()

    @property
    def sensitive(self) -> bool:
        """Whether its values are masked and withheld."""
        return self.scope_class in ("secret", "pii")


@dataclass(frozen=True, slots=True)
class Touch:
    """One touch. Without a scope: a place that belongs to none (`located`), or nothing that could be told."""

    scope: str | None
    scope_class: ScopeClass | None
    data: str
    how: How
    located: bool = False
    fields: tuple[object, ...] = field(default=(), repr=False)


class Leaves(NamedTuple):
    """The texts of one message: (nearest member name, text), and each one once, joined for the detectors."""

    items: tuple[tuple[str, str], ...]
    text: str


def collect(value: object) -> Leaves:
    """Every text in a JSON value: strings, numbers and member names; image and audio bytes are left out.

    Raises:
        TooMuch: more than `MAX_DEPTH` levels, `MAX_VALUES` values or `MAX_CHARS` characters.
    """
    items: list[tuple[str, str]] = []
    texts: list[str] = []
    size = count = 0
    pending: list[tuple[str, object, int]] = [("", value, 0)]
    while pending:
        key, current, depth = pending.pop()
        entries: Iterable[tuple[str, object]]
        if isinstance(current, dict):
            texts.extend(current)
            skipped = current.get("type") in ("image", "audio") and "data" in current
            entries = ((n, c) for n, c in current.items() if n != "data") if skipped else current.items()
        elif isinstance(current, list):
            entries = ((key, child) for child in current)
        else:
            entries = ((key, current),)
        for name, child in entries:
            count += 1
            if isinstance(child, str):
                items.append((name, child))
                texts.append(child)
                size += len(child)
            elif isinstance(child, (dict, list)):
                pending.append((name, child, depth + 1))
            elif child is not None and not isinstance(child, bool):
                texts.append(str(child))
        if depth > MAX_DEPTH or count > MAX_VALUES or size > MAX_CHARS:
            raise TooMuch(f"more than {MAX_DEPTH} levels, {MAX_VALUES} values or {MAX_CHARS} characters")
    # Servers send a text twice, as content and as structuredContent: the detectors need to see it once.
    return Leaves(tuple(items), "\n".join(dict.fromkeys(texts)))


class ScopeMap:
    """The scopes of one policy, asked about places, results and texts."""

    def __init__(self, scopes: Mapping[str, DataScope]) -> None:
        self._scopes = tuple(scopes.values())
        self._maps_paths = any(scope.paths for scope in self._scopes)
        self._maps_uris = any(scope.uris or scope.hosts for scope in self._scopes)
        self._detecting = tuple(scope for scope in self._scopes if scope.detect)

    def __bool__(self) -> bool:
        return bool(self._scopes)

    def places(self, items: Iterable[tuple[str, str]], paths: Paths, how: How) -> list[Touch]:
        """What the places among these texts belong to; a text that is no place gives nothing."""
        touches: list[Touch] = []
        if self._maps_paths or self._maps_uris:
            for key, text in items:
                touches.extend(self._place(key, text.strip(_BLANKS), paths, how))
        return touches

    def _place(self, key: str, text: str, paths: Paths, how: How) -> list[Touch]:
        if text.startswith("/") or text[:5].lower() == "file:":
            return self._path(text, paths, how)
        address = text.translate(_DROPPED) if scheme_of(text[:_MAX_SCHEME].translate(_DROPPED)) else ""
        if "://" in address:
            return self._uri(address, how)
        # Relative or ambiguous: nobody knows where it leads.
        if self._maps_uris and scheme_of(address) in _WEB_SCHEMES:
            return [Touch(None, None, _short(text), how)]
        if self._maps_paths and text and (text.startswith(("./", "../", "~")) or _names_path(key)):
            return [Touch(None, None, _short(text), how)]
        return []

    def _path(self, text: str, paths: Paths, how: How) -> list[Touch]:
        if not self._maps_paths:
            return []
        path = file_path(text) if len(text) <= _MAX_PATH and "\n" not in text else None
        if path is None:
            return [Touch(None, None, _short(text), how)]
        hit = [scope for scope in self._scopes if any(glob.matches(path, paths) for glob in scope.paths)]
        found = _touches(hit, text, how)
        # It may be what it seems or lie elsewhere: label it, and let no rule with a limit pass it.
        elsewhere = [Touch(None, None, _short(text), how, True)] if hit and paths.ambiguous(path) else []
        return found + elsewhere

    def _uri(self, text: str, how: How) -> list[Touch]:
        if not self._maps_uris:
            return []
        address = parse_address(text)
        plain = plain_uri(text)
        if address is None and not plain:
            return [Touch(None, None, _short(text), how)]
        hit = [
            scope
            for scope in self._scopes
            if (plain and any(glob.matches(text) for glob in scope.uris))
            or (address and any(pattern.matches(address.host) for pattern in scope.hosts))
        ]
        return _touches(hit, text, how)

    def results(self, server: str, tool: str, result: object) -> list[Touch]:
        """What a tool's result carries at the declared paths."""
        touches: list[Touch] = []
        documents: list[object] | None = None
        for scope in self._scopes:
            for pattern, json_paths in scope.results:
                if not pattern.matches(server, tool):
                    continue
                documents = documents if documents is not None else result_documents(result)
                for path in json_paths:
                    values = [value for document in documents for value in path.values(document)]
                    if values:
                        fields = () if scope.scope_class == "untrusted" else leaf_values(values)
                        data = _short(f"{server}.{tool} {path.text}")
                        touches.append(Touch(scope.name, scope.scope_class, data, "result", True, fields))
        return touches

    def declares_results(self, server: str, tool: str) -> bool:
        """Whether some scope says what this tool's result carries."""
        return any(pattern.matches(server, tool) for scope in self._scopes for pattern, _ in scope.results)

    def detected(self, text: str, reference: str, declared: Iterable[Touch]) -> list[Touch]:
        """What gives itself away by form, except what a declared secret or pii path has labelled already."""
        if not self._detecting:
            return []
        known = [str(value) for touch in declared if touch.scope_class in ("secret", "pii") for value in touch.fields]
        touches: list[Touch] = []
        for scope in self._detecting:
            found = dict.fromkeys(value for name in scope.detect for value in detect(name, text))
            fresh = outside(found, known)
            if fresh:
                touches.append(Touch(scope.name, scope.scope_class, _short(reference), "detected", True, fresh))
        return touches


def result_documents(result: object) -> list[object]:
    """What a tool returned, as JSON values: structured content, and each text (parsed where it is JSON)."""
    if not isinstance(result, dict):
        return [result]
    documents: list[object] = []
    structured = result.get("structuredContent")
    if structured is not None:
        documents.append(structured)
        if isinstance(structured, dict) and set(structured) == {"result"}:
            documents.append(structured["result"])  # SDKs wrap what is no object
    content = result.get("content")
    for part in content if isinstance(content, list) else []:
        text = _part_text(part)
        if text is not None:
            documents.append(_parsed(text))
    return documents


def carried_uris(result: object) -> list[tuple[Literal["embedded", "link"], str]]:
    """The URIs of resources in a result: those whose contents it carries, and those that it only points to."""
    if not isinstance(result, dict):
        return []
    holders: list[object] = []
    for name in ("contents", "content"):
        parts = result.get(name)
        holders.extend(parts if isinstance(parts, list) else [])
    messages = result.get("messages")  # of a prompt
    holders.extend(m.get("content") for m in (messages if isinstance(messages, list) else []) if isinstance(m, dict))
    found: list[tuple[Literal["embedded", "link"], str]] = []
    for part in holders:
        if not isinstance(part, dict):
            continue
        link = part.get("type") == "resource_link"
        inner = part if link else part.get("resource", part)
        uri = inner.get("uri") if isinstance(inner, dict) else None
        if isinstance(uri, str):
            found.append(("link" if link else "embedded", uri))
    return found


def _part_text(part: object) -> str | None:
    if not isinstance(part, dict):
        return None
    inner = part.get("resource") if part.get("type") == "resource" else part
    text = inner.get("text") if isinstance(inner, dict) else None
    return text if isinstance(text, str) else None


def _parsed(text: str) -> object:
    if text.lstrip()[:1] in ("{", "[", '"'):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _touches(scopes: list[DataScope], text: str, how: How) -> list[Touch]:
    if not scopes:
        return [Touch(None, None, _short(text), how, located=True)]
    return [Touch(scope.name, scope.scope_class, _short(text), how, True, (text,)) for scope in scopes]


def leaf_values(values: Iterable[object]) -> tuple[object, ...]:
    """The single values inside: whoever withholds one must find it in other texts."""
    found: dict[tuple[type, object], object] = {}
    pending = list(reversed(list(values)))
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(reversed(value.values()))
        elif isinstance(value, list):
            pending.extend(reversed(value))
        elif value is not None and value != "":
            found.setdefault((type(value), value), value)
    return tuple(found.values())


def outside(values: Collection[str], labels: Collection[str]) -> tuple[str, ...]:
    """Those of the values that stand in none of the labels.

    Where there are too many of both to compare each with each, a value counts as labelled only as a whole: rather
    one label too many than an agent that waits for hours.
    """
    whole = set(labels)
    left = tuple(value for value in values if value not in whole)
    if len(left) * len(labels) > _MAX_COMPARISONS:
        return left
    return tuple(value for value in left if not any(value in label for label in labels))


def _names_path(key: str) -> bool:
    lowered = key.lower()
    return lowered in _PATH_KEYS or lowered.endswith(("_path", "_file", "_dir", "_paths", "_files"))


def _short(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
