"""What changed since the approved run, as the page, Markdown and the terminal tell it: values, and their lines.

Leaves out how the differences are found (`run.compare`) and how an approval is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from . import escaping

Weight = Literal["warn", "note"]
MOST_ITEMS = 20
MOST_ON_PAGE = 10  # before the reader opens the rest
_MOST_KINDS_IN_TERMINAL = 6
_MOST_ITEMS_IN_TERMINAL = 3
_MOST_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Named:
    """A recorded name, a policy's words or what an approver wrote: hostile until escaped."""

    text: str


Item = tuple[str | Named, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One kind of difference.

    Args:
        what: ours, plain text: "Wider policy".
        weight: `warn` is what a reviewer has to look at, `note` the rest.
        items: each thing that differs, in our words and recorded names.
    """

    what: str
    weight: Weight
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Since:
    """How a run differs from the approved one.

    Args:
        run: id of the approved run.
        close: its close digest, hex.
        approved_on: RFC 3339, as the approval states.
        by: who approved, as the approval states, or "".
        ticket: the same.
        signer: fingerprint of the key that signed the approval; nobody confirmed it.
        ephemeral: that key was made for the approval alone.
        source: what the approval was read from, as people call it.
        differences: most important first; empty where nothing differs.
        notes: what could not be compared, one plain sentence each.
    """

    run: str
    close: str
    approved_on: str
    by: str
    ticket: str
    signer: str
    ephemeral: bool
    source: str
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()


def terminal_lines(since: Since) -> list[str]:
    """At most eight lines, most important first. Not escaped: the terminal does that."""
    by = f", approved by {since.by}" if since.by else ""
    head = f"since approved run {since.run} ({since.approved_on[:10]}{by}): "
    if not since.differences:
        return [f"{head}nothing changed", *(f"  {note}" for note in since.notes)]
    warnings = sum(d.weight == "warn" for d in since.differences)
    lines = [head + (f"{warnings} to look at" if warnings else "nothing to look at")]
    shown = since.differences[:_MOST_KINDS_IN_TERMINAL]
    lines += [f"  {difference.what.lower()}: {_brief(difference)}" for difference in shown]
    if left := since.differences[_MOST_KINDS_IN_TERMINAL:]:
        lines.append(f"  also {', '.join(d.what.lower() for d in left)}; the report names each")
    return lines


def _brief(difference: Difference) -> str:
    items = [_cut(plain_item(item)) for item in difference.items[:_MOST_ITEMS_IN_TERMINAL]]
    left = len(difference.items) - len(items)
    return "; ".join(items) + (f"; and {left} more" if left > 0 else "")


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def plain_item(item: Item) -> str:
    """An item as one line of text, not escaped."""
    return "".join(part if isinstance(part, str) else part.text for part in item)


def markdown_lines(since: Since) -> Iterator[str]:
    """A section of GitHub's Markdown, with its heading; every recorded name in a code span."""
    yield "### Since the last approved run"
    yield ""
    yield f"{_approval(since)}."
    yield ""
    if not since.differences:
        yield "Nothing changed: the same agents, tools, data scopes, servers, tests, policy and findings."
        yield ""
    for difference in since.differences:
        yield f"- **{difference.what}**" if difference.weight == "warn" else f"- {difference.what}"
        yield from (f"  - {_marked(item)}" for item in difference.items[:MOST_ITEMS])
        if (left := len(difference.items) - MOST_ITEMS) > 0:
            yield f"  - and {left:,} more"
    yield from (f"- {escaping.prose(note)}" for note in since.notes)
    if since.differences or since.notes:
        yield ""


def _approval(since: Since) -> str:
    by = f", as {escaping.name(since.by)}" if since.by else ""
    ticket = f" (ticket {escaping.name(since.ticket)})" if since.ticket else ""
    key = " with a key made for it alone" if since.ephemeral else f" with key {escaping.code(since.signer)}"
    day = escaping.code(since.approved_on[:10])
    return f"Run {escaping.code(since.run)}, approved on {day}{by}{ticket}{key}, which nobody confirmed here"


def _marked(item: Item) -> str:
    return "".join(
        escaping.name(part.text) if isinstance(part, Named) else _words(part) for part in item if _text(part)
    )


def _words(text: str) -> str:
    core = text.strip()
    if not core:
        return text
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return f"{before}{escaping.prose(core)}{after}"


def _text(part: str | Named) -> str:
    return part if isinstance(part, str) else part.text
