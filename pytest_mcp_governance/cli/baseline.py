"""`mcp-governance baseline REPORT`: write the findings of a run down as known, for a suite that begins to be gated.

Leaves out what a finding is and when it is known (`adopt.baseline`, `policy.known`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from pytest_mcp_governance.adopt.baseline import DAYS, Words, propose
from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.policy.known import LONGEST


@click.command(name="baseline")
@click.argument("report", metavar="REPORT|FOLDER", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File to write; it must not exist. Default: the terminal.")
@click.option("--owner", default="", help="Who answers for the entries.")
@click.option("--ticket", default="", help="Where they are followed up.")
@click.option("--reason", default="", help="Why they are let pass for now.")
@click.option(
    "--expires",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Last day on which they are let pass, at most a year ahead. Default: in 90 days.",
)
def command(report: Path, out: Path | None, owner: str, ticket: str, reason: str, expires: datetime | None) -> None:
    """Write a baseline of the unexpected findings in a report, for pytest --mcp-governance-baseline.

    Each finding becomes an entry, as narrow as it was found. An entry needs an owner or a ticket, and a reason: those
    that are not given here are left empty, and the file is refused until someone has filled them in.
    """
    today = datetime.now(UTC).date()
    last = expires.date() if expires is not None else today + DAYS
    if not today <= last <= today + LONGEST:
        raise _RefusedError(f"--expires is {last}; it must lie between today and a year ahead ({today + LONGEST}).")
    words = Words(owner.strip(), ticket.strip(), reason.strip())
    try:
        text, count = propose(report, words, last)
    except GovernanceError as error:
        raise _RefusedError(safe(str(error), 1_000)) from None
    if out is None:
        click.echo(text, nl=False)
    else:
        _write(out, text)
    to_do = "" if words.complete or not count else "; fill in owner or ticket, and reason, before you use it"
    entries = "1 entry" if count == 1 else f"{count} entries"
    click.echo(f"{entries}{f' in {safe(str(out))}' if out else ''}, until {last}{to_do}.", err=True)


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _RefusedError(
            f"{safe(str(path))} exists already and is not overwritten. Name another with --out."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise _RefusedError(f"{safe(str(path))} cannot be written: {reason}.") from None


class _RefusedError(click.ClickException):
    exit_code = 2
