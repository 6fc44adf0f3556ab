"""Opens a report or run folder to tell of it elsewhere: verified first, and never with more than the ticket shows.

What others read in a pull request was not asked for, so a run folder, or a report that holds everything, is told as
its ticket would be. Leaves out every format (`report`) but how a summary grows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_mcp_governance.evidence import names, wording
from pytest_mcp_governance.evidence.approval import read_approval
from pytest_mcp_governance.evidence.group import is_group
from pytest_mcp_governance.evidence.outcome import Outcome, Report
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.shards import read_shard
from pytest_mcp_governance.evidence.source import ContainerSource, FilteredSource, NestedSource, Source
from pytest_mcp_governance.evidence.target import open_target
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.policy.detectors import builtin_secrets
from pytest_mcp_governance.report.collect import collect
from pytest_mcp_governance.report.facts import Checked
from pytest_mcp_governance.report.markdown import SUMMARY_BYTES, markdown
from pytest_mcp_governance.report.model import Evidence, Selection
from pytest_mcp_governance.report.shards import GroupReader, labels
from pytest_mcp_governance.report.since import Since
from pytest_mcp_governance.run.approved import combined, summarise
from pytest_mcp_governance.run.outside import Approved
from pytest_mcp_governance.run.since import since_approval
from pytest_mcp_governance.run.withhold import withhold

_NO_CLAIM = (Outcome.TAMPERED, Outcome.MALFORMED)


@dataclass(frozen=True, slots=True)
class Published:
    """A run as others may see it."""

    evidence: Evidence
    checked: Checked


def verified(
    target: str | os.PathLike[str],
    *,
    trust: Sequence[str] = (),
    require: Sequence[str] = (),
    approved: Approved | None = None,
) -> tuple[Report, Published | None]:
    """Verify a report or run folder and open it for telling.

    Args:
        target: a report or run folder.
        trust: as for `verify`.
        require: as for `verify`.
        approved: what the run is compared with.

    Returns:
        What the verifier says; and the run, or None where nothing that the file says may be repeated.

    Raises:
        EvidenceError: the approval cannot be compared with.
    """
    report = verify(target, trust=trust, require=require)
    if report.outcome in _NO_CLAIM:
        return report, None
    path = Path(target)
    told = path / "report.html" if (path / "report.html").is_file() else path
    if told is not path and verify(told).close_digest != report.close_digest:
        told = path  # not this run's report; what it withholds says nothing about this run
    checked = Checked(
        file=path.name,
        run=report.group or report.run,
        kind="Group" if report.group else "Run",
        shards=report.shards,
        status=report.status,
        outcome=report.outcome.name,
        meaning=wording.meaning(report.outcome, trusting=bool(trust)),
        problems=tuple(str(p) for p in report.problems if p.outcome is not Outcome.UNTRUSTED),
        signer=report.signer,
        open_digest=report.open_digest,
        close_digest=report.close_digest,
        started_on=report.started_on,
        finished_on=report.finished_on,
    )
    signer = report.signer if report.trusted else ""
    return report, published(told, checked, approved=approved, signer=signer)


def published(
    target: str | os.PathLike[str] | bytes,
    checked: Checked,
    *,
    secrets: Set[str] = frozenset(),
    approved: Approved | None = None,
    signer: str = "",
) -> Published:
    """Open a run for telling without verifying it, as the process does that has just seen it closed.

    Args:
        target: its report, the bytes of it, or its run folder.
        checked: what is known of it; its commit is read from the open statement.
        secrets: values that are told nowhere.
        approved: what the run is compared with.
        signer: fingerprint of the key that signed the run, where somebody confirmed it.

    Raises:
        EvidenceError: it cannot be read, or the approval cannot be compared with.
    """
    source = open_target(target)
    if isinstance(source, ContainerSource) and is_group(source.paths()):
        runs = _runs(source, secrets)
        evidence = _of_the_group(checked.run, runs)
    else:
        runs = [_Run("", 0, _as_ticket(source, secrets))]
        evidence = collect(runs[0].reader)
    commits = {_commit(run.reader) for run in runs}
    commit, dirty = commits.pop() if len(commits) == 1 else ("", False)
    since = _since(approved, runs, signer) if approved is not None else None
    return Published(evidence, replace(checked, commit=commit, dirty=dirty, since=since))


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of a group."""

    label: str
    shard: int
    reader: EvidenceReader


def _as_ticket(source: Source, secrets: Set[str]) -> EvidenceReader:
    hidden = withhold(EvidenceReader(source), secrets=secrets, detects_secret=_holds_secret, full=False)
    return EvidenceReader(FilteredSource(source, hidden.disclosures, hidden.omitted_blobs))


def _runs(group: ContainerSource, secrets: Set[str]) -> list[_Run]:
    """By shard and attempt."""
    found = dict.fromkeys(place[0] for path in group.paths() if (place := names.nested(path)) is not None)
    readers = {run: _as_ticket(NestedSource(group, run), secrets) for run in found}
    shards = {run: read_shard(_opened(reader).get("shard"), run) for run, reader in readers.items()}
    ordered = sorted(shards.items(), key=lambda item: (item[1].index, item[1].attempt, item[0]))
    label = labels((run, shard.index, shard.attempt) for run, shard in ordered)
    return [_Run(label[run], shard.index, readers[run]) for run, shard in ordered]


def _of_the_group(group: str, runs: Sequence[_Run]) -> Evidence:
    evidence = collect(GroupReader(group, [(run.label, run.reader) for run in runs]))
    # What one shard deselects another one runs, and a repeated shard runs its tests without an audit twice.
    unaudited = sum({run.shard: _unaudited(run.reader) for run in runs}.values())
    return replace(evidence, selection=Selection((), unaudited, 0, ""))


def _since(approved: Approved, runs: Sequence[_Run], signer: str) -> Since:
    found = [summarise(run.reader.records(), run.reader.blob) for run in runs]
    summary = found[0] if len(found) == 1 else combined(found)
    return since_approval(read_approval(approved.text.encode()), approved.source, summary, signer=signer)


def _unaudited(reader: EvidenceReader) -> int:
    """How many tests of a run had no audit, as its (last) selection says."""
    counts = [record.get("unaudited") for record in reader.records("main") if record["type"] == "selection"]
    return counts[-1] if counts and isinstance(counts[-1], int) else 0


def append_summary(path: Path, told: Published) -> bool:
    """Append the run's Markdown to a job's summary, as far as the summary has room for it.

    Args:
        path: the file that `GITHUB_STEP_SUMMARY` names; made where it is missing.
        told: the run.

    Returns:
        Whether there was room.

    Raises:
        OSError: it cannot be written.
    """
    room = SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0)
    text = markdown(told.evidence, told.checked, max_bytes=room).encode() + b"\n"
    if len(text) > room:
        return False
    with path.open("ab") as file:
        file.write(text)
    return True


def _commit(reader: EvidenceReader) -> tuple[str, bool]:
    source = _opened(reader).get("source")
    if not isinstance(source, Mapping) or not isinstance(source.get("commit"), str):
        return "", False
    return str(source["commit"]), source.get("dirty") is not False


def _opened(reader: EvidenceReader) -> Mapping[str, object]:
    predicate = (reader.open or {}).get("predicate")
    return predicate if isinstance(predicate, Mapping) else {}


def _holds_secret(text: str) -> bool:
    return bool(builtin_secrets(text))
