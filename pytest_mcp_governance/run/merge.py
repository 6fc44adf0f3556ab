"""Merges the reports of a pipeline's shards into one: checks each, copies its items byte for byte, signs over them all.

A shard that is missing or incomplete is said, not repaired; one that is altered is refused, and nothing is written.
Leaves out finding the reports (`find`) and what a group is (`evidence.group`, `evidence.shards`).
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import container, names
from pytest_mcp_governance.evidence.approval import read_approval
from pytest_mcp_governance.evidence.checking import UNRELIABLE, CheckedRun, check_run
from pytest_mcp_governance.evidence.group import group_statement, is_group, sign_group
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.outcome import Outcome, Problem, Report, worst
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.shards import Member, Whole, lacks, member_of, whole_of
from pytest_mcp_governance.evidence.source import ContainerSource
from pytest_mcp_governance.evidence.target import open_target
from pytest_mcp_governance.evidence.trust import Trust
from pytest_mcp_governance.evidence.verify import refused, verify, vouched
from pytest_mcp_governance.report import render
from pytest_mcp_governance.report.facts import FULL_BANNER, RunFacts
from pytest_mcp_governance.report.shards import GroupFacts, GroupReader, ShardRow, labels
from pytest_mcp_governance.report.since import Since
from pytest_mcp_governance.run.close import FALLBACK
from pytest_mcp_governance.run.files import replace_file
from pytest_mcp_governance.run.inside import summary_of_runs
from pytest_mcp_governance.run.later import RefusedError
from pytest_mcp_governance.run.open import PRODUCER
from pytest_mcp_governance.run.outside import Approved
from pytest_mcp_governance.run.since import since_approval


@dataclass(frozen=True, slots=True, repr=False)
class _Input:
    """A shard's report that was checked."""

    path: Path
    source: ContainerSource
    member: Member
    incomplete: tuple[str, ...]
    segments: tuple[tuple[str, int, str], ...]
    omitted: int


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written, what it verifies as with its own signer trusted, notes, and what is new."""

    out: Path
    report: Report
    notes: tuple[str, ...]
    since: Since | None = None


def merge(
    reports: Sequence[Path],
    key: SigningKey,
    out: Path,
    *,
    ephemeral: bool = False,
    expected: int | None = None,
    trust: Sequence[Trust] = (),
    require: Sequence[str] = (),
    approved: Approved | None = None,
) -> Merged:
    """Merge reports of shards into one group report and verify what was written.

    Args:
        reports: report files of single runs, at least one.
        key: who signs the group.
        out: where the group's report goes; none of `reports`.
        ephemeral: the key is kept nowhere.
        expected: how many shards there have to be; None leaves that to the shards.
        trust: where given, everyone of `reports` must be signed or countersigned by one of these.
        require: requirements that the group is held against.
        approved: the approval that the group is compared with.

    Raises:
        RefusedError: a report is altered, no run's, of another group, the same run twice, or not signed by anybody
            in `trust`; its outcome says which. Nothing was written.
        EvidenceError: nothing can be written, or the approval cannot be used.
    """
    baseline = read_approval(approved.text.encode()) if approved is not None else None
    inputs = _check_together([_checked(path, trust) for path in reports])
    if any(os.path.exists(out) and out.samefile(given.path) for given in inputs):
        raise EvidenceError(f"{safe(str(out))} is one of the reports to merge; name another file with --out.")
    whole = whole_of([given.member for given in inputs])
    by_run = {given.member.run: given for given in inputs}
    finished_on = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    notes: list[str] = []
    facts = _facts(whole, by_run, key, ephemeral, expected, finished_on, out.name)
    if baseline is not None and approved is not None:
        summary = summary_of_runs(given.source for given in inputs)
        facts = replace(facts, since=since_approval(baseline, approved.source, summary, signer=""))
    view = _view(whole, by_run, facts, expected, notes)
    parts = sorted(
        (names.in_run(given.member.run, item.path), given.source.data, item)
        for given in inputs
        for item in given.source.layout.items
    )
    items = container.list_of((path, container.item_digest(data, item)) for path, data, item in parts)
    statement = group_statement(
        whole,
        identity_key=key.public,
        finished_on=finished_on,
        producer={"name": PRODUCER, "version": version(PRODUCER)},
        expected=expected,
        view_sha256=hashlib.sha256(view).hexdigest(),
        item_list_sha256=hashlib.sha256(items).hexdigest(),
    )
    replace_file(out, container.merged(view, parts, sign_group(statement, key)))
    return Merged(out, verify(out, trust=[key.public], require=require), tuple(notes), facts.since)


def _checked(path: Path, trust: Sequence[Trust]) -> _Input:
    shown = safe(str(path))
    try:
        source = open_target(path)
        if not isinstance(source, ContainerSource):
            raise EvidenceError(f"{shown} is a folder.")
        if is_group(source.paths()):
            raise EvidenceError(f"{shown} is a group already. Merge the reports of its runs.")
        run = check_run(source)
        member = member_of(run)
    except EvidenceError as error:
        raise RefusedError(Outcome.MALFORMED, f"{shown}: {error}") from None
    outcome = worst(tuple(run.problems))
    if outcome in UNRELIABLE:
        first = min(run.problems, key=lambda problem: problem.outcome.value)
        raise RefusedError(outcome, f"{shown} is {outcome.name}: {first.sentence}")
    _check_trust(run, shown, trust)
    close = run.closed
    return _Input(
        path,
        source,
        member,
        tuple(str(problem) for problem in run.problems),
        tuple((walked.name, walked.lines, walked.root) for walked in run.walked.values()),
        len(close.omitted) if close is not None else 0,
    )


def _check_trust(run: CheckedRun, shown: str, trust: Sequence[Trust]) -> None:
    if not trust:
        return
    refusal = refused(run.identity, run.closed.finished_on if run.closed is not None else None, trust)
    if refusal is not None and not vouched(run.later, trust):
        text = f"{shown} is UNTRUSTED: signed by {run.identity.fingerprint}; {refusal}."
        raise RefusedError(Outcome.UNTRUSTED, text)


def _check_together(inputs: list[_Input]) -> list[_Input]:
    seen: dict[str, _Input] = {}
    for given in inputs:
        shown, first = safe(str(given.path)), next(iter(seen.values()), given)
        if given.member.run in seen:
            other = safe(str(seen[given.member.run].path))
            text = f"{shown} is run {given.member.run} again, as is {other}. Name each report once."
            raise RefusedError(Outcome.MALFORMED, text)
        if given.member.shard.group != first.member.shard.group:
            groups = [safe(entry.member.shard.group) for entry in (given, first)]
            text = f"{shown} is of group {groups[0]}, and {safe(str(first.path))} is of group {groups[1]}."
            raise RefusedError(Outcome.MALFORMED, text)
        seen[given.member.run] = given
    return inputs


def _facts(
    whole: Whole,
    inputs: Mapping[str, _Input],
    key: SigningKey,
    ephemeral: bool,
    expected: int | None,
    finished_on: str,
    file: str,
) -> RunFacts:
    missing = [problem.text for problem in lacks(whole, expected)]
    partial = [f"{m}: {text}" for m in whole.members for text in inputs[m.run].incomplete]
    labelled = _labels(whole)
    return RunFacts(
        run=whole.group,
        kind="Group",
        open_digest="",
        fingerprint=key.public.fingerprint,
        key_is_ephemeral=ephemeral,
        profile="full" if any(FULL_BANNER in given.source.view for given in inputs.values()) else "ticket",
        status="partial" if missing or partial else "complete",
        finished_on=finished_on,
        segments=tuple(
            (f"{labelled[m.run]}/{name}", lines, root)
            for m in whole.members
            for name, lines, root in inputs[m.run].segments
        ),
        omitted_screens=sum(given.omitted for given in inputs.values()),
        versions=((PRODUCER, version(PRODUCER)),),
        verify_command=f"mcp-governance verify {file} --trust SHA256:…",
        judged=all(member.judged for member in whole.members),
        status_reasons=(*missing, *partial),
    )


def _view(whole: Whole, inputs: Mapping[str, _Input], facts: RunFacts, expected: int | None, notes: list[str]) -> bytes:
    labelled = _labels(whole)
    readers = {member.run: EvidenceReader(inputs[member.run].source) for member in whole.members}
    group = GroupFacts(
        group=whole.group,
        total=whole.total,
        rows=tuple(_row(member, labelled[member.run], readers[member.run]) for member in whole.members),
        missing=tuple(_sentence(problem) for problem in lacks(whole, expected)),
        collection=whole.collection or "",
        selected=tuple(sorted(frozenset[str]().union(*(member.selected for member in whole.members)))),
        covered=whole.covered,
    )
    reader = GroupReader(whole.group, [(labelled[member.run], readers[member.run]) for member in whole.members])
    try:
        return render(reader, facts, group)
    except Exception as error:  # evidence that cannot be drawn is evidence all the same, and has to be signed
        notes.append(f"the page of the group could not be drawn ({type(error).__name__}); its evidence is complete")
        return FALLBACK


def _row(member: Member, label: str, reader: EvidenceReader) -> ShardRow:
    return ShardRow(
        label=label,
        index=member.shard.index,
        attempt=member.shard.attempt,
        run=member.run,
        status=member.status,
        close_digest=member.close,
        signer=member.signer,
        tests=tuple(member.tests.items()),
        findings=member.unexpected,
        unaudited=member.unaudited,
        superseded=member.superseded,
        opened=reader.open,
    )


def _labels(whole: Whole) -> dict[str, str]:
    return labels((member.run, member.shard.index, member.shard.attempt) for member in whole.members)


def _sentence(problem: Problem) -> str:
    return f"{problem.text[:1].upper()}{problem.text[1:]}."
