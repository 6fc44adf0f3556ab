"""Approves a run, which later runs are compared with: verifies it, sums it up, signs one small file.

Leaves out the file's form (`evidence.approval`), what a summary holds (`approved`) and the comparison (`compare`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import names, statements
from pytest_mcp_governance.evidence.approval import Approval, ApprovalError, read_approval, sign_approval
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.outcome import Outcome, Report
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.source import ContainerSource, Source
from pytest_mcp_governance.evidence.trust import load_trust, parse_time
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.report.since import Since
from pytest_mcp_governance.run.approved import Summary, to_json
from pytest_mcp_governance.run.files import read_report, replace_file
from pytest_mcp_governance.run.inside import sources_in, summary_of_runs
from pytest_mcp_governance.run.later import RefusedError
from pytest_mcp_governance.run.open import PRODUCER
from pytest_mcp_governance.run.since import since_approval

DEFAULT_NAME = "governance.approved.json"
MAX_BYTES = 12 * 1024 * 1024  # readers stop at 16 MiB
_REFUSED = (Outcome.TAMPERED, Outcome.MALFORMED, Outcome.INCOMPLETE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that may be approved: verified, and summed up.

    Attributes:
        report: what the verifier said of exactly these bytes.
        summary: what the run had.
        since: how it differs from the run that `out` approved until now; None where there was none.
    """

    report: Report
    summary: Summary
    since: Since | None


def examine(target: Path, out: Path, *, trust: Sequence[str] = (), untrusted_signer: bool = False) -> Candidate:
    """Verify a report and sum up what approving it would accept.

    Args:
        target: a report file, of a run or of a group of shards.
        out: where the approval will go; the approval that is there is what the run is compared with.
        trust: as for `verify`.
        untrusted_signer: approve although nobody confirmed who signed the run.

    Raises:
        RefusedError: altered, no evidence, not the whole run, or signed by nobody trusted without being told to.
        EvidenceError: it cannot be read, or `out` is something else than a sound approval.
    """
    previous = read_previous(out)
    data = read_report(target)
    report = verify(data, trust=trust)
    if report.outcome in _REFUSED:
        raise RefusedError(
            report.outcome, f"{safe(str(target))} is {report.outcome.name}: {report.problems[0].sentence}"
        )
    if report.outcome is Outcome.UNTRUSTED and not untrusted_signer:
        raise RefusedError(
            report.outcome,
            f"{safe(str(target))} is UNTRUSTED: {report.problems[0].sentence} Name whom you trust with --trust, or say "
            "--untrusted-signer to approve what nobody vouches for.",
        )
    source = ContainerSource(data)
    signer = "" if report.group else _confirmed(source, report, trust)
    summary = summary_of_runs(sources_in(source), signer=signer)
    since = since_approval(previous, out.name, summary, signer=report.signer) if previous is not None else None
    return Candidate(report, summary, since)


def write_approval(
    candidate: Candidate, out: Path, key: SigningKey, *, ephemeral: bool, by: str = "", ticket: str = "", note: str = ""
) -> Approval:
    """Sign the approval of a run that was examined and write it, in place of the one that was there.

    Raises:
        EvidenceError: it is too large for what reads it, or cannot be written.
    """
    data = sign_approval(
        key,
        run=candidate.report.run or candidate.report.group,
        close=candidate.report.close_digest,
        approved_on=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        ephemeral=ephemeral,
        producer={"name": PRODUCER, "version": version(PRODUCER)},
        summary=to_json(candidate.summary),
        by=by,
        ticket=ticket,
        note=note,
    )
    if len(data) > MAX_BYTES:
        raise EvidenceError(f"The approval would have {len(data):,} bytes; at most {MAX_BYTES:,} can be read back.")
    replace_file(out, (data,))
    return read_approval(data)


def read_previous(out: Path) -> Approval | None:
    """The approval that `out` holds; None where nothing is there.

    Raises:
        EvidenceError: something else is there, or an approval that was altered; it is not replaced.
    """
    try:
        return read_approval(out.read_bytes())
    except FileNotFoundError:
        return None
    except ApprovalError as error:
        raise EvidenceError(
            f"{safe(str(out))} is there and not replaced: {error}. Restore it from version control, or move it away."
        ) from None
    except OSError as error:
        raise EvidenceError(f"{safe(str(out))} cannot be read: {error.strerror}.") from None


def _confirmed(source: Source, report: Report, trust: Sequence[str]) -> str:
    """The run's own signer where it is trusted itself, and not only somebody who countersigned."""
    key = statements.read_key(statements.read_bundle(source.read(names.OPEN)).predicate.get("identityKey"))
    at = parse_time(report.finished_on or report.started_on)
    if key is None or all(load_trust(entry).refuses(key, at) for entry in trust):
        return ""
    return key.fingerprint
