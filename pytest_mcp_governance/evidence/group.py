"""A group: the shards of one pipeline in one file, under one statement. Signing it, and checking it again.

Nested runs are checked like any other; only their pages are not here. What the statement says of them is made
again from their records, so that nobody can sign "all green" over a red shard. Leaves out trust (see `verify`).
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import closing, names, source, statements
from pytest_mcp_governance.evidence.checking import MAX_BLOBS_BYTES, UNRELIABLE, CheckedRun, check_run
from pytest_mcp_governance.evidence.keys import PublicKey, SigningKey
from pytest_mcp_governance.evidence.later import Later, LaterError, LaterStatements
from pytest_mcp_governance.evidence.outcome import Outcome, Problem, worst
from pytest_mcp_governance.evidence.requirements import Facts, Requirement, unmet
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.shards import Member, Whole, lacks, member_of, whole_of
from pytest_mcp_governance.evidence.source import ContainerSource, NestedSource

GROUP_TYPE = "https://pytest-mcp-governance.dev/group/v1"


@dataclass(slots=True)
class CheckedGroup:
    """A group as far as it was checked, and what was found wrong. Counts are sums over its runs."""

    bundle: statements.Bundle
    identity: PublicKey
    whole: Whole | None = None
    later: tuple[Later, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unmet: list[Problem] = field(default_factory=list)
    records: int = 0
    sealed: int = 0
    withheld: int = 0
    omitted: int = 0
    unknown: int = 0
    segments: dict[str, int] = field(default_factory=dict)
    selection: dict[str, int] = field(default_factory=dict)
    policies: set[str] = field(default_factory=set)
    started_on: str = ""

    @property
    def digest(self) -> str:
        """The digest of the group statement: what a later statement is made over."""
        return self.bundle.digest


def is_group(paths: Sequence[str]) -> bool:
    """Whether a file with these items is a group, or was to be one."""
    return any(path == names.GROUP or names.nested(path) is not None for path in paths)


def group_statement(
    whole: Whole,
    *,
    identity_key: PublicKey,
    finished_on: str,
    producer: Mapping[str, object],
    expected: int | None,
    view_sha256: str,
    item_list_sha256: str,
) -> dict[str, object]:
    """The statement over a group of runs.

    Args:
        whole: what the runs come to.
        identity_key: the key that signs it.
        finished_on: RFC 3339 UTC.
        producer: name and version of the program.
        expected: number of shards that were expected; None leaves that to the shards.
        view_sha256: of the group's page.
        item_list_sha256: of the group's item list, which covers every item of every run.
    """
    predicate = {
        **whole.listed(),
        "expected": expected,
        "identityKey": base64.b64encode(identity_key.raw).decode("ascii"),
        "finishedOn": finished_on,
        "producer": dict(producer),
    }
    subjects = _subjects(whole) | {
        statements.VIEW_SUBJECT: {"sha256": view_sha256},
        statements.ITEMS_SUBJECT: {"sha256": item_list_sha256},
    }
    return {
        "_type": statements.STATEMENT_TYPE,
        "subject": [{"name": name, "digest": digest} for name, digest in sorted(subjects.items())],
        "predicateType": GROUP_TYPE,
        "predicate": predicate,
    }


def sign_group(statement: Mapping[str, object], key: SigningKey) -> bytes:
    """Sign a group statement; the bundle goes to `group.sigstore.json`."""
    return statements.sign_bundle(statement, key)


def check_group(evidence: ContainerSource, require: Sequence[Requirement] = ()) -> CheckedGroup:
    """Check a group: its statement, every run in it, and that the one says what the others say.

    Args:
        evidence: the file.
        require: what every run has to meet; what is not met is in `unmet`.

    Raises:
        EvidenceError: it cannot be read as a group at all.
    """
    return _Check(evidence, require).group()


class _Check:
    def __init__(self, evidence: ContainerSource, require: Sequence[Requirement]) -> None:
        self._source, self._require = evidence, require
        self._members: list[Member] = []
        self._blob_bytes = MAX_BLOBS_BYTES

    def group(self) -> CheckedGroup:
        group = self._opening()
        group.problems += closing.check_file(_named_subjects(group.bundle), self._source.signed_parts())
        for run in self._runs():
            self._run(group, run)
        if worst(tuple(group.problems)) not in UNRELIABLE:
            self._compare(group)
        self._later(group)
        return group

    def _opening(self) -> CheckedGroup:
        stray = [p for p in self._source.paths() if names.nested(p) is None and not _is_of_group(p)]
        if stray:
            raise EvidenceError(f"This file holds a group of runs, and {stray[0]} beside it.")
        if names.GROUP not in self._source.paths():
            raise EvidenceError(f"{names.GROUP} is missing; nothing says which runs belong to this group.")
        bundle = statements.read_bundle(self._statement(names.GROUP))
        kind = (bundle.payload.get("_type"), bundle.payload.get("predicateType"))
        identity = statements.read_key(bundle.predicate.get("identityKey"))
        if kind != (statements.STATEMENT_TYPE, GROUP_TYPE) or identity is None:
            raise EvidenceError(f"{names.GROUP} is not a group statement of format version 1.")
        group = CheckedGroup(bundle, identity)
        if not bundle.signed_by(identity):
            group.problems.append(Problem(Outcome.TAMPERED, "the signature of the group statement is wrong"))
        return group

    def _runs(self) -> tuple[str, ...]:
        nested = (names.nested(path) for path in self._source.paths())
        found = tuple(dict.fromkeys(run for run, _ in filter(None, nested)))
        if not found:
            raise EvidenceError("There is no run in this group.")
        return found

    def _run(self, group: CheckedGroup, name: str) -> None:
        try:
            run = check_run(NestedSource(self._source, name), max_blob_bytes=self._blob_bytes)
            member = member_of(run)
        except EvidenceError as error:
            group.problems.append(Problem(Outcome.MALFORMED, f"run {name}: {error}"))
            return
        self._blob_bytes -= run.blob_bytes
        if run.run != name:
            group.problems.append(Problem(Outcome.TAMPERED, f"what lies under runs/{name} is run {run.run}"))
        group.problems += [
            replace(problem, text=f"{member}: {problem}", ref="") for problem in sorted(run.problems, key=_precedence)
        ]
        group.notes += [f"{member}: {note}" for note in run.notes]
        self._members.append(member)
        _add_up(group, run)
        if worst(tuple(run.problems)) not in UNRELIABLE:
            self._unmet(group, run, member)

    def _unmet(self, group: CheckedGroup, run: CheckedRun, member: Member) -> None:
        withheld = sum(walked.withheld for walked in run.walked.values())
        for requirement in self._require:
            # A shard in which no audited test was selected shows nothing, and hides nothing: see `_nothing_ended`.
            if requirement.name == "close" or (requirement.name in _OF_TESTS and _is_empty(member)):
                continue
            reason = unmet(requirement, Facts(run.count, run.opened.predicate, withheld, member.close))
            if reason is not None:
                text = f"required: {safe(requirement.name)}; {member}: {reason}"
                group.unmet.append(Problem(Outcome.REQUIREMENT, text))

    def _compare(self, group: CheckedGroup) -> None:
        group.whole = whole = whole_of(self._members)
        predicate = group.bundle.predicate
        for member in whole.members:
            if member.shard.group != whole.group:
                text = f"{member} is of another group than {whole.members[0]}"
                group.problems.append(Problem(Outcome.TAMPERED, text))
        for name, made in whole.listed().items():
            if predicate.get(name) != made:
                text = f"the group statement states other {name} than its runs show"
                group.problems.append(Problem(Outcome.TAMPERED, text))
        named = _named_subjects(group.bundle)
        runs = {name: digest for name, digest in named.items() if name not in _OWN_SUBJECTS}
        if runs != _subjects(whole):
            group.problems.append(Problem(Outcome.TAMPERED, "the group statement was made over other runs than these"))
        expected = predicate.get("expected")
        if expected is not None and expected.__class__ is not int:
            raise EvidenceError(f"{names.GROUP} does not say properly how many shards were expected.")
        group.problems += lacks(whole, int(str(expected)) if expected is not None else None)
        group.unmet += self._unmet_by_all(group, whole)

    def _unmet_by_all(self, group: CheckedGroup, whole: Whole) -> Iterator[Problem]:
        digests = {group.digest, *(member.close for member in whole.members)}
        for requirement in self._require:
            reason = None
            if requirement.name in _OF_TESTS and all(map(_is_empty, whole.members)):
                reason = "no test ended in any shard"
            elif requirement.name == "close" and requirement.value.removeprefix("sha256:") not in digests:
                reason = f"the digest is {group.digest}, and no run in the group was closed with the one named"
            if reason is not None:
                yield Problem(Outcome.REQUIREMENT, f"required: {safe(requirement.name)}; {reason}")

    def _later(self, group: CheckedGroup) -> None:
        read = LaterStatements(group.digest)
        for path in self._source.paths():
            if path.startswith("statements/"):
                try:
                    read.add(path, self._statement(path))
                except LaterError as error:
                    group.problems.append(Problem(error.outcome, str(error)))
        group.later = tuple(read.found)

    def _statement(self, path: str) -> bytes:
        return source.join(self._source.chunks(path), source.MAX_LINE_BYTES)


_OF_TESTS = ("passed", "policy", "floor")  # requirements about tests, of which a shard may have none
_OWN_SUBJECTS = (statements.VIEW_SUBJECT, statements.ITEMS_SUBJECT)


def _subjects(whole: Whole) -> dict[str, object]:
    return {names.in_run(m.run, names.CLOSE): {"sha256": m.close} for m in whole.members if m.close}


def _named_subjects(bundle: statements.Bundle) -> Mapping[str, object]:
    return closing.read_subjects(bundle.payload.get("subject"))


def _is_of_group(path: str) -> bool:
    return path == names.GROUP or path.startswith("statements/")


def _is_empty(member: Member) -> bool:
    return not member.selected and not member.tests


def _precedence(problem: Problem) -> int:
    return problem.outcome.value


def _add_up(group: CheckedGroup, run: CheckedRun) -> None:
    group.records += sum(walked.lines for walked in run.walked.values())
    group.sealed += run.sealed
    group.withheld += sum(walked.withheld for walked in run.walked.values())
    group.omitted += len(run.closed.omitted) if run.closed is not None else 0
    group.unknown += run.count.unknown
    group.segments |= {f"{run.run}/{name}": walked.lines for name, walked in run.walked.items()}
    group.policies |= set(run.count.policies)
    for name, count in run.count.selection.items():
        group.selection[name] = group.selection.get(name, 0) + count
    started = run.opened.predicate.get("startedOn")
    if isinstance(started, str) and (not group.started_on or started < group.started_on):
        group.started_on = started
