"""Reading what a run recorded: records in stored order, disclosed values, blobs, the two statements.

Leaves out checking: whoever needs proof calls `verify`. A torn last line is skipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import disclosures, names, statements, strict_json
from pytest_mcp_governance.evidence.keys import PublicKey
from pytest_mcp_governance.evidence.ledger import SegmentSummary
from pytest_mcp_governance.evidence.source import Source
from pytest_mcp_governance.evidence.tree import Tree

Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class Withheld:
    """Stands for a committed value whose disclosure (or blob) is not there."""

    digest: str


class Records(Protocol):
    """What is read of a run, or of several as one."""

    @property
    def run(self) -> str: ...

    @property
    def segments(self) -> tuple[str, ...]: ...

    @property
    def open(self) -> Record | None: ...

    def records(self) -> Iterator[Record]: ...

    def reveal(self, value: object) -> object: ...

    def has_disclosure(self, digest: str) -> bool: ...

    def blob(self, digest: str) -> bytes | None: ...


class EvidenceReader:
    """One run's evidence, read from a folder, a file, or a filtered view of either.

    Raises:
        EvidenceError: there is no main segment.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._paths = frozenset(source.paths())
        self._references: set[str] = set()  # commitments whose value is a blob, by the record that said so
        found = [name for kind, name in map(_classified, sorted(self._paths)) if kind == "lines"]
        self.segments: tuple[str, ...] = tuple(sorted(found, key=lambda name: (name != "main", name)))
        if "main" not in self.segments:
            raise EvidenceError("There is no main segment (seg/main.jsonl) here.")

    @cached_property
    def run(self) -> str:
        """The run id, from the first record of main."""
        first = next(self.records("main"), {})
        run = first.get("run")
        return run if isinstance(run, str) else ""

    @property
    def source(self) -> Source:
        """Where this reader reads."""
        return self._source

    def records(self, segment: str | None = None) -> Iterator[Record]:
        """The records of one segment, or of all one after another, main first, in stored order.

        Raises:
            EvidenceError: a line that is no strict JSON object.
        """
        for name in self.segments if segment is None else (segment,):
            for line in self._source.lines(names.lines_path(name)):
                if not line.endswith(b"\n"):
                    break
                try:
                    record = strict_json.loads_object(line)
                except strict_json.StrictJsonError as error:
                    raise EvidenceError(f"A line of segment {name} is broken: {error}.") from None
                if record.get("type") == "blob":
                    digest = disclosures.commitment(record.get("sha256"))
                    if digest is not None:
                        self._references.add(digest)
                yield record

    def summarise(self, segment: str, key: PublicKey) -> SegmentSummary:
        """What close lists of a segment whose recorder did not close it: its whole lines, as they are there.

        Args:
            segment: its name; one that left no file has no lines.
            key: its public key, as main's `segment` record names it.
        """
        tree = Tree()
        path = names.lines_path(segment)
        for line in self._source.lines(path) if path in self._paths else ():
            if line.endswith(b"\n"):
                tree.append(line[:-1])
        return SegmentSummary(segment, key, tree.size, tree.root().hex())

    def reveal(self, value: object) -> object:
        """Replace every commitment in a value by what was committed, or by `Withheld`.

        Over-long values are loaded from their blobs. The `sha256` of a `blob` record stays
        `{"$blob": hex}`; pass that hex to `blob`.
        """
        digest = disclosures.commitment(value)
        if digest is not None:
            return self._value(digest)
        if isinstance(value, dict):
            return {key: self.reveal(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.reveal(item) for item in value]
        return value

    def has_disclosure(self, digest: str) -> bool:
        """Whether the value behind a `$sd` digest is here."""
        return digest in self._disclosed

    def blob(self, digest: str) -> bytes | None:
        """The bytes of a blob by its SHA-256 in hex; None where it was withheld or omitted."""
        path = names.blob_path(digest)
        return self._source.read(path) if path in self._paths else None

    @property
    def blobs(self) -> tuple[str, ...]:
        """SHA-256 (hex) of every blob that is here."""
        return tuple(name for kind, name in map(_classified, sorted(self._paths)) if kind == "blob")

    @cached_property
    def open(self) -> Record | None:
        """The open statement (payload), or None."""
        return self._statement(names.OPEN)

    @cached_property
    def close(self) -> Record | None:
        """The close statement (payload), or None where the run was not closed."""
        return self._statement(names.CLOSE)

    @cached_property
    def _disclosed(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for name in self.segments:
            path = names.disclosures_path(name)
            if path in self._paths:
                for line in self._source.lines(path):
                    bare = line.removesuffix(b"\n")
                    found[disclosures.digest_of(bare)] = bare
        return found

    def _value(self, digest: str) -> object:
        line = self._disclosed.get(digest)
        if line is None:
            return Withheld(digest)
        try:
            value = disclosures.decode(line)
            blob = disclosures.blob_reference(value)
            if blob is None or digest in self._references:
                return value
            data = self.blob(blob)
            return Withheld(digest) if data is None else strict_json.loads(data)
        except strict_json.StrictJsonError as error:
            raise EvidenceError(f"A disclosed value is broken: {error}.") from None

    def _statement(self, path: str) -> Record | None:
        if path not in self._paths:
            return None
        return statements.read_bundle(self._source.read(path)).payload


def _classified(path: str) -> tuple[str, str]:
    return names.classify(path) or ("", "")
