"""The verifier: split, open, segments, disclosures and blobs, close, recount, trust, requirements.

Its rules: every byte is covered by a digest or a signature; what cannot be read is not evidence; what is
missing is INCOMPLETE, what contradicts is TAMPERED; a key inside the evidence is for consistency only.
It imports nothing but `evidence`, evaluates no policy, writes nothing and raises nothing.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pytest_mcp_governance.errors import EvidenceError, GovernanceError
from pytest_mcp_governance.evidence import closing, names, source, statements
from pytest_mcp_governance.evidence.keys import PublicKey
from pytest_mcp_governance.evidence.outcome import Outcome, Problem, Report, Verdict, worst
from pytest_mcp_governance.evidence.recount import Recount
from pytest_mcp_governance.evidence.requirements import Facts, Requirement, parse_requirements, unmet
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.source import ContainerSource, Source
from pytest_mcp_governance.evidence.target import open_target
from pytest_mcp_governance.evidence.trust import Trust, load_trust, parse_time
from pytest_mcp_governance.evidence.walk import SegmentWalk, Walked

__all__ = ["Outcome", "Problem", "Report", "Verdict", "verify"]

_UNRELIABLE = (Outcome.TAMPERED, Outcome.MALFORMED)

MAX_BLOBS_BYTES = 4 * 1024**3  # what a small file can unpack to without end must end


def verify(
    target: str | os.PathLike[str] | bytes,
    trust: Sequence[Trust | PublicKey | str] = (),
    require: Sequence[str] = (),
) -> Report:
    """Verify a report file, its bytes, or a run folder.

    Args:
        target: path, or the bytes of a single file.
        trust: identities to trust: loaded keys, `SHA256:` fingerprints, PEM or trust.json paths.
        require: requirements such as `passed` or `commit=…`.

    Returns:
        The report. Whatever the bytes are, nothing is raised; what cannot be read is MALFORMED.
    """
    try:
        trusted = tuple(load_trust(entry) for entry in trust)
        required = parse_requirements(tuple(require))
        return _Verification(open_target(target), trusted, required).report()
    except GovernanceError as error:
        return Report(Outcome.MALFORMED, (Problem(Outcome.MALFORMED, safe(str(error), 1_000)),))
    except Exception as error:  # a verifier that dies on hostile bytes would be no verifier
        text = f"This cannot be read as evidence ({type(error).__name__})."
        return Report(Outcome.MALFORMED, (Problem(Outcome.MALFORMED, text),))


@dataclass(slots=True)
class _Run:
    """What is known of the run while it is being verified."""

    opened: statements.Bundle
    identity: PublicKey
    run: str
    count: Recount = field(default_factory=Recount)
    keys: dict[str, object] = field(default_factory=dict)
    walked: dict[str, Walked] = field(default_factory=dict)
    policy_blobs: set[str] = field(default_factory=set)
    closed: closing.Close | None = None
    all_present: bool = False  # closed, and every segment that close lists is here


class _Verification:
    """One verification, from the first step to the report."""

    def __init__(self, evidence: Source, trust: tuple[Trust, ...], require: tuple[Requirement, ...]) -> None:
        self._source = evidence
        self._paths = evidence.paths()
        self._trust, self._require = trust, require
        self._problems: list[Problem] = []
        self._notes: list[str] = []

    def report(self) -> Report:
        for path in self._paths:
            if path.startswith("statements/"):
                raise EvidenceError(f"{path} is a later statement, which this version cannot check.")
        run = self._opening()
        self._segments(run)
        self._closing(run)
        self._blobs(run)
        self._gaps(run)
        return self._conclude(run)

    def _opening(self) -> _Run:
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
        return _Run(bundle, identity, run, keys={"main": bundle.predicate["segmentKey"]})

    def _segments(self, run: _Run) -> None:
        present = {name for kind, name in map(_classified, self._paths) if kind == "lines"}
        if "main" not in present:
            self._add(Outcome.INCOMPLETE, "the main segment is missing; the others cannot be checked without it")
            return
        for name in ("main", *sorted(present - {"main"})):
            self._segment(run, name, closed=names.CLOSE in self._paths)
            if name == "main" and self._unreliable():
                return  # which other segments there should be is not known
        for kind, name in map(_classified, self._paths):
            if kind == "disclosures" and name not in present | run.keys.keys():
                self._add(Outcome.TAMPERED, f"there are disclosures of segment {name}, which main does not name")
        for name in sorted(run.keys.keys() - present):
            self._add(Outcome.INCOMPLETE, f"segment {name}, which main names, is missing")

    def _segment(self, run: _Run, name: str, *, closed: bool) -> None:
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

    def _name_segment(self, run: _Run, record: dict[str, object]) -> None:
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

    def _closing(self, run: _Run) -> None:
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
        if isinstance(self._source, ContainerSource):
            self._problems += closing.check_file(run.closed, self._source)
        if run.all_present and not self._unreliable():
            self._problems += closing.check_counts(run.closed, run.count)

    def _blobs(self, run: _Run) -> None:
        if self._unreliable():
            return  # which blobs are referred to is not known; the problem is named already
        whole = run.all_present and all(walked.closed for walked in run.walked.values())
        referred = run.policy_blobs.union(*(walked.blobs for walked in run.walked.values()))
        omitted = run.closed.omitted if run.closed is not None else frozenset()
        present = {name for kind, name in map(_classified, self._paths) if kind == "blob"}
        total = 0
        for digest in sorted(present):
            found, size = _hash(self._source.chunks(names.blob_path(digest)))
            total += size
            if total > MAX_BLOBS_BYTES:
                self._add(Outcome.MALFORMED, f"the blobs unpack to more than {MAX_BLOBS_BYTES} bytes")
                return
            if found != digest:
                self._add(Outcome.TAMPERED, f"blob {digest[:16]}… is not what its name says")
            elif digest not in referred and whole:
                self._add(Outcome.TAMPERED, f"blob {digest[:16]}… belongs to no record")
        for digest in sorted(referred - present - omitted):
            outcome = Outcome.TAMPERED if run.closed is not None else Outcome.INCOMPLETE
            self._add(outcome, f"blob {safe(digest[:16])}…, which a record refers to, is missing")

    def _gaps(self, run: _Run) -> None:
        count = run.count
        if count.gaps:
            self._add(Outcome.INCOMPLETE, f"the recorder noted {count.gaps} gaps in its own records")
        for kind, tests in (("selected", count.missing), ("started", [name for name, _ in count.unfinished])):
            if tests:
                text = f"{len(tests)} {kind} tests have no end record, the first is {safe(tests[0])}"
                self._add(Outcome.INCOMPLETE, text)

    def _conclude(self, run: _Run) -> Report:
        opened = run.opened.predicate
        close = run.closed
        signed_at = parse_time(close.finished_on if close else opened.get("startedOn"))
        refusals = [entry.refuses(run.identity, signed_at) for entry in self._trust]
        trusted = None in refusals
        if not trusted:
            why = refusals[0] if refusals else "no trusted key was named"
            text = f"signed by {run.identity.fingerprint}; {why}"
            self._add(Outcome.UNTRUSTED, text)
        report = Report(
            outcome=worst(tuple(self._problems)),
            run=run.run,
            signer=run.identity.fingerprint,
            trusted=trusted,
            open_digest=run.opened.digest,
            started_on=_time_text(opened.get("startedOn")),
            close_digest=close.digest if close else "",
            finished_on=_time_text(close.finished_on) if close else "",
            status=close.status if close else "",
            omitted=len(close.omitted) if close else 0,
            records=sum(walked.lines for walked in run.walked.values()),
            sealed=sum(_sealed(walked, close) for walked in run.walked.values()),
            withheld=sum(walked.withheld for walked in run.walked.values()),
            segments={name: walked.lines for name, walked in run.walked.items()},
        )
        return self._finish(run, report)

    def _finish(self, run: _Run, report: Report) -> Report:
        count = run.count
        if report.outcome not in _UNRELIABLE:
            report = replace(
                report,
                verdict=_verdict(count),
                findings=count.findings,
                tests={safe(outcome): number for outcome, number in count.tests.items()},
                selection=count.selection,
                policies=tuple(map(safe, count.policies)),
            )
            facts = Facts(count, run.opened.predicate, report.withheld, report.close_digest)
            for requirement in self._require:
                reason = unmet(requirement, facts)
                if reason is not None:
                    text = f"required: {safe(requirement.name)}; {reason}"
                    self._add(Outcome.REQUIREMENT, text)
        if count.unknown:
            self._notes.append(f"{count.unknown} records are of types that this version does not know")
        ordered = tuple(sorted(self._problems, key=lambda problem: problem.outcome.value))
        return replace(report, outcome=worst(ordered), problems=ordered, notes=tuple(self._notes))

    def _unreliable(self) -> bool:
        return worst(tuple(self._problems)) in _UNRELIABLE

    def _statement(self, path: str) -> bytes:
        return source.join(self._source.chunks(path), source.MAX_LINE_BYTES)

    def _add(self, outcome: Outcome, text: str, ref: str = "") -> None:
        self._problems.append(Problem(outcome, text, ref))


def _verdict(count: Recount) -> Verdict:
    if not count.judged:
        return Verdict.NOT_JUDGED
    return Verdict.FINDINGS if count.unexpected else Verdict.NO_FINDINGS


def _broken(walked: Walked) -> bool:
    return walked.problem is not None and walked.problem.outcome in _UNRELIABLE


def _sealed(walked: Walked, close: closing.Close | None) -> int:
    listed = close.segments.get(walked.name) if close is not None else None
    if listed is not None and (listed.lines, listed.root) == (walked.lines, walked.root):
        return walked.lines
    return min(walked.sealed, walked.lines)


def _reach(run: _Run) -> str:
    ends = [f"{w.name}/{w.sealed - 1}" for w in run.walked.values() if w.sealed]
    return "record " + ", ".join(ends) if ends else "no record, as none is sealed"


def _hash(chunks: Iterator[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _time_text(value: object) -> str:
    return safe(value, 40) if isinstance(value, str) else ""


def _classified(path: str) -> tuple[str, str]:
    return names.classify(path) or ("", "")
