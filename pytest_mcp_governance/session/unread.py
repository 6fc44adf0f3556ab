"""A message that is too long to be read: what can be told of it from its two ends.

Decides nothing. What it tells serves only to answer whoever waits: nothing of such a message is passed on.
"""

import json
import re
from dataclasses import dataclass

END_BYTES = 4096

_VALUE = r'(?:"(?:[^"\\]|\\.)*"|-?[0-9]+|null|true|false)'
_FIRST = re.compile(rf'\s*"([a-z]+)"\s*:\s*({_VALUE})\s*,')
_LAST = re.compile(rf'[}}\]"0-9a-z]((?:\s*,\s*"(?:jsonrpc|id|method)"\s*:\s*{_VALUE})+)\s*}}\s*$')
_MEMBER = re.compile(rf'"(jsonrpc|id|method)"\s*:\s*({_VALUE})')


@dataclass(frozen=True, slots=True)
class Unread:
    """The ends of a line past the limit, its length in bytes and its SHA-256 (hex); the rest was not kept."""

    head: bytes
    tail: bytes
    size: int
    sha256: str

    def names(self) -> tuple[int | str | None, str | None]:
        """Its id and method, each None where its ends do not say it, or say two things.

        Clients write them before the long part (`jsonrpc`, `id`, `method`, then `params`) or after it.
        """
        said: dict[str, list[object]] = {"id": [], "method": []}
        for name, value in (*_first(self.head), *_last(self.tail)):
            said.setdefault(name, []).append(value)
        id_, method = (found[0] if len(found) == 1 else None for found in (said["id"], said["method"]))
        return (
            id_ if isinstance(id_, int | str) and not isinstance(id_, bool) else None,
            method if isinstance(method, str) else None,
        )


def in_units(size: int) -> str:
    """A number of bytes as people write it: `64 MiB`."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size % 2**power == 0:
            return f"{size >> power} {unit}"
    return f"{size} bytes"


def _first(head: bytes) -> list[tuple[str, object]]:
    """The members before the first one that holds an object, a list or a long text."""
    text = head.decode("utf-8", "replace")
    begin = re.match(r"\s*\{", text)
    found: list[tuple[str, object]] = []
    position = begin.end() if begin else len(text)
    while member := _FIRST.match(text, position):
        found.append((member[1], _decoded(member[2])))
        position = member.end()
    return found


def _last(tail: bytes) -> list[tuple[str, object]]:
    end = _LAST.search(tail.decode("utf-8", "replace"))
    return [(name, _decoded(value)) for name, value in _MEMBER.findall(end[1])] if end else []


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
