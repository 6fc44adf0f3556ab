"""The lock file of MCP tools: what each server offered when somebody looked, one tool a block, for people to review.

Model, strict reader, writer and comparison, of text. Starts no server (`adopt.lock` does) and enforces nothing: no
decision reads it in this version.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from pytest_mcp_governance.errors import ConfigurationError

LOCK_NAME = "mcp-tools.lock"
FORMAT = 1

_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SERVER_TEXTS = ("command_sha256", "name", "version", "protocol")
_MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class LockedServer:
    """A server as it was.

    Args:
        command_sha256: digest of its command, arguments and the names of its variables as mcp.json has them, so that
            no credential's value is in it.
        name: what the server calls itself.
        version: its own version.
        protocol: the MCP version that it spoke.
    """

    command_sha256: str
    name: str
    version: str
    protocol: str


@dataclass(frozen=True, slots=True)
class LockedTool:
    """A tool as its server defined it; everything in `definition` is the server's claim.

    Args:
        server: its name in mcp.json.
        name: the tool's name.
        sha256: `definition_digest` of the definition.
        definition: the definition whole, as `tools/list` gave it.
    """

    server: str
    name: str
    sha256: str
    definition: Mapping[str, object] = field(repr=False)

    @property
    def annotations(self) -> Mapping[str, object]:
        """`readOnlyHint` and the like; empty where the server gave none, which means destructive and open-world."""
        return _object(self.definition.get("annotations"))

    @property
    def input_schema(self) -> Mapping[str, object]:
        """The JSON Schema of its arguments."""
        return _object(self.definition.get("inputSchema"))

    @property
    def description(self) -> str:
        """What the server tells a model about it; hostile until it is escaped."""
        text = self.definition.get("description")
        return text if isinstance(text, str) else ""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file: servers by name, and their tools, sorted by server and name."""

    servers: Mapping[str, LockedServer]
    tools: tuple[LockedTool, ...]

    def of(self, server: str) -> tuple[LockedTool, ...]:
        """The tools of one server."""
        return tuple(tool for tool in self.tools if tool.server == server)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two locks.

    Args:
        kind: `new` and `missing` say what the later one has and lacks.
        subject: `server` or `server.tool`; hostile until it is escaped.
        detail: which field, and from what to what where that is short; hostile until it is escaped.
    """

    kind: Literal["new", "missing", "changed"]
    subject: str
    detail: str = ""


def definition_digest(definition: object) -> str:
    """SHA-256 (hex) of a tool's definition, whatever the order of its keys.

    Of its JSON with sorted keys, without blanks, in ASCII. Nothing but this file and the code that compares with it
    relies on that form.
    """
    return hashlib.sha256(_compact(definition)).hexdigest()


def locked_tool(server: str, definition: Mapping[str, object]) -> LockedTool:
    """The lock's entry for one definition that a server gave."""
    return LockedTool(server, str(definition.get("name")), definition_digest(definition), definition)


def write_lock(lock: Lock) -> str:
    """The text of a lock file: the same for the same content, whatever the order it came in."""
    servers = {
        name: {key: getattr(server, key) for key in _SERVER_TEXTS} for name, server in sorted(lock.servers.items())
    }
    tools = [
        {"server": tool.server, "name": tool.name, "sha256": tool.sha256, "definition": _sorted(tool.definition)}
        for tool in sorted(lock.tools, key=lambda tool: (tool.server, tool.name, tool.sha256))
    ]
    return json.dumps({"mcp-tools-lock": FORMAT, "servers": servers, "tools": tools}, indent=2) + "\n"


