"""Makes text from records harmless and honest: what cannot be seen is shown as a chip, nothing becomes markup.

`show` is for element content, `plain` for attributes, titles and as the default of every template expression.
Every function takes any string (lone surrogates included) and returns one that encodes to UTF-8.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

from pytest_mcp_governance.evidence.reader import Withheld

from .model import Text

SHOWN_BYTES = 8 * 1024
BRIEF_BYTES = 1024
NAMED_LETTERS = 4

NAMES = {
    0x00: "NUL",
    0x07: "BEL",
    0x08: "BS",
    0x09: "TAB",
    0x0A: "LF",
    0x0D: "CR",
    0x1B: "ESC",
    0x7F: "DEL",
    0xA0: "NBSP",
    0xAD: "SHY",
    0x61C: "ALM",
    0x200B: "ZWSP",
    0x200C: "ZWNJ",
    0x200D: "ZWJ",
    0x200E: "LRM",
    0x200F: "RLM",
    0x2028: "LSEP",
    0x2029: "PSEP",
    0x202A: "LRE",
    0x202B: "RLE",
    0x202C: "PDF",
    0x202D: "LRO",
    0x202E: "RLO",
    0x2060: "WJ",
    0x2066: "LRI",
    0x2067: "RLI",
    0x2068: "FSI",
    0x2069: "PDI",
    0xFEFF: "BOM",
}
# Control, format, surrogate and unassigned-looking characters, fillers that draw nothing, tags and
# variation selectors.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\ud800-\udfff"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Four combining marks in a row: more than any script needs, and they paint over the lines around them.
LINE_CHARACTERS = re.compile("[\n\t]")
MARKS = re.compile("[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff"
                   "\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{4,}")  # fmt: skip


def show(text: Text, *, lines: bool = False, limit: int = SHOWN_BYTES) -> Markup:
    """Element content: hidden characters as chips, isolated from the text around it, cut at `limit` bytes.

    Args:
        text: any recorded text, or `Withheld`.
        lines: keep newlines and tabs (inside `<pre>`); else they are chips too.
        limit: bytes of UTF-8 shown; what is cut is said.
    """
    if isinstance(text, Withheld):
        return withheld()
    kept, left = clip(text, limit)
    body = Markup("<bdi>") + _chipped(kept, lines=lines) + Markup("</bdi>")
    if not left:
        return body
    size = len(kept.encode("utf-8", "surrogatepass"))
    return body + cut_note(size, left, brief=limit < BRIEF_BYTES)


def identifier(text: Text, *, limit: int = 200) -> Markup:
    """A name that people compare: every letter outside ASCII is named beside it."""
    shown = show(text, limit=limit)
    if isinstance(text, Withheld):
        return shown
    odd = list(dict.fromkeys(c for c in clip(text, limit)[0] if ord(c) > 0x7E and not HIDDEN.match(c)))
    if not odd:
        return shown
    names = " ".join(f"{c}=U+{ord(c):04X}" for c in odd[:NAMED_LETTERS])
    more = f" +{len(odd) - NAMED_LETTERS}" if len(odd) > NAMED_LETTERS else ""
    return (
        shown
        + Markup(' <span class="u" title="This name has letters that can look like others">')
        + (escape(names + more) + Markup("</span>"))
    )


def plain(text: Text, limit: int = SHOWN_BYTES) -> str:
    """Text without markup: hidden characters spelled out as `[RLO]`, newlines as spaces, cut at `limit` bytes."""
    if isinstance(text, Withheld):
        return "(withheld)"
    kept, left = clip(text, limit)
    if kept.isascii() and kept.isprintable():
        return kept + (" …" if left else "")
    kept = MARKS.sub(lambda m: _spelled(m.group()), LINE_CHARACTERS.sub(" ", kept))
    return HIDDEN.sub(lambda m: f"[{name(m.group())}]", kept) + (" …" if left else "")


def prose(text: str) -> Markup:
    """A sentence of ours: what stands between backticks is set as code."""
    parts = plain(text).split("`")
    if len(parts) % 2 == 0:
        return escape("`".join(parts))
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else escape(p) for n, p in enumerate(parts))


def withheld() -> Markup:
    """The chip that stands for a withheld value."""
    return Markup('<span class="withheld" title="Left out of this file; its digest is sealed">withheld</span>')


def cut_note(shown: int, left: int, *, brief: bool = False) -> Markup:
    """Says how much of a text is shown; briefly, where the text stands in a line."""
    said = f"{shown:,} of {shown + left:,} bytes shown"
    if brief:
        return Markup('<span class="u" title="{}">…</span>').format(said)
    return Markup('<span class="cut">… {}</span>').format(said)


def clip(text: str, limit: int) -> tuple[str, int]:
    """The longest start of at most `limit` bytes, and the number of bytes left out."""
    if len(text) * 4 <= limit:
        return text, 0
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) <= limit:
        return text, 0
    kept = text[:limit]
    while len(kept.encode("utf-8", "surrogatepass")) > limit:
        over = len(kept.encode("utf-8", "surrogatepass")) - limit
        kept = kept[: -max(1, over // 4)]
    return kept, len(encoded) - len(kept.encode("utf-8", "surrogatepass"))


def name(character: str) -> str:
    """`RLO`, `ESC` or `U+E0041`."""
    return NAMES.get(ord(character), f"U+{ord(character):04X}")


def _chipped(text: str, *, lines: bool) -> Markup:
    if text.isascii() and text.isprintable():
        return escape(text)
    parts: list[Markup] = []
    for piece in re.split(f"({MARKS.pattern})", text):
        if MARKS.fullmatch(piece):
            parts.append(_chip(f"{len(piece)} marks", "combining marks, shown as a number"))
            continue
        end = 0
        for match in HIDDEN.finditer(piece) if lines else _HIDDEN_OR_LINE.finditer(piece):
            parts.append(escape(piece[end : match.start()]))
            end = match.end()
            parts.append(_chip(name(match.group()), _title(match.group())))
        parts.append(escape(piece[end:]))
    return Markup("").join(parts)


def _chip(label: str, title: str) -> Markup:
    return Markup('<span class="u" title="{}">{}</span>').format(title, label)


def _title(character: str) -> str:
    known = unicodedata.name(character, "control or unassigned character")
    return f"U+{ord(character):04X} {known.lower()}, shown as text"


def _spelled(marks: str) -> str:
    return f"[{len(marks)} marks]"


_HIDDEN_OR_LINE = re.compile(f"{HIDDEN.pattern}|{LINE_CHARACTERS.pattern}")
