"""A comparison of policies as Markdown and as plain lines, for a pull request and a terminal.

Everything that stands in a policy is hostile until it is escaped here. Compares nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_mcp_governance.policy.changes import Change, PolicyDiff

MAX_ROWS = 60
MAX_CELL = 300
_PLAIN = frozenset(" .,:;/()'\"=+%?^-")  # besides letters and digits; everything else is written as an entity
_WORDS = {"wider": "WIDER", "changed": "CHANGED", "narrower": "narrower"}


def as_markdown(diff: PolicyDiff) -> str:
    """One heading, one sentence, one table; what is wider comes first."""
    lines = ["### Policy changes", "", headline(diff), ""]
    if diff.changes:
        rows = _rows(diff.changes)
        lines += ["| | Agent | Tool | Before | After |", "|---|---|---|---|---|", *rows[:MAX_ROWS]]
        if len(rows) > MAX_ROWS:
            lines += ["", f"{len(rows) - MAX_ROWS} more rows are left out; `mcp-governance policy diff` prints all."]
    return "\n".join(lines) + "\n"


def headline(diff: PolicyDiff) -> str:
    """What it comes to, in one sentence."""
    if not diff.changes:
        return "What agents may do stays the same."
    waived = sum(1 for change in diff.changes if change.direction != "narrower" and change.waiver is not None)
    wider = sum(1 for change in diff.changes if change.widens)
    parts = []
    if wider:
        parts.append(f"{_counted(wider, 'change')} {'lets' if wider == 1 else 'let'} agents do more, or may")
    if waived:
        parts.append(f"{_counted(waived, 'widening')} {'is' if waived == 1 else 'are'} covered by a waiver")
    if not parts:
        return "Agents may do less than before, and nothing more."
    return "; ".join(parts) + "."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def mark(change: Change) -> str:
    """The word for the direction, with the waiver where one covers it."""
    word = _WORDS[change.direction]
    return f"{word}, waiver {change.waiver}" if change.waiver else word


def _rows(changes: Sequence[Change]) -> list[str]:
    """One row for what is the same but for its tool."""
    grouped: dict[tuple[str, str, str, str, str], list[str]] = {}
    for change in changes:
        key = (mark(change), change.agent, change.before, change.after, change.detail)
        grouped.setdefault(key, []).append(change.tool)
    rows = []
    for (word, agent, before, after, detail), tools in grouped.items():
        shown = ", ".join(tools[:5]) + (f" and {len(tools) - 5} more" if len(tools) > 5 else "")
        after = "; ".join(part for part in (after, detail) if part)
        bold = "" if word.startswith("narrower") else "**"
        cells = (f"{bold}{escape(word)}{bold}", *(escape(text) or "-" for text in (agent, shown, before, after)))
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def escape(text: str, limit: int = MAX_CELL) -> str:
    """`text` so that no Markdown or HTML reader finds anything in it but characters.

    Every character that is no plain letter, digit or harmless sign becomes a numeric entity; what is not printable
    is first written as an escape.
    """
    shown = text if len(text) <= limit else text[:limit] + "…"
    visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)
    return "".join(c if c.isalnum() or c in _PLAIN else f"&#{ord(c)};" for c in visible)
