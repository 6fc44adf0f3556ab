"""What `mcp-governance verify` says of an approval. Leaves out the checking (`evidence.approval`)."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from pytest_mcp_governance.cli.usage import MAX_CHARACTERS, UsageError
from pytest_mcp_governance.evidence.approval import Checked, check_approval, looks_like_approval
from pytest_mcp_governance.evidence.outcome import Outcome
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.trust import load_trust

_START_BYTES = 1_024
_MEANING = {
    Outcome.VERIFIED: "this approval is unaltered since it was signed, by a key you trust.",
    Outcome.UNTRUSTED: "this approval is unaltered since it was signed, by a key that you did not name as trusted.",
    Outcome.TAMPERED: "this approval was altered. Do not rely on it.",
    Outcome.MALFORMED: "this is no approval that this version knows.",
}


def approval_at(target: Path) -> bytes | None:
    """The bytes of a file that looks like an approval; None for anything else."""
    try:
        with target.open("rb") as file:
            start = file.read(_START_BYTES)
            return start + file.read() if looks_like_approval(start) else None
    except (OSError, ValueError):
        return None  # the verifier says what is wrong with it


def verify_approval(data: bytes, target: Path, *, trust: Sequence[str], require: Sequence[str], as_json: bool) -> int:
    """Say what an approval is and return the exit code.

    Raises:
        UsageError: requirements were named, which only a run can meet.
    """
    if require:
        raise UsageError("--require: this is an approval; requirements are for reports and run folders.")
    checked = check_approval(data, [load_trust(entry) for entry in trust])
    if as_json:
        click.echo(json.dumps(_as_json(checked), indent=2))
    else:
        for line in _words(checked, target):
            click.echo(line)
    return checked.outcome.exit_code


def _as_json(checked: Checked) -> dict[str, object]:
    said = checked.approval
    names = ("run", "close", "approved_on", "by", "ticket", "note", "ephemeral", "digest")
    fields = {name: getattr(said, name) for name in names} | {"signer": said.signer.fingerprint} if said else {}
    outcome = checked.outcome
    return {
        "kind": "approval",
        "outcome": outcome.name,
        "exit_code": outcome.exit_code,
        "reason": checked.reason,
    } | fields


def _words(checked: Checked, target: Path) -> list[str]:
    lines = [f"{checked.outcome.name}: {_MEANING[checked.outcome]}", f"  file       {safe(str(target))}"]
    said = checked.approval
    if said is None:
        return [*lines, f"  why        {safe(checked.reason, MAX_CHARACTERS)}"]
    lines += [
        f"  approves   run {safe(said.run)}",
        f"  close      {said.close}",
        f"  signer     {said.signer.fingerprint} ({'trusted' if not checked.reason else checked.reason})",
        f"  time       {safe(said.approved_on, 40)}, as the signer states",
    ]
    if said.ephemeral:
        lines.append("  note       the key was made for this alone: nobody can tell who approved")
    for label, text in (("by", said.by), ("ticket", said.ticket), ("note", said.note)):
        lines += [f"  {label:<10} {safe(text, MAX_CHARACTERS)}, as the signer states"] if text else []
    return [*lines, "It says that this run is the approved one. The run itself is checked in its report."]
