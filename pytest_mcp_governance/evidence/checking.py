"""Checking one run, whoever is trusted: open, segments, disclosures and blobs, close, recount, later statements.

Its rules: every byte is covered by a digest or a signature; what cannot be read is not evidence; what is
missing is INCOMPLETE, what contradicts is TAMPERED; a key inside the evidence is for consistency only.
Leaves out trust and requirements (see `verify`), and how runs make a group (see `group`).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import closing, names, source, statements
from pytest_mcp_governance.evidence.keys import PublicKey
from pytest_mcp_governance.evidence.later import Later, LaterError, LaterStatements
from pytest_mcp_governance.evidence.outcome import Outcome, Problem, worst
from pytest_mcp_governance.evidence.recount import Recount
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.source import Source
from pytest_mcp_governance.evidence.walk import SegmentWalk, Walked

UNRELIABLE = (Outcome.TAMPERED, Outcome.MALFORMED)

MAX_BLOBS_BYTES = 4 * 1024**3  # what a small file can unpack to without end must end


@dataclass(slots=True)
class CheckedRun:
    """A run as far as it was checked, and what was found wrong.

    Args:
        opened: the open statement.
        identity: the key that it names, and that must have signed it.
        run: run id.
        count: what its records count up to.
        walked: its segments, by name.
        closed: the close statement where there is one that can be used.
        later: the later statements that can be used.
        problems: what is wrong so far.
        notes: what a reader should know though it is not wrong.
        blob_bytes: what its blobs unpacked to.
    """

    opened: statements.Bundle
    identity: PublicKey
    run: str
    count: Recount = field(default_factory=Recount)
    keys: dict[str, object] = field(default_factory=dict)
    walked: dict[str, Walked] = field(default_factory=dict)
    policy_blobs: set[str] = field(default_factory=set)
    closed: closing.Close | None = None
    all_present: bool = False  # closed, and every segment that close lists is here
    later: tuple[Later, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    blob_bytes: int = 0

    @property
    def sealed(self) -> int:
        """Number of records that a signature covers."""
        return sum(_sealed(walked, self.closed) for walked in self.walked.values())

    @property
    def unreliable(self) -> bool:
        """Whether what it says can no longer be relied on."""
        return worst(tuple(self.problems)) in UNRELIABLE


def check_run(evidence: Source, *, max_blob_bytes: int = MAX_BLOBS_BYTES) -> CheckedRun:
    """Check a run from its open statement to its later statements.

    Args:
        evidence: where the run is.
        max_blob_bytes: what its blobs may unpack to, together.

    Raises:
        EvidenceError: it cannot be read as a run at all.
    """
    return _Check(evidence, max_blob_bytes).run()


class _Check:
    """One check, from the first step to the last."""

    def __init__(self, evidence: Source, max_blob_bytes: int) -> None:
        self._source, self._max_blob_bytes = evidence, max_blob_bytes
        self._paths = evidence.paths()
        self._problems: list[Problem] = []
        self._notes: list[str] = []

    def run(self) -> CheckedRun:
        run = self._opening()
        self._segments(run)
        self._closing(run)
        self._blobs(run)
        self._gaps(run)
        self._later(run)
        return run

    def _opening(self) -> CheckedRun:
        if names.OPEN not in self._paths:
            raise EvidenceError(f"{names.OPEN} is missing; nothing says which run this is.")
        bundle = statements.read_bundle(self._statement(names.OPEN))
        identity = statements.read_key(bundle.predicate.get("identityKey"))
        main = statements.read_key(bundle.predicate.get("segmentKey"))
        run = bundle.predicate.get("run")
        known = bundle.payload.get("_type") == statements.STATEMENT_TYPE
        if not known or bundle.payload.get("predicateType") != statements.OPEN_TYPE:
            raise EvidenceError(f"{names.OPEN} is not an open statement of format version 1.")
        if identity is None or main is None or not isinstance(run, str) or not names.is_name(run):
            raise EvidenceError(f"{names.OPEN} lacks a proper run id, identity key or segment key.")
        if not bundle.signed_by(identity):
            self._add(Outcome.TAMPERED, "the signature of the open statement is wrong")
        return CheckedRun(
            bundle,
            identity,
            run,
            keys={"main": bundle.predicate["segmentKey"]},
            problems=self._problems,
            notes=self._notes,
        )

    def _segments(self, run: CheckedRun) -> None:
        present = {name for kind, name in map(_classified, self._paths) if kind == "lines"}
        if "main" not in present:
            text = "the main segment is missing; without it nothing can be checked"
            if names.CLOSE in self._paths and not present:
                text += ". If this is the outline of a run too large for one file, verify its run folder"
            self._add(Outcome.INCOMPLETE, text)
            return
        for name in ("main", *sorted(present - {"main"})):
            self._segment(run, name, closed=names.CLOSE in self._paths)
            if name == "main" and run.unreliable:
                return  # which other segments there should be is not known
        for kind, name in map(_classified, self._paths):
            if kind == "disclosures" and name not in present | run.keys.keys():
                self._add(Outcome.TAMPERED, f"there are disclosures of segment {name}, which main does not name")
        for name in sorted(run.keys.keys() - present):
            self._add(Outcome.INCOMPLETE, f"segment {name}, which main names, is missing")

    def _segment(self, run: CheckedRun, name: str, *, closed: bool) -> None:
        key = statements.read_key(run.keys.get(name))
        if key is None:
            # A worker that was killed before main knew it leaves such a file; a closed run has none.
            outcome = Outcome.TAMPERED if closed else Outcome.INCOMPLETE
            self._add(outcome, f"main names no key for segment {name}; its records do not count")
            return
        walk = SegmentWalk(self._source, run=run.run, name=name, key=key)
        for record in walk:
            run.count.add(record)
            kind = record["type"]
            if kind == "segment" and name == "main":
                self._name_segment(run, record)
            elif kind == "policy":
                run.policy_blobs.update(source.policy_blobs(record))
            elif kind == "open":
                self._check_open_record(record)
        run.walked[name] = walk.walked
        self._notes += walk.walked.notes
        if walk.walked.problem is not None:
            self._problems.append(walk.walked.problem)

    def _name_segment(self, run: CheckedRun, record: dict[str, object]) -> None:
        name = record.get("name")
        if not isinstance(name, str) or not names.is_name(name) or name in run.keys:
            self._add(Outcome.TAMPERED, "a segment is named badly or twice", f"main/{record['seq']}")
            return
        run.keys[name] = record.get("key")

    def _check_open_record(self, record: dict[str, object]) -> None:
        digest = hashlib.sha256(self._statement(names.OPEN)).hexdigest()
        if record.get("open_statement") != digest:
            text = "the open statement is not the one that this record names"
            self._add(Outcome.TAMPERED, text, f"{record['seg']}/0")

    def _closing(self, run: CheckedRun) -> None:
        if names.CLOSE not in self._paths:
            self._add(Outcome.INCOMPLETE, "the run was not closed; what is there verifies to " + _reach(run))
            return
        try:
            run.closed = closing.read_close(self._statement(names.CLOSE), run.opened, run.identity, run.run)
        except closing.CloseError as error:
            self._add(error.outcome, str(error))
            return
        if "main" in run.walked and not _broken(run.walked["main"]):
            self._problems += closing.check_segments(run.closed, run.walked, run.keys)
        run.all_present = run.closed.segments.keys() <= run.walked.keys()
        parts = self._source.signed_parts()
        if parts is not None:
            self._problems += closing.check_file(run.closed.subjects, parts)
        if run.all_present and not run.unreliable:
            self._problems += closing.check_counts(run.closed, run.count)

    def _blobs(self, run: CheckedRun) -> None:
        if run.unreliable:
            return  # which blobs are referred to is not known; the problem is named already
        whole = run.all_present and all(walked.closed for walked in run.walked.values())
        referred = run.policy_blobs.union(*(walked.blobs for walked in run.walked.values()))
        omitted = run.closed.omitted if run.closed is not None else frozenset()
        present = {name for kind, name in map(_classified, self._paths) if kind == "blob"}
        for digest in sorted(present):
            found, size = _hash(self._source.chunks(names.blob_path(digest)))
            run.blob_bytes += size
            if run.blob_bytes > self._max_blob_bytes:
                self._add(Outcome.MALFORMED, f"the blobs unpack to more than {MAX_BLOBS_BYTES} bytes")
                return
            if found != digest:
                self._add(Outcome.TAMPERED, f"blob {digest[:16]}… is not what its name says")
            elif digest not in referred and whole:
                self._add(Outcome.TAMPERED, f"blob {digest[:16]}… belongs to no record")
        for digest in sorted(referred - present - omitted):
            outcome = Outcome.TAMPERED if run.closed is not None else Outcome.INCOMPLETE
            self._add(outcome, f"blob {safe(digest[:16])}…, which a record refers to, is missing")

    def _gaps(self, run: CheckedRun) -> None:
        count = run.count
        if count.gaps:
            self._add(Outcome.INCOMPLETE, f"the recorder noted {count.gaps} gaps in its own records")
        for kind, tests in (("selected", count.missing), ("started", [name for name, _ in count.unfinished])):
            if tests:
                text = f"{len(tests)} {kind} tests have no end record, the first is {safe(tests[0])}"
                self._add(Outcome.INCOMPLETE, text)

    def _later(self, run: CheckedRun) -> None:
        paths = [path for path in self._paths if names.classify(path) and path.startswith("statements/")]
        if not paths or (run.closed is None and names.CLOSE in self._paths):
            return  # a close statement that cannot be used is named already
        read = LaterStatements(run.closed.digest if run.closed is not None else None)
        for path in paths:
            try:
                read.add(path, self._statement(path))
            except LaterError as error:
                self._add(error.outcome, str(error))
        run.later = tuple(read.found)

    def _statement(self, path: str) -> bytes:
        return source.join(self._source.chunks(path), source.MAX_LINE_BYTES)

    def _add(self, outcome: Outcome, text: str, ref: str = "") -> None:
        self._problems.append(Problem(outcome, text, ref))


def _broken(walked: Walked) -> bool:
    return walked.problem is not None and walked.problem.outcome in UNRELIABLE


def _sealed(walked: Walked, close: closing.Close | None) -> int:
    listed = close.segments.get(walked.name) if close is not None else None
    if listed is not None and (listed.lines, listed.root) == (walked.lines, walked.root):
        return walked.lines
    return min(walked.sealed, walked.lines)


def _reach(run: CheckedRun) -> str:
    ends = [f"{w.name}/{w.sealed - 1}" for w in run.walked.values() if w.sealed]
    return "record " + ", ".join(ends) if ends else "no record, as none is sealed"


def _hash(chunks: Iterator[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _classified(path: str) -> tuple[str, str]:
    return names.classify(path) or ("", "")
