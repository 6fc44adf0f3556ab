"""Hostile text made safe for a terminal: everything that is not a plainly visible character becomes `\\u{…}`.

Leaves out HTML; pages have their own rules.
"""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe(text: str, limit: int = 200) -> str:
    """Return `text` with control, format, bidi, private, unassigned and lone surrogate characters escaped.

    Args:
        text: anything from inside evidence, or a path.
        limit: characters of `text` that are kept; the rest is replaced by `…`.
    """
    shown = text if len(text) <= limit else text[:limit] + "…"
    return "".join(_visible(character) for character in shown)


def quoted(text: str, *, lines: int, limit: int = 500) -> list[str]:
    """The last lines of what somebody else wrote, safe for a terminal and for a CI's log.

    Args:
        text: anything.
        lines: how many of its last lines are kept.
        limit: characters of a line that are kept.

    Returns:
        The lines, each behind `| `, so that none begins like a command to the CI (GitHub's `::error::`, `##[group]`).
    """
    last = [line for line in text.splitlines() if line.strip()][-lines:]
    return [f"| {safe(line, limit)}".replace("##[", "# #[") for line in last]


def _visible(character: str) -> str:
    if " " <= character <= "~":
        return character
    if unicodedata.category(character) in _HIDDEN or (character.isspace() and character != " "):
        return f"\\u{{{ord(character):x}}}"
    return character
