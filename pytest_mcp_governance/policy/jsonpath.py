"""A small subset of JSONPath (RFC 9535) for result paths: `$`, `.name`, `['name']`, `[0]`, `[*]`, `.*`.

Left out on purpose: `..`, slices, filters and functions; they are errors, never ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_STEP = re.compile(
    r"\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|\.(?P<dotstar>\*)|\[(?P<star>\*)\]|\[(?P<index>0|-?[1-9][0-9]{0,8})\]"
    r"|\['(?P<single>[^'\\]+)'\]|\[\"(?P<double>[^\"\\]+)\"\]"
)


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A parsed path; `steps` are member names, indices, or None for every child."""

    text: str
    steps: tuple[str | int | None, ...]

    def values(self, document: object) -> list[object]:
        """Every value at the path, in document order; none where the document has another shape."""
        found = [document]
        for step in self.steps:
            found = [child for value in found for child in _children(value, step)]
        return found


def parse_jsonpath(text: str) -> JsonPath:
    """Parse a path.

    Raises:
        ValueError: not a path of the supported subset.
    """
    if not text.startswith("$"):
        raise ValueError(f"{text!r} does not start with $")
    steps: list[str | int | None] = []
    position = 1
    while position < len(text):
        match = _STEP.match(text, position)
        if not match:
            raise ValueError(
                f"{text!r} cannot be read from {text[position:]!r} on: supported are .name, ['name'], [0], [*] and .*"
            )
        steps.append(_step(match))
        position = match.end()
    return JsonPath(text, tuple(steps))


def _step(match: re.Match[str]) -> str | int | None:
    if match["index"] is not None:
        return int(match["index"])
    return match["name"] or match["single"] or match["double"]


def _children(value: object, step: str | int | None) -> list[object]:
    if step is None:
        if isinstance(value, dict):
            return list(value.values())
        return list(value) if isinstance(value, list) else []
    if isinstance(step, str):
        return [value[step]] if isinstance(value, dict) and step in value else []
    if isinstance(value, list) and -len(value) <= step < len(value):
        return [value[step]]
    return []
