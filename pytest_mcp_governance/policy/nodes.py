"""A YAML document as nodes that know their place, and the questions a policy asks of them.

Every answer of the wrong kind is a `PolicyError` at the line and column where it stands. Reading YAML itself
is `loader`'s affair.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, NoReturn

from pytest_mcp_governance.errors import PolicyError

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,29})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,29})\.[0-9]{1,30}(?:[eE][-+]?[0-9]{1,3})?")
_NUMBER_LIKE = re.compile(
    r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|[-+]?0[xob][0-9a-fA-F_]+|[-+]?\.(?:inf|nan|[0-9]+)"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BARE_WORDS = frozenset({"yes", "no", "on", "off"})
_NULLS = frozenset({"", "~", "null"})


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the document.

    `items` holds the entries of a list, `entries` the key and value nodes of a mapping, `value` a plain value.
    """

    file: str
    line: int
    column: int
    kind: Literal["plain", "list", "mapping"]
    value: str | int | float | bool | None = None
    items: tuple[Node, ...] = field(default=(), repr=False)
    entries: tuple[tuple[Node, Node], ...] = field(default=(), repr=False)

    def fail(self, message: str, hint: str = "") -> NoReturn:
        """Raise a `PolicyError` at this place."""
        raise PolicyError(message, file=self.file, line=self.line, column=self.column, hint=hint)

    @property
    def place(self) -> str:
        """ "file:line"."""
        return f"{self.file}:{self.line}"

    def mapping(self, what: str) -> dict[str, Node]:
        """The entries of a mapping with text keys; not empty."""
        if self.kind != "mapping" or not self.entries:
            self.fail(f"{what} must be a mapping with at least one entry, not {self.shown}")
        return {key.text(f"a key of {what}"): value for key, value in self.entries}

    def keyed(self, what: str, known: Collection[str], later: Collection[str] = ()) -> dict[str, Node]:
        """A mapping with fixed keys: unknown ones and those of later versions are errors, never ignored."""
        entries = self.mapping(what)
        for (key, _), name in zip(self.entries, entries, strict=True):
            if name in later:
                key.fail(
                    f"{name!r} in {what} is not supported in this version",
                    "Nothing of a policy is ever ignored: take it out, or use a version that knows it.",
                )
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                key.fail(
                    f"unknown key {name!r} in {what}",
                    f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(sorted(known))}.",
                )
        return entries

    def key(self, name: str) -> Node:
        """The node of a mapping's key, for messages about it."""
        return next((key for key, _ in self.entries if key.value == name), self)

    def text(self, what: str) -> str:
        """A text that is not empty."""
        if self.kind != "plain" or not isinstance(self.value, str) or not self.value.strip():
            quoted = "" if not isinstance(self.value, (int, float)) else "Put it in quotes."
            self.fail(f"{what} must be a text, not {self.shown}", quoted)
        return self.value

    def texts(self, what: str) -> tuple[Node, ...]:
        """The entries of a list of texts; not empty, none twice."""
        if self.kind != "list" or not self.items:
            self.fail(f"{what} must be a list with at least one entry, not {self.shown}")
        seen: set[str] = set()
        for item in self.items:
            text = item.text(f"an entry of {what}")
            if text in seen:
                item.fail(f"{text!r} stands twice in {what}")
            seen.add(text)
        return self.items

    def date(self, what: str) -> date:
        """A day that there is, as YYYY-MM-DD."""
        text = self.text(what)
        try:
            found = date.fromisoformat(text) if _DATE.fullmatch(text) else None
        except ValueError:
            found = None  # February 30 and the like
        if found is None:
            self.fail(f"{what} must be a day that there is, such as 2027-05-01, not {text[:40]!r}")
        return found

    def flag(self, what: str) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self.fail(f"{what} must be true or false, not {self.shown}")
        return self.value

    def choice(self, what: str, choices: Collection[str]) -> str:
        """One of some words."""
        word = self.text(what)
        if word not in choices:
            close = difflib.get_close_matches(word, choices, n=1)
            self.fail(
                f"{what} must be one of {', '.join(choices)}, not {word!r}",
                f"Did you mean {close[0]!r}?" if close else "",
            )
        return word

    def plain(self) -> object:
        """The value in plain Python."""
        if self.kind == "list":
            return [item.plain() for item in self.items]
        if self.kind == "mapping":
            return {key.text("a key"): value.plain() for key, value in self.entries}
        return self.value

    @property
    def shown(self) -> str:
        """What stands here, in words."""
        if self.kind == "plain":
            return "nothing" if self.value is None else repr(self.value)[:80]
        return f"{'an empty' if not (self.items or self.entries) else 'a'} {self.kind}"


def plain_value(text: str, place: Node) -> str | int | float | bool | None:
    """The value of an unquoted scalar, with nothing left to guess.

    Raises:
        PolicyError: yes, no, on, off, or a number in an unusual form.
    """
    lowered = text.lower()
    if lowered in _BARE_WORDS:
        place.fail(
            f"bare {text!r} is a truth value to some readers and a text to others",
            "Write true, false, or quotes.",
        )
    if lowered in _NULLS:
        return None
    if lowered in ("true", "false"):
        return lowered == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NUMBER_LIKE.fullmatch(lowered):
        place.fail(
            f"{text!r} is not a plain decimal number",
            "Write it like 5000 or 0.5, or in quotes if it is a text.",
        )
    return text
