"""Closes a run: counts what was recorded, renders the report, signs the close statement, packs the single file.

The counts come from the records by the verifier's own recount, so that what is signed is what a reader recomputes.
"""

import base64
import os
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence import names
from pytest_mcp_governance.evidence.container import Draft, pack
from pytest_mcp_governance.evidence.keys import PublicKey
from pytest_mcp_governance.evidence.ledger import SegmentSummary
from pytest_mcp_governance.evidence.reader import EvidenceReader, Record
from pytest_mcp_governance.evidence.recount import Recount
from pytest_mcp_governance.evidence.source import FilteredSource, FolderSource, items
from pytest_mcp_governance.evidence.statements import close_statement, read_bundle
from pytest_mcp_governance.policy.detectors import builtin_secrets
from pytest_mcp_governance.report import render
from pytest_mcp_governance.report.facts import RunFacts
from pytest_mcp_governance.report.outline import outlined, render_outline
from pytest_mcp_governance.report.since import Since, terminal_lines
from pytest_mcp_governance.run.open import PRODUCER, OpenRun
from pytest_mcp_governance.run.result import told, told_in_outline
from pytest_mcp_governance.run.since import since_text
from pytest_mcp_governance.run.withhold import Withholding, withhold
from pytest_mcp_governance.session.settings import RecorderConfig

Sign = Callable[[Mapping[str, object]], bytes]
Status = Literal["complete", "partial"]
MOST_IN_ONE_FILE_BYTES = 64 * 1024 * 1024  # ledger and disclosures of a run that stays: some 30,000 calls
FALLBACK = (
    b'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Governance evidence</title></head><body>'
    b"<h1>The page of this report could not be drawn.</h1><p>The evidence is in this file all the same: check it with "
    b"<code>mcp-governance verify</code>.</p>\n"
)


