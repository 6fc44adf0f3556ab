"""`mcp-governance countersign`: sign a finished run again, with the key of a job that runs no agent."""

from pathlib import Path

import click

from pytest_mcp_governance.cli.usage import UsageError, fail, signing_key
from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence.later import COUNTERSIGN
from pytest_mcp_governance.evidence.outcome import Outcome
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.run.later import RefusedError, add_later


@click.command("countersign")
@click.argument("target", metavar="REPORT", type=click.Path(path_type=Path))
@click.option(
    "--sign",
    "sign",
    metavar="KEY",
    help="File with the private key that signs, never the key itself (also MCP_GOVERNANCE_SIGNING_KEY).",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the report here and leave REPORT as it is.")
@click.pass_context
def command(context: click.Context, target: Path, sign: str | None, out: Path | None) -> None:
    """Sign the close digest of a report or run folder, or the digest of a group.

    For jobs that test agents without holding a secret: they sign with a key of their own making, and a later
    job that runs no agent countersigns what it received. Who trusts the key of that job gets VERIFIED. It says
    "this is the file that I was handed", not that anything in it is right.

    \b
    Exit codes
      0 countersigned; the run is whole
      1 altered, 2 not evidence or a usage error: nothing is written
      3 countersigned, but not the whole run; one that was not closed is not countersigned at all
    """
    key = signing_key(sign)
    if key is None:
        raise UsageError("No key to sign with: name one with --sign, or make one with `mcp-governance keygen`.")
    try:
        added = add_later(target, COUNTERSIGN, key, out=out)
    except RefusedError as error:
        fail(f"{error} Nothing was written.", error.outcome.exit_code)
    except EvidenceError as error:
        fail(str(error))
    report = added.report
    what = f"group {safe(report.group)}" if report.group else f"run {report.run}"
    click.echo(f"{report.outcome.name}: {what} is countersigned.")
    for path in added.written:
        click.echo(f"  written    {safe(str(path))}")
    click.echo(f"  close      {report.close_digest}")
    click.echo(f"  by         {key.public.fingerprint}")
    for problem in report.problems if report.outcome is not Outcome.VERIFIED else ():
        click.echo(f"  {problem.outcome.name.lower():<10} {safe(str(problem), 1_000)}")
    context.exit(report.exit_code)
