"""Packs a report for a ticket: the file as it is, how to check it, and a comment. Verifies first, sends nothing.

The same input gives the same zip. Leaves out the words (`report.ticket`).
"""

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence.outcome import Outcome, Report
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.source import ContainerSource
from pytest_mcp_governance.evidence.trust import parse_time
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.report.facts import FULL_BANNER, Checked
from pytest_mcp_governance.report.listing import listed
from pytest_mcp_governance.report.ticket import Form, Ticket, comment, how_to_check
from pytest_mcp_governance.run.files import read_report, replace_file
from pytest_mcp_governance.run.inside import sources_in
from pytest_mcp_governance.run.later import RefusedError
from pytest_mcp_governance.run.published import published

COMMENT_NAMES: dict[Form, str] = {"markdown": "comment.md", "jira": "comment.jira.txt", "text": "comment.txt"}
HOW_TO_CHECK = "HOW-TO-CHECK.txt"
_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say


@dataclass(frozen=True, slots=True)
class Attached:
    """What `attach` made: the zip's path, the comment in it, and what the verifier said."""

    path: Path
    comment: str
    report: Report


def attach(
    target: Path,
    *,
    out: Path | None = None,
    trust: Sequence[str] = (),
    form: Form = "markdown",
    keep_until: str = "",
    keep_days: int | None = None,
    replace: bool = False,
) -> Attached:
    """Write a zip with a report, how to check it, and a comment for the ticket.

    Args:
        target: a report file.
        out: the zip; the report's name with `.zip` where None.
        trust: as for `verify`.
        form: markup of the comment.
        keep_until: ISO date that the comment asks to keep it until; it is not signed.
        keep_days: the same, in days after the run ended.
        replace: overwrite a zip that is there.

    Raises:
        RefusedError: the report is altered or no evidence; nothing was written.
        EvidenceError: it cannot be read, the zip is there already or cannot be written.
    """
    place = out or target.with_suffix(".zip")
    data = read_report(target)
    report = verify(data, trust=trust)
    if report.outcome in (Outcome.TAMPERED, Outcome.MALFORMED):
        raise RefusedError(report.outcome, f"{safe(str(target))} is {report.outcome.name}: {report.problems[0]}.")
    ticket = _ticket(target, data, report, trusting=bool(trust), asked=_asked(keep_until, keep_days, report))
    text = comment(ticket, form)
    files = {
        ticket.file: data,
        HOW_TO_CHECK: how_to_check(ticket).encode(),
        COMMENT_NAMES[form]: text.encode(),
    }
    if os.path.exists(place) and (not replace or place.samefile(target)):
        raise EvidenceError(f"{safe(str(place))} is there already; name another file with --out, or use --force.")
    replace_file(place, (_zip(files),))
    return Attached(place, text, report)


def _ticket(target: Path, data: bytes, report: Report, *, trusting: bool, asked: str) -> Ticket:
    # What the comment tells of findings is what the ticket profile shows, whatever the file itself holds.
    evidence = published(data, Checked(target.name, report.run, report.status)).evidence
    return Ticket(
        file=_safe_name(target.name),
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        report=report,
        trusting=trusting,
        findings=listed(evidence),
        keep_until=_signed_date(data),
        asked_until=asked,
        full=FULL_BANNER in ContainerSource(data).view,
    )


def _signed_date(data: bytes) -> str:
    """The date that close names; of a group the latest, where every run names one."""
    dates = []
    for source in sources_in(ContainerSource(data)):
        predicate = (EvidenceReader(source).close or {}).get("predicate")
        date = predicate.get("keep_until") if isinstance(predicate, dict) else None
        dates.append(safe(date, 40) if isinstance(date, str) else "")
    return max(dates) if all(dates) else ""


def _asked(keep_until: str, keep_days: int | None, report: Report) -> str:
    if keep_until:
        time = parse_time(keep_until)
        if time is None:
            raise EvidenceError(f"{safe(keep_until, 40)} is no date; write it like 2027-12-31.")
        return time.date().isoformat()
    if keep_days is None:
        return ""
    ended = parse_time(report.finished_on or report.started_on) or datetime.now(UTC)
    try:
        return (ended + timedelta(days=keep_days)).date().isoformat()
    except OverflowError:
        raise EvidenceError(f"{keep_days} days from the end of the run is no date.") from None


def _safe_name(name: str) -> str:
    stem = _UNSAFE_IN_NAME.sub("_", Path(name).stem).strip("._-")[:100]
    return f"{stem or 'governance-report'}.html"


def _zip(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix on every machine, so that the same input gives the same bytes
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return packed.getvalue()
