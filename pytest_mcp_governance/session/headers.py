"""The headers of an HTTP request that repeat what its body says: where they contradict it, which is named.

Pure. Leaves the HTTP to the transport and what to do about a problem to the policy; `strict` reads the body.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_mcp_governance.session.strict import Parsed


_MODERN = "2026-07-28"  # the first revision whose headers must repeat what the body says
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_NAMED_BY = {
    **dict.fromkeys(("tools/call", "prompts/get"), "name"),
    **dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId"),
    "resources/read": "uri",
}
_ONCE = ("mcp-protocol-version", "mcp-method", "mcp-name")
_PARAM_PREFIX = "mcp-param-"
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DECIMAL = re.compile(r"(-?[0-9]+)(?:\.0+)?")
_ENCODED = re.compile(r"=\?base64\?(.*)\?=")


def header_problems(
    method: str, headers: Iterable[tuple[str, str]], parsed: Parsed, *, input_schema: object = None
) -> tuple[str, ...]:
    """Name what the headers of an HTTP request say otherwise than its body.

    Whoever routes by the header and whoever runs the body would otherwise see two messages. What must be there is
    asked of revision 2026-07-28 only; what is there must agree in every revision.

    Args:
        method: the HTTP method; only a POST has a body.
        headers: names and values as received, repeated ones included.
        parsed: the body.
        input_schema: the `inputSchema` of the tool that is called, None where it is not known.

    Returns:
        Codes, empty where headers and body agree. Raises nothing. Source: MCP 2026-07-28, "Streamable HTTP / Request
        Metadata" and the tasks extension, "Routing Headers".
    """
    if method.upper() != "POST":
        return ()
    given: dict[str, list[str]] = {}
    for name, value in headers:
        given.setdefault(name.lower(), []).append(value.strip(" \t"))
    mirrored = {name: values for name, values in given.items() if name in _ONCE or name.startswith(_PARAM_PREFIX)}
    problems = ["header-duplicate"] if any(len(values) > 1 for values in mirrored.values()) else []
    if any(_FIELD_VALUE.fullmatch(value) is None for values in mirrored.values() for value in values):
        problems.append("header-encoding")
    said = {name: values[0] for name, values in mirrored.items()}
    fields = parsed.fields
    params = _object(fields.get("params"))
    version = _object(params.get("_meta")).get(_VERSION_KEY)
    modern = version is not None or said.get("mcp-protocol-version", "") >= _MODERN
    required = modern and "method" in fields and "id" in fields
    problems += _standard_problems(said, fields.get("method"), params, version, required)
    problems += _param_problems(
        {name[len(_PARAM_PREFIX) :]: value for name, value in said.items() if name.startswith(_PARAM_PREFIX)},
        _object(params.get("arguments")),
        input_schema if modern else None,
    )
    return tuple(dict.fromkeys(problems))


def _standard_problems(
    said: Mapping[str, str], method: object, params: Mapping[str, object], version: object, required: bool
) -> list[str]:
    problems: list[str] = []
    named_by = _NAMED_BY.get(method) if isinstance(method, str) else None
    names = [params.get(named_by)] if named_by else [params.get(key) for key in ("name", "uri", "taskId")]
    expected = (
        ("mcp-protocol-version", "header-version", [version] if version is not None else None, required),
        ("mcp-method", "header-method", [method], required),
        ("mcp-name", "header-name", names, required and named_by is not None and names[0] is not None),
    )
    for header, code, values, needed in expected:
        if header not in said:
            problems += ["header-missing"] if needed else []
            continue
        value = _decoded(said[header]) if header == "mcp-name" else said[header]
        if value is None:
            problems.append("header-encoding")
        elif values is not None and value not in values:
            problems.append(code)
    return problems


def _param_problems(said: Mapping[str, str], arguments: Mapping[str, object], schema: object) -> list[str]:
    problems: list[str] = []
    values = {name: _decoded(value) for name, value in said.items()}
    if None in values.values():
        problems.append("header-encoding")
    declared = _declared(schema)
    if declared is None:
        # Without the schema nobody knows which argument a header repeats, but it must be one of them.
        leaves = _scalars(arguments)
        wrong = any(v is not None and not any(_agrees(v, leaf) for leaf in leaves) for v in values.values())
        return [*problems, "header-param"] if wrong else problems
    for name, path in declared.items():
        argument: object = arguments
        for key in path:
            argument = argument.get(key) if isinstance(argument, dict) else None
        value = values.get(name)
        if name not in said:
            problems += ["header-missing"] if isinstance(argument, str | int) else []
        elif value is not None and not _agrees(value, argument):
            problems.append("header-param")
    return problems


def _declared(schema: object) -> dict[str, tuple[str, ...]] | None:
    """Which argument each header repeats, by lower-case name; None where the schema does not say it soundly."""
    if not isinstance(schema, dict):
        return None
    found: dict[str, tuple[str, ...]] = {}
    pending: list[tuple[tuple[str, ...], dict[str, object]]] = [((), schema)]
    while pending:
        path, node = pending.pop()
        if "x-mcp-header" in node:
            token = node["x-mcp-header"]
            if not path or not isinstance(token, str) or _TOKEN.fullmatch(token) is None or token.lower() in found:
                return None
            if node.get("type") not in ("string", "integer", "boolean"):
                return None
            found[token.lower()] = path
        inner = _object(node.get("properties"))
        pending += [((*path, name), child) for name, child in inner.items() if isinstance(child, dict)]
    return found


def _agrees(text: str, value: object) -> bool:
    if isinstance(value, bool):
        return text == ("true" if value else "false")
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        # 42.0 and 42 are one number; a number too long to print is nothing that a header repeats.
        match = _DECIMAL.fullmatch(text[:40])
        return match is not None and len(text) <= 40 and int(match[1]) == value
    return isinstance(value, str) and text == value


def _scalars(value: object) -> list[object]:
    found: list[object] = []
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            pending += current.values()
        elif isinstance(current, list):
            pending += current
        else:
            found.append(current)
    return found


def _decoded(value: str) -> str | None:
    """A header's value without its base64 wrapper; None for a wrapper that holds no canonical base64 of UTF-8."""
    wrapped = _ENCODED.fullmatch(value)
    if wrapped is None:
        return value
    try:
        raw = base64.b64decode(wrapped[1], validate=True)
        return raw.decode("utf-8") if base64.b64encode(raw).decode() == wrapped[1] else None
    except ValueError:
        return None


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
