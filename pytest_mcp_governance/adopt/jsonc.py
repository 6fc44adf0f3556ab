"""JSON as editors keep it: comments and commas before a closing bracket are taken, the rest is RFC 8259.

Gives a value and what was lost on the way; leaves the meaning of it to `configurations`. Raises for what is no JSON.
"""

from __future__ import annotations

import json
import re

# Matched side by side, so that a comment inside a text, or a quote inside a comment, is what it is. What does not
# end swallows the rest, at once: a file of unfinished comments costs one pass.
_TEXT_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"?|//[^\n]*|/\*(?:.*?\*/|.*\Z)', re.DOTALL)
_TEXT_OR_COMMA = re.compile(r'"(?:[^"\\\n]|\\.)*"?|[{[:,][ \t\r\n]*,|,(?=[ \t\r\n]*[}\]])', re.DOTALL)
_NOT_A_LINE_END = re.compile(r"[^\n]")


class JsoncError(ValueError):
    """The text is no JSON.

    Args:
        message: why, without anything of the text.
        line: 1-based line, 0 where none is known.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        self.line = line
        super().__init__(message)


def loads(text: str, *, comments: bool = True) -> tuple[object, tuple[str, ...]]:
    """Read one JSON value.

    Args:
        text: the text, without a byte order mark.
        comments: whether comments and trailing commas are taken.

    Returns:
        The value, and the keys that occur twice in one object, of which the last counts as everywhere.

    Raises:
        JsoncError: it is no JSON, or nested too deeply.
    """
    twice: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(items)
        if len(made) != len(items):
            names = [name for name, _ in items]
            twice.extend(name for name in made if names.count(name) > 1)
        return made

    try:
        value: object = json.loads(plain(text) if comments else text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise JsoncError(f"{error.msg}, column {error.colno}", error.lineno) from None
    except RecursionError:
        raise JsoncError("nested too deeply") from None
    except ValueError:
        raise JsoncError("a number with too many digits") from None
    return value, tuple(dict.fromkeys(twice))


def plain(text: str) -> str:
    """`text` with blanks in the place of comments and trailing commas; every line and column stays where it was."""
    bare = _TEXT_OR_COMMENT.sub(_blank_comment, text)
    return _TEXT_OR_COMMA.sub(lambda found: " " if found[0] == "," else found[0], bare)


def _blank_comment(found: re.Match[str]) -> str:
    text = found[0]
    unfinished = text.startswith("/*") and not (text.endswith("*/") and len(text) > 3)
    return text if unfinished or text.startswith('"') else _NOT_A_LINE_END.sub(" ", text)
