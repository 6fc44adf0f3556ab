"""Makes recorded text harmless in Markdown as GitHub and GitLab render it, and in GitHub's workflow commands.

In Markdown a value stands in a code span: nothing in one is markup, a link, a mention or an image. What cannot be
seen is spelled out (hostile.py). Leaves out HTML pages.
"""

from __future__ import annotations

import re

from .hostile import plain
from .model import Text

SHOWN = 160
_RUNS_OF_TICKS = re.compile("`+")
_BACKSLASHES_BEFORE_PIPE = re.compile(r"\\+(?=\|)")
# Words that no renderer makes anything of: no markup, host, commit id, issue number, nor the mark of a list's item.
_PLAIN_WORD = re.compile(r"(?!www\.|GH-\d|[0-9a-f]{7,}\b|-$|\d+[.)]$)[^\W_]*(?:[.,;()'…-][^\W_]*)*:?", re.IGNORECASE)


def code(text: Text, limit: int = SHOWN) -> str:
    """A value as a code span that also stands in a table's cell; `none` in plain text where there is none.

    Args:
        text: any recorded text, or `Withheld`.
        limit: bytes of UTF-8 that are shown.
    """
    shown = plain(text, limit).strip()
    if not shown:
        return "none"
    # Renderers disagree on whether `\\|` ends a cell, so no backslash may stand before an escaped pipe.
    shown = _BACKSLASHES_BEFORE_PIPE.sub(lambda m: "[U+005C]" * len(m.group()), shown).replace("|", "\\|")
    longest = max((len(run) for run in _RUNS_OF_TICKS.findall(shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def name(text: Text, limit: int = SHOWN) -> str:
    """A name that people compare: letters outside ASCII, which can look like others, are named after it."""
    shown = code(text, limit)
    odd = list(dict.fromkeys(c for c in plain(text, limit) if ord(c) > 0x7E and c != "…"))
    return f"{shown} ({', '.join(f'U+{ord(c):04X}' for c in odd[:4])})" if odd else shown


def prose(sentence: str, limit: int = 1_000) -> str:
    """A sentence of ours that may hold recorded names: every word that could be markup becomes a code span."""
    parts = plain(sentence, limit).split("`")
    if len(parts) % 2 == 0:  # an odd tick is no quotation of ours
        parts = [" ".join(parts)]
    return "".join(code(part) if number % 2 else _worded(part) for number, part in enumerate(parts))


def _worded(text: str) -> str:
    return " ".join(word if _PLAIN_WORD.fullmatch(word) else _spanned(word) for word in text.split(" "))


def _spanned(word: str) -> str:
    """The word as a code span, with the mark that ends its clause outside of it."""
    core = word.rstrip(".,;:")
    return (code(core) if core else "") + word[len(core) :]


def command_data(text: str) -> str:
    """The message of a workflow command (`::error::…`)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    """A property's value of a workflow command (`title=…`)."""
    return command_data(text).replace(":", "%3A").replace(",", "%2C")
