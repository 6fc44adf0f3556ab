"""Counting a run again from clear fields: findings, test outcomes, selection, gaps, policies.

The same count goes into the close statement and is made again by the verifier. No policy is evaluated;
withheld values change nothing. Leaves out comparing (see `verify`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping

STATES = ("reached", "blocked", "unproven")
_MODES = ("enforce", "observe")
_TYPES = frozenset(
    {"open", "segment", "selection", "test", "policy", "context", "session", "msg", "io", "decision", "access"}
    | {"approval", "definition", "finding", "blob", "gap", "checkpoint", "close"}
)
Attempt = tuple[str, int]


class Recount:
    """Feed it every record of every segment, in stored order, main first."""

    def __init__(self) -> None:
        self.gaps = 0
        self.selected: set[str] = set()
        self.collections: set[str] = set()  # what it was selected from, as each selection names it
        self.unknown = 0
        self._selection: dict[str, int] = {}
        self._started: set[Attempt] = set()
        self._outcomes: dict[Attempt, str] = {}
        self._policies: dict[Attempt | None, str | None] = {}
        self._floors: dict[Attempt | None, tuple[str, ...]] = {}
        self._findings: Counter[tuple[str, str]] = Counter()
        self._denials: dict[str, str] = {}
        self._referred: set[str] = set()

    def add(self, record: Mapping[str, object]) -> None:
        """Count one record; fields of the wrong type count as absent."""
        kind = record.get("type")
        self.unknown += not (isinstance(kind, str) and kind in _TYPES)
        if kind == "decision":
            self._decision(record)
        elif kind == "finding":
            self._finding(record)
        elif kind == "test":
            self._test(record)
        elif kind == "selection":
            self._select(record)
        elif kind == "policy":
            digest = record.get("sha256")
            self._policies[_attempt(record)] = digest if isinstance(digest, str) else None
            self._floors[_attempt(record)] = tuple(_floors(record))
        elif kind == "gap":
            self.gaps += 1

    @property
    def findings(self) -> dict[str, dict[str, int]]:
        """Per state: unexpected in enforce mode, unexpected in observe mode, expected in either.

        A denied call that no finding refers to counts as one unexpected blocked finding, so that findings
        cannot be left out over denials.
        """
        unreferred = sum(
            not (ref in self._referred or subject in self._referred) for ref, subject in self._denials.items()
        )
        counted = {
            state: {column: self._findings[state, column] for column in (*_MODES, "expected")} for state in STATES
        }
        counted["blocked"]["enforce"] += unreferred
        return counted

    @property
    def unexpected(self) -> int:
        """Unexpected findings in enforce mode, over all states."""
        return sum(row["enforce"] for row in self.findings.values())

    @property
    def tests(self) -> dict[str, int]:
        """Number of test attempts per outcome; the last end record of an attempt counts."""
        return dict(sorted(Counter(self._outcomes.values()).items()))

    @property
    def selection(self) -> dict[str, int]:
        """selected, audited (selected tests that ended), unaudited and deselected."""
        ended = {name for name, _ in self._outcomes}
        return {"selected": len(self.selected), "audited": len(self.selected & ended), **self._selection}

    @property
    def policies(self) -> tuple[str, ...]:
        """Digests of the effective policies, sorted."""
        return tuple(sorted({digest for digest in self._policies.values() if digest is not None}))

    @property
    def floors(self) -> tuple[str, ...]:
        """Digests of the floors, sorted; empty where some test that was judged had none."""
        if not all(self._floors.values()):
            return ()
        return tuple(sorted({digest for digests in self._floors.values() for digest in digests}))

    @property
    def missing(self) -> tuple[str, ...]:
        """Selected tests without an end record, sorted."""
        return tuple(sorted(self.selected - {name for name, _ in self._outcomes}))

    @property
    def unfinished(self) -> tuple[Attempt, ...]:
        """Attempts that started and have no end record, sorted."""
        return tuple(sorted(self._started - self._outcomes.keys()))

    @property
    def judged(self) -> bool:
        """Whether a policy was recorded and none was missing for any test that ended."""
        whole_run = self._policies.get(None)
        # A test that did not run (skipped, or stopped in its setup) has no policy record, and nothing to judge.
        ran = (a for a, outcome in self._outcomes.items() if outcome not in ("skipped", "error") or a in self._policies)
        return bool(self._policies) and all(
            self._policies.get(attempt, whole_run) is not None for attempt in (*ran, *self._policies)
        )

    @property
    def last_outcomes(self) -> dict[str, str]:
        """The outcome of each test's last attempt."""
        return {name: outcome for (name, _), outcome in sorted(self._outcomes.items())}

    def counts(self) -> dict[str, object]:
        """The part of the close statement's predicate that is counted."""
        return {"selection": self.selection, "tests": self.tests, "findings": self.findings}

    def _decision(self, record: Mapping[str, object]) -> None:
        if record.get("verdict") == "deny" and record.get("moment") == "before":
            self._denials[f"{record.get('seg')}/{record.get('seq')}"] = str(record.get("ref"))

    def _finding(self, record: Mapping[str, object]) -> None:
        state, mode = record.get("state"), record.get("mode")
        # An unknown state or mode is counted as the worst, not skipped.
        known = state if isinstance(state, str) and state in STATES else "reached"
        column = "observe" if mode == "observe" else "enforce"
        self._findings[known, "expected" if record.get("expected") is True else column] += 1
        refs = record.get("refs")
        self._referred.update(ref for ref in (refs if isinstance(refs, list) else ()) if isinstance(ref, str))

    def _test(self, record: Mapping[str, object]) -> None:
        attempt = _attempt(record)
        if attempt is None:
            return
        if record.get("phase") == "end":
            outcome = record.get("outcome")
            self._outcomes[attempt] = outcome if isinstance(outcome, str) else "unknown"
        else:
            self._started.add(attempt)

    def _select(self, record: Mapping[str, object]) -> None:
        names = record.get("selected")
        self.selected.update(name for name in (names if isinstance(names, list) else ()) if isinstance(name, str))
        collection = record.get("collection")
        self.collections.update([collection] if isinstance(collection, str) else [])
        for key in ("unaudited", "deselected"):
            count = record.get(key)
            if isinstance(count, int):
                self._selection[key] = count


def _floors(record: Mapping[str, object]) -> Iterator[str]:
    sources = record.get("sources")
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, dict) and source.get("kind") == "floor" and isinstance(source.get("blob"), str):
            yield source["blob"]


def _attempt(record: Mapping[str, object]) -> Attempt | None:
    name, number = record.get("test"), record.get("attempt")
    return (name, number) if isinstance(name, str) and isinstance(number, int) else None
