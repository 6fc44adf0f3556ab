"""Sorts all names there are into classes that a set of patterns cannot tell apart, exactly and without sampling.

Every name, also one that nobody has thought of, belongs to one class, and each class has a name as witness. What a
class means is `diff`'s affair. Where the patterns overlap in too many ways there is no answer, rather than a guess.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from pytest_mcp_governance.policy.matching import Glob

MAX_STATES = 4000
_OTHERS = "xyzabcdefghijklmnopqrstuvwXYZABCDEFGHIJKLMNOPQRSTUVW0123456789_-"


@dataclass(frozen=True, slots=True)
class NameClass:
    """Names that the same groups cover: bit i of `groups` is group i. `exact` where it is the witness alone."""

    groups: int
    witness: str
    exact: bool


def name_classes(groups: Sequence[Collection[Glob]]) -> tuple[NameClass, ...] | None:
    """The classes of all non-empty names.

    Args:
        groups: sets of patterns; a group covers what one of its patterns covers. All with the same separator.

    Returns:
        Every class that is not empty, names written out first. A class without a written-out name is told even where
        all of its names are written out; so there may be one too many, and never one too few. None where more than
        `MAX_STATES` states would have to be kept apart.
    """
    literals = dict.fromkeys(name for group in groups for name in _literals(group))
    found = {
        name: sum(1 << n for n, group in enumerate(groups) if any(glob.matches(name) for glob in group))
        for name in literals
    }
    open_classes = _Automaton(groups).classes()
    if open_classes is None:
        return None
    exact = tuple(NameClass(mask, name, True) for name, mask in found.items())
    return exact + tuple(NameClass(mask, witness, False) for mask, witness in open_classes.items())


def _literals(group: Collection[Glob]) -> Iterator[str]:
    return (seq.literal for glob in group for seq in glob.alternatives if seq.literal is not None)


class _Automaton:
    """All patterns with a wildcard side by side, one bit a place in a pattern (as in `matching`, only longer)."""

    def __init__(self, groups: Sequence[Collection[Glob]]) -> None:
        self.chars: dict[str, int] = {}
        self.wild = self.deep = self.start = 0
        self.separator: str | None = None
        self.accept: dict[int, int] = {}  # an accepting bit, and its group's
        self.accepting = self.endless = 0
        self.settled: dict[int, tuple[int, int]] = {}  # bit after which a group covers all: its bits, and those kept
        offset = 0
        for number, group in enumerate(groups):
            begun, settled = offset, {}
            for glob in group:
                self.separator = glob.separator or self.separator
                for seq in glob.alternatives:
                    if seq.literal is not None:
                        continue
                    for char, mask in seq.chars.items():
                        self.chars[char] = self.chars.get(char, 0) | mask << offset
                    self.wild |= (seq.stars | seq.deep) << offset
                    self.deep |= seq.deep << offset
                    self.start |= 1 << offset
                    self.accept[seq.accept << offset] = 1 << number
                    self.accepting |= seq.accept << offset
                    endless = seq.deep if glob.separator else seq.stars
                    if endless & seq.accept >> 1:
                        last = (seq.accept >> 1) << offset
                        settled[last] = last | seq.accept << offset
                    offset += seq.accept.bit_length()
            whole = (1 << offset) - (1 << begun)
            for last, kept in settled.items():
                self.endless |= last
                self.settled[last] = (whole, kept)

    def classes(self) -> dict[int, str] | None:
        """Each combination of groups that some name has, with the shortest such name."""
        other = next((char for char in _OTHERS if char not in self.chars), "\ue000")
        letters = [(char, mask) for char, mask in self.chars.items()]
        if self.separator and self.separator not in self.chars:
            letters.append((self.separator, 0))
        found: dict[int, str] = {}
        begin = self._closed(self.start)
        seen: set[int] = set()
        pending = [(begin, "")]
        for states, name in pending:  # grows while it is walked: breadth first, so the shortest name comes first
            rest = states & self.wild
            steps = [(other, self._closed(rest))]
            for char, mask in letters:
                moved = (states & mask) << 1
                if char == self.separator:
                    steps.append((char, self._closed(moved | states & self.deep)))
                elif moved:
                    steps.append((char, self._closed(moved | rest)))
            for char, following in steps:
                if following in seen:
                    continue
                if len(seen) >= MAX_STATES:
                    return None
                seen.add(following)
                longer = name + char
                pending.append((following, longer))
                found.setdefault(self._groups(following), longer)
        return found

    def _closed(self, states: int) -> int:
        states |= (states & self.wild) << 1
        reached = states & self.endless
        while reached:
            whole, kept = self.settled[reached & -reached]
            states = states & ~whole | kept  # this group covers whatever follows: its other bits say nothing
            reached &= ~whole
        return states

    def _groups(self, states: int) -> int:
        groups, left = 0, states & self.accepting
        while left:
            groups |= self.accept[left & -left]
            left &= left - 1
        return groups
