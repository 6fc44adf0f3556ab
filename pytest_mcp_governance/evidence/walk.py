"""Walking one segment: lines, leaves, checkpoints, disclosures. Streams; keeps no record.

Rules, in order, at each line: strict JSON, the fields of every line, its place, its checkpoint, its
disclosures. The first line that breaks one ends the walk. Leaves out what records mean together.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import disclosures, names, notes, strict_json
from pytest_mcp_governance.evidence.keys import PublicKey
from pytest_mcp_governance.evidence.ledger import MAX_UNSEALED
from pytest_mcp_governance.evidence.outcome import Outcome, Problem
from pytest_mcp_governance.evidence.source import Source
from pytest_mcp_governance.evidence.tree import Tree

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class Broken(Exception):
    """A line that breaks a rule; carries the problem."""

    def __init__(self, outcome: Outcome, text: str, ref: str) -> None:
        super().__init__(text)
        self.problem = Problem(outcome, text, ref)


@dataclass(slots=True)
class Walked:
    """What a walk found so far."""

    name: str
    lines: int = 0
    sealed: int = 0
    root: str = ""
    closed: bool = False
    withheld: int = 0
    blobs: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    problem: Problem | None = None


class SegmentWalk:
    """Iterate it to get the records; `walked` is complete when the iteration ends.

    Args:
        source: where the segment is.
        run: run id that every line must have.
        name: segment name.
        key: the key that must have signed its checkpoints.
    """

    def __init__(self, source: Source, *, run: str, name: str, key: PublicKey) -> None:
        self.walked = Walked(name)
        self._source, self._run, self._name, self._key = source, run, name, key
        self._tree = Tree()
        self._counts: dict[str, int] = {}
        self._after_close = 0
        self._disclosed = _Disclosures(name)

    def __iter__(self) -> Iterator[dict[str, object]]:
        try:
            self._disclosed.start(self._source)
            for line in self._source.lines(names.lines_path(self._name)):
                if not line.endswith(b"\n"):
                    self._torn()
                    break
                leaf = line[:-1]
                record = self._line(leaf)
                self._tree.append(leaf)
                self.walked.lines += 1
                yield record
            self._end()
        except Broken as broken:
            self.walked.problem = broken.problem
        except EvidenceError as error:
            self.walked.problem = Problem(Outcome.TAMPERED, str(error), self._ref)
        self.walked.root = self._tree.root().hex()
        self.walked.withheld = self._disclosed.withheld
        self.walked.blobs = self._disclosed.blobs

    @property
    def _ref(self) -> str:
        return f"{self._name}/{self._tree.size}"

    def _line(self, line: bytes) -> dict[str, object]:
        if self._after_close == 2:
            raise self._broken("the segment goes on after its last checkpoint")
        try:
            record = strict_json.loads_object(line)
        except strict_json.StrictJsonError as error:
            raise self._broken(f"the line is broken: {error}") from None
        self._check_place(record)
        kind = str(record["type"])
        if self._after_close and kind != "checkpoint":
            raise self._broken("after `close` only a checkpoint may follow")
        if kind == "checkpoint":
            self._check_note(record.get("note"))
        elif kind == "close":
            self._check_counts(record.get("counts"))
        if self._after_close or kind == "close":
            self._after_close += 1
        self._counts[kind] = self._counts.get(kind, 0) + 1
        for name, value in record.items():
            if value.__class__ is dict or value.__class__ is list:
                self._commitments(value, name)
        return record

    def _check_place(self, record: dict[str, object]) -> None:
        version = record.get("v")
        if version != 1 or version is True:
            raise self._broken("the record is not of format version 1", Outcome.MALFORMED)
        if record.get("run") != self._run:
            raise self._broken("the record is of another run")
        if record.get("seg") != self._name:
            raise self._broken("the record is of another segment")
        seq = record.get("seq")
        if seq.__class__ is not int or seq != self._tree.size:
            raise self._broken("the record is not in its place: its `seq` is not its line")
        time = record.get("t")
        if record.get("m").__class__ is not int or not isinstance(time, str) or _TIME.fullmatch(time) is None:
            raise self._broken("the record has no proper time", Outcome.MALFORMED)
        kind = record.get("type")
        if not isinstance(kind, str):
            raise self._broken("the record has no type", Outcome.MALFORMED)
        if (kind == "open") != (self._tree.size == 0):
            raise self._broken("`open` is the first record and only that")

    def _check_note(self, note: object) -> None:
        origin = f"{self._run}/{self._name}"
        opened = notes.open_note(note, origin, self._key) if isinstance(note, str) else "there is no note"
        if isinstance(opened, str):
            raise self._broken(f"checkpoint: {opened}")
        if opened.size != self._tree.size or opened.root != self._tree.root():
            raise self._broken(
                f"the checkpoint does not match the {self._tree.size} records before it: one of those after "
                f"record {self._name}/{max(self.walked.sealed - 1, 0)} was changed, removed, added or moved"
            )
        self.walked.sealed = opened.size + 1

    def _check_counts(self, counts: object) -> None:
        if counts != self._counts:
            raise self._broken("`close` counts other records than there are")

    def _commitments(self, value: object, name: str) -> None:
        if isinstance(value, dict):
            if "$sd" in value:
                digest = disclosures.commitment(value)
                if digest is None:
                    raise self._broken(f"field `{name}` has a broken commitment", Outcome.MALFORMED)
                self._disclosed.meet(digest, self._ref)
                return
            for item in value.values():
                self._commitments(item, name)
        elif isinstance(value, list):
            for item in value:
                self._commitments(item, name)

    def _torn(self) -> None:
        if self._after_close == 2:
            raise self._broken("bytes follow the end of the closed segment")
        self.walked.notes.append(f"the torn last line of segment {self._name} was dropped")

    def _end(self) -> None:
        if not self._tree.size:
            raise self._broken("the segment is empty", Outcome.INCOMPLETE)
        self.walked.closed = self._after_close == 2
        unsealed = self._tree.size - self.walked.sealed
        if unsealed > MAX_UNSEALED + 2:  # after a failed write, `gap` and `close` may come on top
            raise self._broken(f"{unsealed} records have no checkpoint; a recorder leaves {MAX_UNSEALED}")
        self._disclosed.end(self.walked)

    def _broken(self, text: str, outcome: Outcome = Outcome.TAMPERED) -> Broken:
        return Broken(outcome, text, self._ref)


class _Disclosures:
    """The disclosures of a segment, met in the order in which its records commit to them.

    Order makes this a merge of two streams: nothing is kept but the line that waits for its record.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: Iterator[bytes] = iter(())
        self._number = 0
        self._waiting: tuple[str, bytes] | None = None
        self._passed: set[str] = set()  # commitments met while the same line waits
        self.torn = False
        self.withheld = 0
        self.blobs: set[str] = set()

    def start(self, source: Source) -> None:
        path = names.disclosures_path(self._name)
        if path in source.paths():
            self._lines = source.lines(path)
        self._next()

    def meet(self, digest: str, ref: str) -> None:
        if self._waiting is None:
            self.withheld += 1
            return
        if self._waiting[0] != digest:
            self.withheld += 1
            self._passed.add(digest)
            return
        try:
            blob = disclosures.blob_reference(disclosures.decode(self._waiting[1]))
        except strict_json.StrictJsonError as error:
            raise Broken(Outcome.MALFORMED, f"its disclosure is {error}", ref) from None
        if blob is not None:
            self.blobs.add(blob)
        self._passed.clear()
        self._next()

    def end(self, walked: Walked) -> None:
        """Nothing may be left over, except what a killed recorder wrote for a record it did not finish."""
        first = self._number
        left = 0
        while self._waiting is not None:
            if walked.closed or self._waiting[0] in self._passed:
                text = f"line {first} of the disclosures of segment {self._name} belongs to no record"
                raise Broken(Outcome.TAMPERED, text, "")
            left += 1
            self._next()
        if self.torn and walked.closed:
            text = f"the disclosures of segment {self._name} end in a torn line"
            raise Broken(Outcome.TAMPERED, text, "")
        if left or self.torn:
            walked.notes.append(f"disclosures of an unfinished record of segment {self._name} were dropped")

    def _next(self) -> None:
        self._waiting = None
        line = next(self._lines, None)
        if line is None:
            return
        if not line.endswith(b"\n"):
            self.torn = True
            return
        self._number += 1
        bare = line[:-1]
        self._waiting = disclosures.digest_of(bare), bare
