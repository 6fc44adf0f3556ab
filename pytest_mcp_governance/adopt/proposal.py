"""What a policy could say of a server's tools, with the reason for each: from the server's own annotations and schemas.

A proposal for a person to review: annotations are the server's claims, and nothing here is enforced. Absent ones mean
destructive and open-world. A tool's name is never permission; it only makes a suggestion that stays commented out.
"""

from __future__ import annotations

import math
import os.path
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeGuard

from pytest_mcp_governance.session.server import ServerSpec

Limits = Mapping[str, Mapping[str, object]]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_PLAIN_TEXT = re.compile(r"[ -~]{1,200}")
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_READING_VERB = re.compile(r"(?:.*[._-])?(?:get|list|read|search|find|describe|show|count|query)(?:[._-].*|[A-Z].*)?")
_PATH_NAME = re.compile(
    r"(?:.*_)?(?:path|file|filename|dir|directory|folder|source|destination|root)s?"
    r"|.*(?:Path|File|Filename|Dir|Directory|Folder)s?"
)
# Words of a tool's name that say what its answer may hold. Such a tool is never called unasked.
_TELLING = frozenset(
    {"auth", "config", "configuration", "cookie", "cookies", "credential", "credentials", "dotenv", "env"}
    | {"environment", "key", "keys", "passwd", "password", "passwords", "secret", "secrets", "setting", "settings"}
    | {"token", "tokens", "variable", "variables"}
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_TYPES = ("string", "integer", "number", "boolean", "array", "object")
_MOST_CHOICES = 50
_UNBOUNDED = 2**53 - 1  # schema generators write the largest safe integer where there is no bound


@dataclass(frozen=True, slots=True)
class ToolProposal:
    """What is proposed for one tool.

    Args:
        server: its server's name.
        name: its name; hostile until it is escaped, unless it is allowed or denied.
        effect: `allow` and `deny` become rules; `leave` is denied because no rule allows it.
        reason: why, in words that hold nothing of the server's.
        limits: on its arguments, as a policy has them; None for none.
        reads_by_name: whether its name begins like one that only reads.
        call: arguments of a call that can be made safely; None where there is none.
    """

    server: str
    name: str
    effect: Literal["allow", "deny", "leave"]
    reason: str
    limits: Limits | None = None
    reads_by_name: bool = False
    call: Mapping[str, object] | None = field(default=None)


def propose(server: str, definition: Mapping[str, object], roots: Sequence[str] = ()) -> ToolProposal:
    """Propose a rule for one tool.

    Args:
        server: its server's name.
        definition: as `tools/list` gave it.
        roots: the folders that the server serves, for arguments that are paths.
    """
    name = str(definition.get("name"))
    if _PLAIN_NAME.fullmatch(name) is None:
        return ToolProposal(server, name, "leave", "its name is not made of letters, digits, _ . and -")
    hints = _mapping(definition.get("annotations"))
    reads, destroys = hints.get("readOnlyHint"), hints.get("destructiveHint")
    by_name = _READING_VERB.fullmatch(name) is not None
    if not {"readOnlyHint", "destructiveHint"} & hints.keys():
        reason = "no annotations, which counts as destructive and open-world"
        return ToolProposal(server, name, "leave", reason, reads_by_name=by_name)
    if reads is True and destroys is True:
        return ToolProposal(server, name, "leave", "calls itself read-only and destructive at once")
    if reads is True:
        return _reading(server, name, definition, hints, roots)
    if destroys is True:
        return ToolProposal(server, name, "deny", "destructiveHint: true")
    if destroys is not False:
        # Absent means destructive (MCP, ToolAnnotations); nothing and error are not permission.
        return ToolProposal(server, name, "deny", "readOnlyHint: false, and destructive unless it says otherwise")
    reason = "writes (readOnlyHint: false)" if reads is False else "does not say that it only reads"
    return ToolProposal(server, name, "leave", reason)


def served_folders(spec: ServerSpec) -> tuple[str, ...]:
    """The folders that a file or git server serves, as its arguments name them; empty where that is not known."""
    words = [spec.command, *spec.args]
    named: list[str] = []
    for number, word in enumerate(words):
        if word in ("--repository", "-r") and any("git" in other for other in words):
            named += words[number + 1 : number + 2]
        elif "filesystem" in word.rpartition("/")[2] or "server-filesystem" in word:
            named += [other for other in words[number + 1 :] if not other.startswith("-")]
            break
    if not named or not all(os.path.isdir(Path(spec.cwd) / folder) for folder in named):
        return ()
    # A policy takes a relative folder from pytest's rootdir, which is where these servers start.
    usable = all(_PLAIN_TEXT.fullmatch(folder) and ".." not in folder.split("/") for folder in named)
    return tuple(dict.fromkeys(named)) if usable else ()


def _reading(
    server: str, name: str, definition: Mapping[str, object], hints: Mapping[str, object], roots: Sequence[str]
) -> ToolProposal:
    schema = _mapping(definition.get("inputSchema"))
    properties = _mapping(schema.get("properties"))
    listed = schema.get("required")
    required = [str(item) for item in listed] if isinstance(listed, list) else []
    if roots:
        listing = next((key for key, value in properties.items() if _is_path_list(key, value)), None)
        if listing is not None:
            reason = "takes a list of paths, which no policy limits to the served folder"
            return ToolProposal(server, name, "leave", reason)
    limits = _limits(properties, required, roots)
    outside = hints.get("openWorldHint") is not False
    telling = not _TELLING.isdisjoint(word.lower() for word in _WORDS.findall(name))
    call = None if outside or telling else _safe_call(properties, required, limits)
    reason = "readOnlyHint: true" + (", but it may reach outside (openWorldHint)" if outside else "")
    if not roots and any(_is_path(key, value) for key, value in properties.items()):
        reason += "; reads any path, as nothing says which folder it serves"
    if telling:
        reason += "; by its name its answer may hold credentials or settings"
    return ToolProposal(server, name, "allow", reason, limits, call=call)


def _limits(properties: Mapping[str, object], required: Sequence[str], roots: Sequence[str]) -> Limits | None:
    """Limits on every argument, if the schema gives one of them more than a type; None otherwise."""
    if not all(_PLAIN_TEXT.fullmatch(key) for key in properties):
        return None
    made: dict[str, dict[str, object]] = {}
    telling = False
    for key, value in properties.items():
        schema = _mapping(value)
        operators = dict(_operators(key, schema, roots))
        telling = telling or bool(operators)
        kind = schema.get("type")
        if not operators or not {"in", "within", "scheme"} & operators.keys():
            operators = {"type": kind if kind in _TYPES else "any", **operators}
        made[key] = operators | ({} if key in required else {"optional": True})
    return made if telling else None


def _operators(key: str, schema: Mapping[str, object], roots: Sequence[str]) -> Iterator[tuple[str, object]]:
    kind, choices = schema.get("type"), schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(choices, list) and 0 < len(choices) <= _MOST_CHOICES and all(map(_is_writable, choices)):
        yield "in", choices
    elif kind == "string" and roots and _PATH_NAME.fullmatch(key):
        yield "within", roots[0] if len(roots) == 1 else list(roots)
    elif kind == "string" and schema.get("format") in ("uri", "url"):
        yield "scheme", ["https"]
    elif kind in ("integer", "number"):
        for bound, operator in (("minimum", "min"), ("maximum", "max")):
            number = schema.get(bound)
            if _is_number(number) and abs(number) < _UNBOUNDED:
                yield operator, number


def _safe_call(
    properties: Mapping[str, object], required: Sequence[str], limits: Limits | None
) -> Mapping[str, object] | None:
    """Arguments that the schema itself gives: a default, a choice, an example; None where one has to be invented."""
    made: dict[str, object] = {}
    for key in required:
        schema = _mapping(properties.get(key))
        given = next(iter(_given(schema)), None)
        operators = (limits or {}).get(key, {})
        if given is None or not _is_writable(given) or {"within", "scheme"} & operators.keys():
            return None
        low, high = operators.get("min"), operators.get("max")
        if isinstance(given, int | float) and (
            (isinstance(low, int | float) and given < low) or (isinstance(high, int | float) and given > high)
        ):
            return None
        made[key] = given
    return made


def _given(schema: Mapping[str, object]) -> Iterator[object]:
    choices, examples = schema.get("enum"), schema.get("examples")
    if isinstance(choices, list) and choices:
        yield schema["default"] if schema.get("default") in choices else choices[0]
    if "const" in schema:
        yield schema["const"]
    if schema.get("default") is not None:
        yield schema["default"]
    if isinstance(examples, list) and examples:
        yield examples[0]


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and _is_writable(value)


def _is_path(key: str, value: object) -> bool:
    return _mapping(value).get("type") in ("string", "array") and _PATH_NAME.fullmatch(key) is not None


def _is_path_list(key: str, value: object) -> bool:
    return _mapping(value).get("type") == "array" and _PATH_NAME.fullmatch(key) is not None


def _is_writable(value: object) -> bool:
    """Whether a value reads back from YAML and from Python as what it is."""
    if isinstance(value, str):
        return _PLAIN_TEXT.fullmatch(value) is not None
    if isinstance(value, bool):
        return True
    return isinstance(value, int | float) and math.isfinite(value) and _PLAIN_NUMBER.fullmatch(repr(value)) is not None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