@dataclass(frozen=True, slots=True)
class _Closing:
    """What closing found out before it signs."""

    segments: tuple[SegmentSummary, ...]
    counted: Recount
    status: Status
    reasons: tuple[str, ...]
    finished_on: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A run whose main segment is closed, as closing the run needs it; the key that signs stays where it is.

    Attributes:
        main: what main's segment came to.
        signer: the key that opened the run and will sign that it ended.
        ephemeral: that key was made for this run and is kept nowhere.
        open_digest: SHA-256 (hex) of the open statement's payload.
        continued_by: run id and open digest of the run that took over its connections, None where it ended.
    """

    config: RecorderConfig
    main: SegmentSummary
    signer: PublicKey
    ephemeral: bool
    open_digest: str
    continued_by: Mapping[str, object] | None = None


def end_segment(run: OpenRun) -> Ended:
    """Close main's segment; nothing more can be recorded in the run.

    Raises:
        LedgerWriteError: the segment stays without its close record.
    """
    return Ended(run.config, run.segment.close(), run.identity.public, run.ephemeral, run.open_digest)


def close_run(
    run: Ended, sign: Sign, *, complete: bool, reason: str, workers: Mapping[str, bool], secrets: Set[str]
) -> dict[str, object]:
    """Count, render and sign a run.

    Args:
        run: the run; its segments are closed.
        sign: makes the signed bundle of a statement.
        complete: the test session ended in order.
        reason: why not, where it did not.
        workers: each announced worker segment, and whether it closed.
        secrets: values that the report withholds wherever they stand.

    Returns:
        The fields of `session.control.RunResult`.

    Raises:
        GovernanceError: nothing can be written; the run stays open and what is there verifies as INCOMPLETE.
    """
    folder = FolderSource(run.config.run_dir)
    reader = EvidenceReader(folder)
    announced = [r for r in reader.records("main") if r["type"] == "segment"]
    keys = {str(r["name"]): PublicKey(base64.b64decode(str(r["key"]))) for r in announced}
    lost = [name for name, closed in workers.items() if not closed]
    segments = (run.main, *(reader.summarise(name, keys[name]) for name in sorted(workers)))
    closing = _conclude(reader, segments, complete=complete, reason=reason, lost=lost)
    problems: list[str] = []
    stored = _stored_bytes(run.config.run_dir)
    if run.config.stays and stored > MOST_IN_ONE_FILE_BYTES:
        made = _outline(reader, run, closing, stored, problems)
    else:
        made = _whole(folder, reader, run, closing, secrets, problems)
    bundle = sign(
        close_statement(
            run=run.config.run,
            open_digest=run.open_digest,
            status=closing.status,
            finished_on=closing.finished_on,
            segments=segments,
            counts=closing.counted.counts(),
            policies=closing.counted.policies,
            omitted=made.omitted,
            view_sha256=made.draft.view_sha256,
            item_list_sha256=made.draft.item_list_sha256,
            keep_until=_keep_until(run, closing) or None,
            continued_by=run.continued_by,
        )
    )
    report = made.draft.finish(bundle)
    _store(run.config.run_dir / names.CLOSE, bundle)
    _store(run.config.run_dir / "report.html", report)
    place = _copy(run.config.report_copy, report, run.config.run_dir / "report.html", problems)
    problems += closing.reasons if closing.status != "complete" else ()
    return {
        "run": run.config.run,
        "run_dir": str(run.config.run_dir),
        "report": str(place),
        "report_bytes": len(report),
        "status": closing.status,
        "open_digest": run.open_digest,
        "close_digest": read_bundle(bundle).digest,
        "fingerprint": run.signer.fingerprint,
        "key_is_ephemeral": run.ephemeral,
        "problems": problems,
        "since": made.since,
    } | made.told()


@dataclass(frozen=True, slots=True)
class _Made:
    """The file that waits for its signature, and what else is told of the run."""

    draft: Draft
    omitted: Sequence[Mapping[str, object]]
    since: list[str]
    told: Callable[[], dict[str, object]]


def _whole(
    folder: FolderSource,
    reader: EvidenceReader,
    run: Ended,
    closing: _Closing,
    secrets: Set[str],
    problems: list[str],
) -> _Made:
    """The page with every call, and all the evidence that is not withheld."""
    hidden = withhold(reader, secrets=secrets, detects_secret=_holds_secret, full=run.config.report == "full")
    shown = FilteredSource(folder, hidden.disclosures, hidden.omitted_blobs)
    since = _since(reader, run, problems)
    view = _render(EvidenceReader(shown), run, closing, hidden, since, problems)
    return _Made(
        pack(view, items(shown)),
        hidden.omitted,
        terminal_lines(since) if since is not None else [],
        lambda: told(reader, closing.status, run.config.known()),
    )


def _outline(reader: EvidenceReader, run: Ended, closing: _Closing, stored_bytes: int, problems: list[str]) -> _Made:
    """A page of figures, and of the evidence only who signed it: the rest stays in the run folder."""
    outline = outlined(reader.records(), closing.counted)
    facts = replace(
        _facts(reader, run, closing, 0, None),
        verify_command=f"mcp-governance verify {run.config.run_dir.name} --trust SHA256:…",
    )
    try:
        view = render_outline(outline, facts, stored_mb=stored_bytes // 1_000_000)
    except Exception as error:  # as in `_render`
        problems.append(f"the report's page could not be drawn ({type(error).__name__}); its evidence is complete")
        view = FALLBACK
    signed = reader.source.read(names.OPEN)
    return _Made(pack(view, [(names.OPEN, signed)]), (), [], lambda: told_in_outline(outline))


def _stored_bytes(run_dir: Path) -> int:
    return sum(path.stat().st_size for path in (run_dir / "seg").iterdir())


def _conclude(
    reader: EvidenceReader,
    segments: tuple[SegmentSummary, ...],
    *,
    complete: bool,
    reason: str,
    lost: list[str],
) -> _Closing:
    counted = Recount()
    for record in reader.records():
        counted.add(record)
    reasons = [] if complete else [reason or "the test session did not end in order"]
    reasons += [f"the recorder of segment {name} ended without closing it" for name in lost]
    if counted.gaps:
        reasons.append(f"the recorder itself lost records ({counted.gaps} gap(s))")
    missing = sorted({*counted.missing, *(name for name, _ in counted.unfinished)})
    if missing:
        reasons.append(f"{len(missing)} test(s) have no end on record, first {missing[0]}")
    return _Closing(
        segments=segments,
        counted=counted,
        status="partial" if reasons else "complete",
        reasons=tuple(reasons),
        finished_on=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


def _since(reader: EvidenceReader, run: Ended, problems: list[str]) -> Since | None:
    """How the run differs from the approved one; a comparison that cannot be made fails the run and keeps it."""
    config = run.config
    if not config.approved:
        return None
    try:
        return since_text(
            config.approved,
            config.approved_source,
            reader,
            signer="" if run.ephemeral else run.signer.fingerprint,
        )
    except Exception as error:  # whatever it is, the evidence has to be signed; and nobody may read "nothing changed"
        told = str(error) if isinstance(error, GovernanceError) else type(error).__name__
        problems.append(f"the run could not be compared with the approved one ({told})")
        return None


def _render(
    reader: EvidenceReader,
    run: Ended,
    closing: _Closing,
    hidden: Withholding,
    since: Since | None,
    problems: list[str],
) -> bytes:
    facts = _facts(reader, run, closing, len(hidden.omitted), since)
    try:
        return render(reader, facts)
    except Exception as error:  # evidence that cannot be drawn is evidence all the same, and has to be signed
        problems.append(f"the report's page could not be drawn ({type(error).__name__}); its evidence is complete")
        return FALLBACK


def _facts(reader: EvidenceReader, run: Ended, closing: _Closing, omitted: int, since: Since | None) -> RunFacts:
    return RunFacts(
        run=run.config.run,
        open_digest=run.open_digest,
        fingerprint=run.signer.fingerprint,
        key_is_ephemeral=run.ephemeral,
        profile=run.config.report,
        status=closing.status,
        finished_on=closing.finished_on,
        segments=tuple((s.name, s.lines, s.root) for s in closing.segments),
        omitted_screens=omitted,
        environment=_environment(reader),
        versions=((PRODUCER, version(PRODUCER)), *run.config.environment),
        verify_command=f"mcp-governance verify {run.config.report_copy.name} --trust SHA256:…",
        judged=closing.counted.judged,
        status_reasons=closing.reasons,
        since=since,
        keep_until=_keep_until(run, closing),
        approved_problem=run.config.approved_problem
        or ("the comparison failed" if run.config.approved and since is None else ""),
    )


def _keep_until(run: Ended, closing: _Closing) -> str:
    if not run.config.keep_days:
        return ""
    ended = datetime.fromisoformat(closing.finished_on)
    return (ended + timedelta(days=run.config.keep_days)).date().isoformat()


def _environment(reader: EvidenceReader) -> tuple[str, ...]:
    first: Record = next(reader.records("main"), {})
    return str(first.get("platform", "unknown platform")), f"Python {first.get('python')}"


def _holds_secret(text: str) -> bool:
    return bool(builtin_secrets(text))


def _store(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        raise GovernanceError(f"{path} cannot be written: {error.strerror}. Free space, then run again.") from None


def _copy(target: Path, report: bytes, original: Path, problems: list[str]) -> Path:
    try:
        _store(target, report)
    except GovernanceError as error:
        problems.append(f"{error} The report is at {original}")
        return original
    return target