def read_lock(text: str, name: str = LOCK_NAME) -> Lock:
    """Read a lock file.

    Args:
        text: its text.
        name: its name, for messages.

    Returns:
        The lock.

    Raises:
        ConfigurationError: anything that `write_lock` would not have written: no JSON, another format, a missing,
            unknown or wrong member, a tool twice or of no server, or a definition that its digest does not match.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _Refused(name, f"not JSON: {error.msg}", error.lineno) from None
    except (RecursionError, ValueError) as error:
        raise _Refused(name, str(error) if isinstance(error, _Ambiguous) else "not JSON that can be read") from None
    root = _members(document, ("mcp-tools-lock", "servers", "tools"), name, "the file")
    if root["mcp-tools-lock"] != FORMAT or isinstance(root["mcp-tools-lock"], bool):
        raise _Refused(name, f'"mcp-tools-lock" must be {FORMAT}; this version reads no other')
    if not isinstance(root["servers"], dict) or not isinstance(root["tools"], list):
        raise _Refused(name, '"servers" must be an object and "tools" a list')
    servers = {key: _server(key, value, name) for key, value in root["servers"].items()}
    tools: dict[tuple[str, str], LockedTool] = {}
    for number, value in enumerate(root["tools"], 1):
        tool = _tool(value, f"tool {number}", servers, name)
        if (tool.server, tool.name) in tools:
            raise _Refused(name, f"tool {number}: {tool.server}.{tool.name!r} stands twice")
        tools[tool.server, tool.name] = tool
    return Lock(servers, tuple(sorted(tools.values(), key=lambda tool: (tool.server, tool.name))))


def compare(before: Lock, after: Lock) -> tuple[Difference, ...]:
    """What `after` has, lacks and says differently, by server and tool; empty where they are the same."""
    found: list[Difference] = []
    for server in sorted({*before.servers, *after.servers}):
        old, new = before.servers.get(server), after.servers.get(server)
        if old is not None and new is not None:
            found += [
                Difference("changed", server, _change(key, getattr(old, key), getattr(new, key)))
                for key in _SERVER_TEXTS
                if getattr(old, key) != getattr(new, key)
            ]
        else:
            found.append(Difference("new" if old is None else "missing", server))
        found += _tools(server, before, after)
    return tuple(found)


def changed_members(old: Mapping[str, object], new: Mapping[str, object]) -> tuple[str, ...]:
    """The paths of the smallest members in which two definitions differ; hostile until they are escaped."""
    return tuple(path for path, _, _ in _changes(old, new, ""))


class _Refused(ConfigurationError):
    def __init__(self, name: str, message: str, line: int = 0) -> None:
        place = f"{name}:{line}" if line else name
        super().__init__(f"{place}: {message}\n  A lock file is written by `mcp-governance lock`, not by hand.")


class _Ambiguous(ValueError):
    pass


def _tools(server: str, before: Lock, after: Lock) -> Iterator[Difference]:
    old, new = ({tool.name: tool for tool in lock.of(server)} for lock in (before, after))
    for name in sorted({*old, *new}):
        subject = f"{server}.{name}"
        if name not in old or name not in new:
            yield Difference("new" if name not in old else "missing", subject)
        elif old[name].sha256 != new[name].sha256:
            for path, was, now in _changes(old[name].definition, new[name].definition, ""):
                yield Difference("changed", subject, _change(path, was, now))


_ABSENT = object()


def _changes(old: object, new: object, path: str) -> Iterator[tuple[str, object, object]]:
    """(path, old, new) of the smallest members that differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _changes(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{path}.{key}" if path else str(key))
    elif _ABSENT in (old, new) or _compact(old) != _compact(new):
        yield path, old, new


def _change(path: str, old: object, new: object) -> str:
    return f"{path}: {_shown(old)} -> {_shown(new)}"


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "absent"
    text = json.dumps(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}… ({len(text)} characters)"


def _server(name: str, value: object, file: str) -> LockedServer:
    if _SERVER_NAME.fullmatch(name) is None:
        raise _Refused(file, f"server name {name[:80]!r} must be letters, digits, _ and -")
    texts = _members(value, _SERVER_TEXTS, file, f"server {name}")
    if not all(isinstance(text, str) for text in texts.values()):
        raise _Refused(file, f"server {name}: every member must be a text")
    if _DIGEST.fullmatch(str(texts["command_sha256"])) is None:
        raise _Refused(file, f"server {name}: command_sha256 must be 64 hexadecimal digits")
    return LockedServer(**cast("dict[str, str]", texts))


def _tool(value: object, what: str, servers: Mapping[str, object], file: str) -> LockedTool:
    entry = _members(value, ("server", "name", "sha256", "definition"), file, what)
    server, name, sha256, definition = entry["server"], entry["name"], entry["sha256"], entry["definition"]
    if not isinstance(server, str) or server not in servers:
        raise _Refused(file, f"{what}: its server is not among the servers of this file")
    if not isinstance(name, str) or not isinstance(definition, dict) or definition.get("name") != name:
        raise _Refused(file, f"{what}: its definition must be an object with the same name")
    if sha256 != definition_digest(definition):
        raise _Refused(file, f"{what}: its definition has another digest than sha256 says; it was edited")
    return LockedTool(server, name, str(sha256), definition)


def _members(value: object, keys: tuple[str, ...], file: str, what: str) -> dict[str, object]:
    if not isinstance(value, dict) or set(value) != set(keys):
        seen = ", ".join(sorted(map(str, value)))[:200] if isinstance(value, dict) else type(value).__name__
        raise _Refused(file, f"{what} must have exactly {', '.join(keys)}; seen {seen or 'nothing'}")
    return value


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _compact(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _sorted(value: object) -> object:
    """With sorted keys at every level, so that a server's whim of order is no difference to read."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Ambiguous("a key stands twice in one object")
    return made


def _no_constant(name: str) -> object:
    raise _Ambiguous(f"{name} is not JSON")
