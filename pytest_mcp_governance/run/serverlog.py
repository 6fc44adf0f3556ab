"""A server's own log as tool calls: JSON lines, or text lines that a pattern takes apart. Pure; reads no times.

What a line does not say is None. A line that is no call is passed over, and counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pytest_mcp_governance.errors import ConfigurationError

_GROUPS = frozenset({"tool", "args"})
_ARGUMENTS = ("arguments", "args", "input", "params")
_TOOL = ("tool", "name", "tool_name")
MAX_LINE_CHARS = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A call as a server's log has it.

    Args:
        line: 1-based.
        tool: its name.
        arguments: canonical text of the arguments, None where the log does not give them.
    """

    line: int
    tool: str
    arguments: str | None


@dataclass(frozen=True, slots=True)
class ServerLog:
    """The calls of a log in its order, and how many of its lines were none."""

    calls: tuple[LoggedCall, ...]
    others: int


def canonical(arguments: object) -> str:
    """Arguments as one text: the same for the same JSON value, whatever the order of its members."""
    return json.dumps(arguments if arguments is not None else {}, sort_keys=True, separators=(",", ":"))


def compile_pattern(text: str) -> re.Pattern[str]:
    """Read a `--pattern`.

    Raises:
        ConfigurationError: no regular expression, or one without a group `tool`.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ConfigurationError(f"the pattern is no regular expression: {error}") from None
    if "tool" not in pattern.groupindex:
        known = ", ".join(f"(?P<{name}>…)" for name in sorted(_GROUPS, reverse=True))
        raise ConfigurationError(f"the pattern has no group named tool; it knows {known}, args as JSON")
    return pattern


def read_log(lines: Iterable[str], pattern: re.Pattern[str] | None = None) -> ServerLog:
    """Read a log.

    Args:
        lines: its lines.
        pattern: what takes a line apart; None for JSON lines, of which each is a JSON-RPC `tools/call`, or an object
            with `tool` (or `name`) and `arguments` (or `args`, `input`, `params`).
    """
    calls: list[LoggedCall] = []
    others = 0
    for number, line in enumerate(lines, 1):
        found = list(_matched(line, pattern) if pattern is not None else _json_calls(line))
        others += not found and bool(line.strip())
        calls += (LoggedCall(number, tool, arguments) for tool, arguments in found)
    return ServerLog(tuple(calls), others)


def _matched(line: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, str | None]]:
    found = pattern.search(line)
    if found is None or not found["tool"]:
        return
    text = found["args"] if "args" in pattern.groupindex else None
    try:
        yield found["tool"], canonical(json.loads(text)) if text is not None else None
    except (ValueError, RecursionError):
        yield found["tool"], None  # arguments that cannot be read are not known, and match none for certain


def _json_calls(line: str) -> Iterator[tuple[str, str | None]]:
    text = line.lstrip()
    start = 0 if text.startswith("[{") else text.find("{")  # a logger may have written something in front
    if start < 0 or len(text) > MAX_LINE_CHARS:
        return
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return
    for message in value if isinstance(value, list) else [value]:
        if isinstance(message, dict):
            yield from _call(message)


def _call(message: Mapping[str, object]) -> Iterator[tuple[str, str | None]]:
    if "method" in message or "jsonrpc" in message:
        params = message.get("params")
        if message.get("method") == "tools/call" and isinstance(params, dict) and isinstance(params.get("name"), str):
            yield params["name"], canonical(params.get("arguments"))
        return
    tool = next((message[key] for key in _TOOL if isinstance(message.get(key), str)), None)
    if isinstance(tool, str) and tool:
        given = next((message[key] for key in _ARGUMENTS if key in message), None)
        known = any(key in message for key in _ARGUMENTS)
        yield tool, canonical(given) if known else None
