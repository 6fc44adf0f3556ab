"""Shows the JSON of a message as people read it, without losing what a parser loses.

Doubled keys, big integers, exponents and NaN stay as written; what cannot be read stays as it is. Base64
picture data is replaced by its length, because the picture itself is shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_mcp_governance.evidence.reader import Withheld

from .model import Text

MAX_DEPTH = 60
MAX_PARSED = 4 * 1024 * 1024
MAX_LINES = 600
LONG_DATA = 512


@dataclass(frozen=True, slots=True)
class Object:
    """A JSON object with its members as written, doubled keys included."""

    members: tuple[tuple[str, object], ...]

    def get(self, key: str) -> object:
        return next((v for k, v in reversed(self.members) if k == key), None)


@dataclass(frozen=True, slots=True)
class Number:
    written: str


@dataclass(frozen=True, slots=True)
class Readable:
    """A message for people: `arguments` or `answer` as text, whether the tool reported an error."""

    body: Text
    is_error: bool = False
    short: str = ""


def request(wire: Text) -> Readable:
    """Arguments of a tool call, or the parameters of any other request."""
    message = parse(wire)
    if not isinstance(message, Object):
        return Readable(wire, short="")
    params = message.get("params")
    inner = params.get("arguments") if isinstance(params, Object) else None
    body = inner if isinstance(inner, Object) else params
    if body is None or (isinstance(body, Object) and not body.members):
        return Readable("")
    return Readable(pretty(body), short=_short(body))


def answer(wire: Text) -> Readable:
    """The text parts of a tool's answer where it has only such parts, else its result or error as JSON."""
    message = parse(wire)
    if not isinstance(message, Object):
        return Readable(wire)
    if (error := message.get("error")) is not None:
        return Readable(pretty(error), is_error=True)
    result = message.get("result")
    if not isinstance(result, Object):
        return Readable("" if result is None else pretty(result))
    failed = result.get("isError") is True
    texts = _only_texts(result)
    return Readable(pretty(result) if texts is None else "\n".join(texts), is_error=failed)


def parse(wire: Text) -> object:
    """The parsed message, or None when it is withheld, not JSON, too deep or too long."""
    if isinstance(wire, Withheld) or len(wire) > MAX_PARSED:
        return None
    try:
        parsed: object = json.loads(
            wire,
            object_pairs_hook=lambda pairs: Object(tuple(pairs)),
            parse_int=Number,
            parse_float=Number,
            parse_constant=Number,
        )
    except (ValueError, RecursionError):
        return None
    return parsed


def pretty(value: object) -> str:
    """Indented JSON; at most 600 lines."""
    lines: list[str] = []
    _write(value, "", "", lines, 0)
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… {len(lines) - MAX_LINES} more lines"]
    return "\n".join(lines)


def _write(value: object, indent: str, lead: str, lines: list[str], depth: int) -> None:
    if len(lines) > MAX_LINES * 20:
        return
    items: Sequence[tuple[str, object]]
    if isinstance(value, Object):
        items, ends = [(f"{_quoted(k)}: ", _shortened(k, v)) for k, v in value.members], "{}"
    elif isinstance(value, list):
        items, ends = [("", v) for v in value], "[]"
    else:
        lines.append(indent + lead + _scalar(value))
        return
    if not items or depth > MAX_DEPTH:
        lines.append(indent + lead + (ends if not items else f"{ends[0]} … {ends[1]}"))
        return
    lines.append(indent + lead + ends[0])
    for n, (key, item) in enumerate(items):
        _write(item, indent + "  ", key, lines, depth + 1)
        if n < len(items) - 1 and lines:
            lines[-1] += ","
    lines.append(indent + ends[1])


def _shortened(key: str, value: object) -> object:
    if key == "data" and isinstance(value, str) and len(value) > LONG_DATA and " " not in value[:LONG_DATA]:
        return f"({len(value):,} characters of base64, shown as a picture or kept in the record)"
    return value


def _scalar(value: object) -> str:
    if isinstance(value, Number):
        return value.written
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _short(body: object) -> str:
    if not isinstance(body, Object):
        return ""
    scalars = [v for _, v in body.members if isinstance(v, (str, Number)) and v != ""]
    return "  ".join(v.written if isinstance(v, Number) else _first_line(v) for v in scalars[:3])


def _first_line(text: str) -> str:
    first, newline, _ = text.partition("\n")
    return first + "…" if newline else first


def _only_texts(result: Object) -> list[str] | None:
    content = result.get("content")
    known = {"content", "isError", "_meta", "structuredContent"}
    if not isinstance(content, list) or not content or any(k not in known for k, _ in result.members):
        return None
    texts = []
    for part in content:
        if not isinstance(part, Object) or part.get("type") != "text":
            return None
        text = part.get("text")
        if not isinstance(text, str):
            return None
        texts.append(text)
    return texts
