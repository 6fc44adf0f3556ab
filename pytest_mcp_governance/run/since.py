"""Compares a run with the approved one, from an approval's text and the run's records.

Leaves out the comparison itself (`compare`) and its words (`report.since`).
"""

from __future__ import annotations

from pytest_mcp_governance.evidence.approval import Approval, read_approval
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.report.since import Since
from pytest_mcp_governance.run.approved import Summary, from_json, summarise
from pytest_mcp_governance.run.compare import compare


def since_approval(approval: Approval, source: str, summary: Summary, *, signer: str) -> Since:
    """How a run differs from the one that an approval accepts.

    Args:
        approval: read, and its signature checked.
        source: where it came from, as people call it.
        summary: what the run had.
        signer: fingerprint of the key that signs the run.

    Raises:
        EvidenceError: the approval's summary is not of a form that this version knows.
    """
    comparison = compare(from_json(approval.summary), summary, signer=signer)
    return Since(
        run=approval.run,
        close=approval.close,
        approved_on=approval.approved_on,
        by=approval.by,
        ticket=approval.ticket,
        signer=approval.signer.fingerprint,
        ephemeral=approval.ephemeral,
        source=source,
        differences=comparison.differences,
        notes=comparison.notes,
    )


def since_text(text: str, source: str, reader: EvidenceReader, *, signer: str) -> Since:
    """The same from the approval's text and a run's records.

    Raises:
        EvidenceError: the text is no approval, or was altered.
    """
    summary = summarise(reader.records(), reader.blob)
    return since_approval(read_approval(text.encode()), source, summary, signer=signer)
