"""Keeps secret and personal values out of reasons: what scopes have labelled in this test, and what detectors find.

Masks before it shortens, so that no half of a value is left standing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from pytest_mcp_governance.policy.detectors import mask
from pytest_mcp_governance.policy.operators import seen_text

_MIN_INSIDE = 4  # a shorter label is masked only where it is the whole value
_MAX_CHARS = 20_000
_MAX_DEPTH = 20


class Masker:
    """Remembers labelled values and masks them.

    Args:
        secrets: values that are masked always.
        most: how many learned values to remember, the newest; None for all. A report's withholding looks for all of
            them whatever is remembered here.
    """

    def __init__(self, secrets: Iterable[str], most: int | None = None) -> None:
        self._labels: dict[str, str] = dict.fromkeys(secrets, "secret")
        self._learned: deque[str] = deque()
        self._most = most

    def learn(self, values: Iterable[object], scope: str) -> None:
        """From now on mask these values under the scope's name."""
        for value in map(str, values):
            if value in self._labels:
                continue
            self._labels[value] = scope
            if self._most is not None:
                self._learned.append(value)
                if len(self._learned) > self._most:
                    del self._labels[self._learned.popleft()]

    def text(self, text: str) -> str:
        """`text` with every labelled or detected value replaced by its scope or detector in brackets."""
        text = text[:_MAX_CHARS]
        if text in self._labels:
            return f"[{self._labels[text]}]"
        inside = [label for label in self._labels if len(label) >= _MIN_INSIDE and label in text]
        for label in sorted(inside, key=len, reverse=True):
            text = text.replace(label, f"[{self._labels[label]}]")
        return mask(text)

    def seen(self, value: object) -> str:
        """Any JSON value as one short, masked line."""
        return seen_text(self._value(value, 0))

    def _value(self, value: object, depth: int) -> object:
        if depth > _MAX_DEPTH:
            return "…"
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(name)): self._value(child, depth + 1) for name, child in list(value.items())[:50]}
        if isinstance(value, list):
            return [self._value(child, depth + 1) for child in value[:50]]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            masked = self.text(str(value))
            return value if masked == str(value) else masked
        return value
