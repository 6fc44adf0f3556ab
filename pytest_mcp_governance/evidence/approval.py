"""The approval: a signed statement that one run, by its close digest, is the approved one. A file to be committed.

The same bundle as `statements` has, over a predicate with a summary of that run. Leaves out what the summary means
(`run.approved`) and whether the signer may approve: a file shows by which key, never by whom.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import statements
from pytest_mcp_governance.evidence.keys import PublicKey, SigningKey
from pytest_mcp_governance.evidence.outcome import Outcome
from pytest_mcp_governance.evidence.trust import Trust, parse_time

MAX_RUN_CHARACTERS = 1_000  # a group is called what its pipeline calls it; escaped, that is longer
PREDICATE_TYPE = "https://pytest-mcp-governance.dev/approval/v1"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ApprovalError(EvidenceError):
    """A file that is no approval, or an altered one; `outcome` says which."""

    def __init__(self, outcome: Outcome, text: str) -> None:
        super().__init__(text)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval whose form and signature were checked with the key that it names itself.

    Args:
        run: id of the approved run, or of the group; hostile until escaped.
        close: its close digest, hex; of a group the digest of its statement.
        approved_on: RFC 3339, as its signer states.
        by, ticket, note: as its signer states, or "".
        signer: the key that signed it.
        ephemeral: as its signer states, that key was made for this one signature and kept nowhere.
        digest: SHA-256 (hex) of the statement.
        summary: what the run had, as its signer states; see `run.approved`.
    """

    run: str
    close: str
    approved_on: str
    by: str
    ticket: str
    note: str
    signer: PublicKey
    ephemeral: bool
    digest: str
    summary: Mapping[str, object]


def sign_approval(
    key: SigningKey,
    *,
    run: str,
    close: str,
    approved_on: str,
    ephemeral: bool,
    producer: Mapping[str, object],
    summary: Mapping[str, object],
    by: str = "",
    ticket: str = "",
    note: str = "",
) -> bytes:
    """Sign an approval and return the file, which ends with a newline.

    Args:
        key: who approves.
        run: id of the run.
        close: its close digest, hex.
        approved_on: RFC 3339 UTC.
        ephemeral: the key was made for this and is kept nowhere.
        producer: name and version of the program.
        summary: what the run had.
        by, ticket, note: free text; left out where empty.

    Raises:
        EvidenceError: it cannot be written as JSON.
    """
    said = {name: text for name, text in (("by", by), ("ticket", ticket), ("note", note)) if text}
    statement = {
        "_type": statements.STATEMENT_TYPE,
        "subject": [_subject(run, close)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "identityKey": base64.b64encode(key.public.raw).decode("ascii"),
            "ephemeralKey": ephemeral,
            "run": run,
            "close": close,
            "approvedOn": approved_on,
            **said,
            "producer": dict(producer),
            "summary": dict(summary),
        },
    }
    return statements.sign_bundle(statement, key) + b"\n"


def looks_like_approval(data: bytes) -> bool:
    """Whether a file begins as a statement on its own does, so that it is read as one and not as a report."""
    return data.startswith(b'{"mediaType":"application/vnd.dev.sigstore.bundle')


def read_approval(data: bytes) -> Approval:
    """Read an approval and check its signature. Only the newline at the end may lack.

    Raises:
        ApprovalError: TAMPERED where the signature is wrong, MALFORMED for anything else.
    """
    try:
        bundle = statements.read_bundle(data.removesuffix(b"\n"))
    except EvidenceError as error:
        raise ApprovalError(Outcome.MALFORMED, f"it is no approval: {error}") from None
    kind = (bundle.payload.get("_type"), bundle.payload.get("predicateType"))
    said = bundle.predicate
    signer = statements.read_key(said.get("identityKey"))
    if kind != (statements.STATEMENT_TYPE, PREDICATE_TYPE) or signer is None:
        raise ApprovalError(Outcome.MALFORMED, "it is no approval of format version 1")
    if not bundle.signed_by(signer):
        raise ApprovalError(Outcome.TAMPERED, "its signature is wrong: it was altered after it was signed")
    run, close, approved_on = (_text(said, name) for name in ("run", "close", "approvedOn"))
    summary = said.get("summary")
    proper = (
        1 <= len(run) <= MAX_RUN_CHARACTERS
        and _SHA256.fullmatch(close) is not None
        and parse_time(approved_on) is not None
    )
    if not proper or bundle.payload.get("subject") != [_subject(run, close)] or not isinstance(summary, dict):
        raise ApprovalError(Outcome.MALFORMED, "it lacks a proper run, close digest, date, subject or summary")
    return Approval(
        run=run,
        close=close,
        approved_on=approved_on,
        by=_text(said, "by"),
        ticket=_text(said, "ticket"),
        note=_text(said, "note"),
        signer=signer,
        ephemeral=said.get("ephemeralKey") is not False,
        digest=bundle.digest,
        summary=summary,
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """What verifying an approval came to: VERIFIED, UNTRUSTED, TAMPERED or MALFORMED, and why."""

    outcome: Outcome
    reason: str
    approval: Approval | None = None


def check_approval(data: bytes, trust: Sequence[Trust]) -> Checked:
    """Verify an approval as a reader who trusts some keys. Raises nothing."""
    try:
        approval = read_approval(data)
    except ApprovalError as error:
        return Checked(error.outcome, str(error))
    refusals = [entry.refuses(approval.signer, parse_time(approval.approved_on)) for entry in trust]
    if None in refusals:
        return Checked(Outcome.VERIFIED, "", approval)
    return Checked(Outcome.UNTRUSTED, refusals[0] or "" if refusals else "no trusted key was named", approval)


def _subject(run: str, close: str) -> dict[str, object]:
    return {"name": f"{run}/close", "digest": {"sha256": close}}


def _text(predicate: Mapping[str, object], name: str) -> str:
    value = predicate.get(name)
    return value if isinstance(value, str) else ""
