"""Names and URIs against patterns: exact text, `*` and `{a,b}`, for URIs and paths also `**`.

A matcher of its own, not fnmatch: a pattern always covers the whole name, `[` and `?` are plain characters, and
time is linear in the name, whatever an agent sends. Host and path patterns are built on the same globs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

MAX_ALTERNATIVES = 256
MAX_PATTERN = 1024
MAX_SUBJECT = 8192  # a longer name matches nothing

_STAR, _DEEP = "*", "**"


@dataclass(frozen=True, slots=True)
class _Sequence:
    """One brace-free alternative, as bit masks: bit i is the state "before item i"."""

    literal: str | None
    chars: dict[str, int]
    stars: int
    deep: int
    accept: int


@dataclass(frozen=True, slots=True)
class Glob:
    """A parsed pattern; build it with `parse_glob`."""

    text: str
    separator: str | None
    alternatives: tuple[_Sequence, ...] = field(repr=False, compare=False)

    def matches(self, subject: str) -> bool:
        """Whether the pattern covers the whole of `subject`; an empty or over-long one matches nothing."""
        if not subject or len(subject) > MAX_SUBJECT:
            return False
        return any(_covers(sequence, subject, self.separator) for sequence in self.alternatives)

    @property
    def exact(self) -> bool:
        """Whether the pattern is one plain name."""
        return len(self.alternatives) == 1 and self.alternatives[0].literal is not None


@dataclass(frozen=True, slots=True)
class ToolPattern:
    """A pattern over `server.tool`; the first dot divides it."""

    text: str
    server: Glob
    name: Glob

    def matches(self, server: str, name: str) -> bool:
        """Whether server and name are both covered."""
        return self.server.matches(server) and self.name.matches(name)


def parse_tool_pattern(text: str) -> ToolPattern:
    """Parse `server.tool`.

    Raises:
        ValueError: no dot, an empty part, or a part that is no pattern.
    """
    server, dot, name = text.partition(".")
    if not dot:
        raise ValueError(f'{text!r} has no dot: write server.tool, and for every tool of every server "*.*"')
    if not server or not name:
        raise ValueError(f"{text!r} has an empty part: write server.tool")
    return ToolPattern(text, parse_glob(server), parse_glob(name))


def parse_glob(text: str, *, separator: str | None = None) -> Glob:
    """Parse one pattern.

    Args:
        text: `*` is any run of characters, `{a,b}` a choice, a backslash takes the next character literally.
        separator: where given, `*` stops at it and `**` does not; without one `**` is an error.

    Raises:
        ValueError: empty, unbalanced, nested braces, empty choice, too long or too many choices.
    """
    if not text or text != text.strip():
        raise ValueError(f"{text!r} is empty or has blanks around it")
    if len(text) > MAX_PATTERN:
        raise ValueError(f"a pattern is at most {MAX_PATTERN} characters long")
    options = _parse(text, separator)
    count = 1
    for choices in options:
        count *= len(choices)
        if count > MAX_ALTERNATIVES:
            raise ValueError(f"{text!r} stands for more than {MAX_ALTERNATIVES} names")
    joined = (sum(parts, ()) for parts in product(*options))
    return Glob(text, separator, tuple(_compile(items) for items in joined))


Items = tuple[tuple[bool, str], ...]  # (is wildcard, text)


def _parse(text: str, separator: str | None) -> list[list[Items]]:
    """The pattern as a list of choices; plain text is a choice of one."""
    options: list[list[Items]] = []
    position = 0
    while position < len(text):
        if text[position] == "{":
            end = _closing(text, position)
            options.append([_simple(part, separator, text) for part in _split(text[position + 1 : end])])
            position = end + 1
            continue
        end = position
        while end < len(text) and text[end] != "{":
            end += 2 if text[end] == "\\" else 1
        options.append([_simple(text[position:end], separator, text)])
        position = end
    return options


def _closing(text: str, opened: int) -> int:
    position = opened + 1
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == "{":
            raise ValueError(f"{text!r} has braces inside braces")
        elif text[position] == "}":
            return position
        position += 1
    raise ValueError(f"{text!r} has an opening brace without a closing one")


def _split(inside: str) -> list[str]:
    parts, current, position = [], "", 0
    while position < len(inside):
        if inside[position] == "\\":
            current += inside[position : position + 2]
            position += 2
        elif inside[position] == ",":
            parts.append(current)
            current, position = "", position + 1
        else:
            current += inside[position]
            position += 1
    return [*parts, current]


def _simple(part: str, separator: str | None, whole: str) -> Items:
    if not part:
        raise ValueError(f"{whole!r} has an empty choice")
    items: list[tuple[bool, str]] = []
    position = 0
    while position < len(part):
        char = part[position]
        if char == "\\":
            if position + 1 == len(part):
                raise ValueError(f"{whole!r} ends in a lone backslash")
            items.append((False, part[position + 1]))
            position += 2
        elif char == "*":
            run = len(part) - position - len(part[position:].lstrip("*"))
            if run > 2 or (run == 2 and separator is None):
                raise ValueError(f"{whole!r}: write one * for any run of characters")
            items.append((True, "*" * run))
            position += run
        elif char in "{}":
            raise ValueError(f"{whole!r} has a brace that closes nothing; a literal one is written \\}}")
        else:
            items.append((False, char))
            position += 1
    return tuple(items)


def _compile(items: Items) -> _Sequence:
    merged: list[tuple[bool, str]] = []
    for wild, text in items:
        if wild and merged and merged[-1][0]:
            merged[-1] = (True, max(merged[-1][1], text, key=len))  # neighbours across a brace
        else:
            merged.append((wild, text))
    chars: dict[str, int] = {}
    stars = deep = 0
    for index, (wild, text) in enumerate(merged):
        if not wild:
            chars[text] = chars.get(text, 0) | 1 << index
        elif text == _DEEP:
            deep |= 1 << index
        else:
            stars |= 1 << index
    literal = None if stars or deep else "".join(text for _, text in merged)
    return _Sequence(literal, chars, stars, deep, 1 << len(merged))


def _covers(sequence: _Sequence, subject: str, separator: str | None) -> bool:
    if sequence.literal is not None:
        return sequence.literal == subject
    chars, stars, deep = sequence.chars, sequence.stars, sequence.deep
    wild = stars | deep
    states = 1 | (1 & wild) << 1
    for char in subject:
        kept = states & (deep if char == separator else wild)
        states = (states & chars.get(char, 0)) << 1 | kept
        states |= (states & wild) << 1
        if not states:
            return False
    return bool(states & sequence.accept)
