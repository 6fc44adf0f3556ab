"""Checking the close statement: who signed it, and whether it says of the run what the run itself says.

Leaves out trust and outcomes of the whole (see `verify`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import statements
from pytest_mcp_governance.evidence.keys import PublicKey
from pytest_mcp_governance.evidence.names import is_name
from pytest_mcp_governance.evidence.outcome import Outcome, Problem
from pytest_mcp_governance.evidence.recount import Recount
from pytest_mcp_governance.evidence.source import SignedParts
from pytest_mcp_governance.evidence.walk import Walked

STATUSES = ("complete", "partial", "recovered")


class CloseError(EvidenceError):
    """A close statement that cannot be used, and what that makes of the run."""

    def __init__(self, outcome: Outcome, text: str) -> None:
        super().__init__(text)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class ListedSegment:
    """A segment as close lists it; `key` is base64 text."""

    key: str
    lines: int
    root: str


@dataclass(frozen=True, slots=True)
class Close:
    """A close statement whose signature and form were checked."""

    digest: str
    status: str
    finished_on: object
    segments: Mapping[str, ListedSegment]
    omitted: frozenset[str]
    subjects: Mapping[str, object]
    predicate: Mapping[str, object]


def read_close(data: bytes, opened: statements.Bundle, identity: PublicKey, run: str) -> Close:
    """Read a close statement and check that the opener signed it for this run.

    A recovered run may be closed by another key, which its statement then names.

    Raises:
        CloseError: TAMPERED or MALFORMED, with the reason.
    """
    try:
        bundle = statements.read_bundle(data)
    except EvidenceError as error:
        raise CloseError(Outcome.MALFORMED, f"close: {error}") from None
    predicate = bundle.predicate
    status = predicate.get("status")
    signer = identity
    if status == "recovered":
        signer = statements.read_key(predicate.get("identityKey")) or identity
    if not bundle.signed_by(signer):
        raise CloseError(Outcome.TAMPERED, "the close statement is not signed by the key that opened the run")
    known = bundle.payload.get("_type") == statements.STATEMENT_TYPE
    if not known or bundle.payload.get("predicateType") != statements.CLOSE_TYPE or status not in STATUSES:
        raise CloseError(Outcome.MALFORMED, "the close statement is not one of format version 1")
    if predicate.get("run") != run or predicate.get("open") != opened.digest:
        raise CloseError(Outcome.TAMPERED, "the close statement is of another run")
    return Close(
        digest=bundle.digest,
        status=str(status),
        finished_on=predicate.get("finishedOn"),
        segments=dict(_segments(predicate.get("segments"))),
        omitted=frozenset(_omitted(predicate.get("omitted"))),
        subjects=read_subjects(bundle.payload.get("subject")),
        predicate=predicate,
    )


def check_segments(close: Close, walked: Mapping[str, Walked], keys: Mapping[str, object]) -> Iterator[Problem]:
    """Hold the list of segments against the segments that are there."""
    for name in sorted({"main", *walked} - close.segments.keys()):
        yield Problem(Outcome.TAMPERED, f"segment {name} is not listed in the close statement")
    for name, listed in close.segments.items():
        found = walked.get(name)
        if found is None:
            yield Problem(Outcome.INCOMPLETE, f"segment {name}, which close lists, is missing")
            continue
        if found.problem is not None and found.problem.outcome is not Outcome.INCOMPLETE:
            continue  # the walk ended early; its problem says where
        if keys.get(name) != listed.key:
            yield Problem(Outcome.TAMPERED, f"close lists another key for segment {name}")
        if (found.lines, found.root) != (listed.lines, listed.root):
            text = f"segment {name} has {found.lines} records, other than the {listed.lines} that close signs"
            yield Problem(Outcome.TAMPERED, text, f"{name}/{min(found.lines, listed.lines)}")
        if close.subjects.get(f"seg/{name}.jsonl") != {statements.ROOT_ALGORITHM: listed.root}:
            yield Problem(Outcome.TAMPERED, f"the subject of segment {name} is not its root")
        if not found.closed:
            yield Problem(Outcome.INCOMPLETE, f"segment {name} was cut off: it has no close record")
    if close.status != "complete":
        yield Problem(Outcome.INCOMPLETE, f"the run is {close.status}, not complete")


def check_file(subjects: Mapping[str, object], parts: SignedParts) -> Iterator[Problem]:
    """Hold the visible page and the items of a single file against the signed digests."""
    if parts.view is not None and subjects.get(statements.VIEW_SUBJECT) != {"sha256": parts.view}:
        yield Problem(Outcome.TAMPERED, "the visible page is not the one that was signed")
    if subjects.get(statements.ITEMS_SUBJECT) != {"sha256": parts.items}:
        yield Problem(Outcome.TAMPERED, "the items of the file are not those that were signed")


def check_counts(close: Close, count: Recount) -> Iterator[Problem]:
    """Hold what close says was found against the records."""
    for name, counted in count.counts().items():
        if close.predicate.get(name) != counted:
            yield Problem(Outcome.TAMPERED, f"close states other {name} than its records show")
    if close.predicate.get("policies") != list(count.policies):
        yield Problem(Outcome.TAMPERED, "close states other policies than its records show")


def _segments(listed: object) -> Iterator[tuple[str, ListedSegment]]:
    seen: set[str] = set()
    for entry in listed if isinstance(listed, list) else ():
        fields = entry if isinstance(entry, dict) else {}
        name, key, lines, root = (fields.get(field) for field in ("name", "key", "lines", "root"))
        if not (isinstance(name, str) and is_name(name) and name not in seen):
            raise CloseError(Outcome.MALFORMED, "the close statement names a segment badly or twice")
        if not (isinstance(key, str) and lines.__class__ is int and isinstance(root, str)):
            raise CloseError(Outcome.MALFORMED, f"the close statement lists segment {name} badly")
        seen.add(name)
        yield name, ListedSegment(key, int(str(lines)), root)


def _omitted(listed: object) -> Iterator[str]:
    for entry in listed if isinstance(listed, list) else ():
        digest = entry.get("sha256") if isinstance(entry, dict) else None
        if not isinstance(digest, str):
            raise CloseError(Outcome.MALFORMED, "the close statement lists an omitted blob badly")
        yield digest


def read_subjects(listed: object) -> dict[str, object]:
    """The subjects of a statement: name -> digest.

    Raises:
        CloseError: MALFORMED: one is named badly or twice.
    """
    found: dict[str, object] = {}
    for entry in listed if isinstance(listed, list) else ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name in found:
            raise CloseError(Outcome.MALFORMED, "a statement names a subject badly or twice")
        found[name] = entry.get("digest")
    return found
