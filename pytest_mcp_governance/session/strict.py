"""Strict parse of a copy of one MCP message: what recorder and server could read differently is named.

Leaves out what to do about a problem (the policy decides), framing (see `wire`) and HTTP headers (see `headers`).
The bytes that are forwarded are never the ones made here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeGuard

from pytest_mcp_governance.session.headers import header_problems

__all__ = ["Kind", "Parsed", "header_problems", "is_id", "parse"]

Kind = Literal["request", "result", "error", "notification", "invalid"]

# Tabs between tokens are JSON, and inside a text no JSON reader takes them; a bare CR ends a line for some servers.
# By deletion, because an expression takes twenty times as long to find that there is none.
_NO_CONTROL = bytes(byte for byte in range(256) if byte >= 0x20 or byte == 0x09)
_SPACE_OR_TEXT = _NO_CONTROL + b"\r\n"
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_TOP_KEYS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_PARAM_KEYS = frozenset(
    {"name", "arguments", "uri", "ref", "task", "taskId", "inputResponses", "requestState", "requestId", "_meta"}
)
_RESULT_KEYS = frozenset(
    {
        "content",
        "structuredContent",
        "isError",
        "resultType",
        "inputRequests",
        "requestState",
        "task",
        "taskId",
        "roots",
    }
)
_REF_KEYS = frozenset({"type", "name", "uri"})
_ASKED_KEYS = frozenset({"method", "params"})


def _folded(keys: frozenset[str]) -> dict[str, str]:
    return {key.casefold(): key for key in keys} | {key: key for key in keys}


_TOP, _PARAMS, _RESULTS, _REFS, _ASKED = (
    _folded(keys) for keys in (_TOP_KEYS, _PARAM_KEYS, _RESULT_KEYS, _REF_KEYS, _ASKED_KEYS)
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """One message as a strict reader sees it.

    `problems` names everything on account of which another reader might see another message; it is empty for a
    message that has one reading only. `value` is a best effort where there are problems, `None` where none is possible.
    """

    kind: Kind
    value: object
    problems: tuple[str, ...]

    @property
    def fields(self) -> Mapping[str, object]:
        """The message's members, empty where it is no object."""
        return self.value if isinstance(self.value, dict) else {}


def parse(raw: bytes, *, lines: bool = True) -> Parsed:
    """Parse one message.

    Args:
        raw: the message's bytes; of a stdio stream a line without its `\\n`.
        lines: whether it came as a line. The body of an HTTP message has a length of its own, so that a line break
            between its tokens is what JSON says it is, space.

    Returns:
        The message and the problems that make it ambiguous. Raises nothing. Sources: JSON-RPC 2.0, RFC 8259
        (sections 4, 6 and 8), MCP 2025-11-25 "stdio".
    """
    problems: list[str] = []
    body = raw[:-1] if raw.endswith(b"\r") else raw
    if body.startswith(b"\xef\xbb\xbf"):
        problems.append("bom")
        body = body[3:]
    if body.translate(None, _NO_CONTROL if lines else _SPACE_OR_TEXT):
        problems.append("control-byte")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        problems.append("utf8")
        text = body.decode("utf-8", "replace")
    value = _load(text, problems)
    if isinstance(value, dict):
        return _classify(value, problems)
    problems.append("batch" if isinstance(value, list) else "not-object")
    return Parsed("invalid", value, _unique(problems))


class _Ambiguous(Exception):
    """The text is JSON that two readers may read differently."""


def _unique_pairs(items: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(items)
    if len(made) != len(items):
        raise _Ambiguous
    return made


def _no_constant(_: str) -> None:
    raise _Ambiguous


# Sound messages are nearly all there are: one decoder, made once, reads those.
_decode = json.JSONDecoder(object_pairs_hook=_unique_pairs, parse_constant=_no_constant).decode


def _load(text: str, problems: list[str]) -> object:
    try:
        value: object = _decode(text)
    except _Ambiguous:
        value = _load_ambiguous(text, problems)
    except (ValueError, RecursionError) as error:
        problems.append("depth" if isinstance(error, RecursionError) else "syntax")
        return None
    if _SURROGATE_ESCAPE.search(text) and _has_lone_surrogate(value):
        problems.append("surrogate")
    return value


def _load_ambiguous(text: str, problems: list[str]) -> object:
    """Read it as most readers would, and name what makes it ambiguous."""

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(items)
        if len(made) != len(items):
            problems.append("duplicate-key")
        return made

    def constant(_: str) -> None:
        problems.append("nan")

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        problems.append("depth" if isinstance(error, RecursionError) else "syntax")
        return None


def _has_lone_surrogate(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _classify(value: dict[str, object], problems: list[str]) -> Parsed:
    if _has_case_variant(value):
        problems.append("case-variant")
    if value.get("jsonrpc") != "2.0":
        problems.append("jsonrpc-version")
    kind = _kind(value)
    if kind == "invalid":
        problems.append("shape")
    # Every problem makes the message one that two readers may read differently, so none of them keeps its kind.
    return Parsed("invalid" if problems else kind, value, _unique(problems))


def _has_case_variant(value: Mapping[str, object]) -> bool:
    """Whether a reader that takes members in any case would find one that decides what the message does."""
    params, result = value.get("params"), value.get("result")
    held: list[tuple[object, dict[str, str]]] = [(value, _TOP), (params, _PARAMS), (result, _RESULTS)]
    if isinstance(params, dict):
        held.append((params.get("ref"), _REFS))
    asked = result.get("inputRequests") if isinstance(result, dict) else None
    if isinstance(asked, dict):
        held += [(question, _ASKED) for question in asked.values()]
    return any(
        folded.get(key if key in folded else key.casefold(), key) != key
        for members, folded in held
        if isinstance(members, dict)
        for key in members
    )


def _kind(value: Mapping[str, object]) -> Kind:
    if "method" in value:
        if not isinstance(value["method"], str) or "result" in value or "error" in value:
            return "invalid"
        if "id" not in value:
            return "notification"
        return "request" if is_id(value["id"]) else "invalid"
    if ("result" in value) == ("error" in value) or "params" in value:
        return "invalid"
    if "result" in value:
        return "result" if is_id(value.get("id")) else "invalid"
    # JSON-RPC 2.0, section 5: an error that answers an unreadable request has the id null.
    return "error" if value.get("id") is None or is_id(value["id"]) else "invalid"


def is_id(value: object) -> TypeGuard[int | str]:
    """Whether `value` may identify a request: a string, or an integer that every JSON reader keeps (RFC 8259, 6).

    MCP forbids null, JSON-RPC 2.0 advises against fractions.
    """
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53)


def _unique(problems: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(problems))
