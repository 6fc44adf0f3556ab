"""`mcp-governance merge`: one signed report over the shards of a pipeline, and an exit code for the merge gate.

Leaves out all merging (`run.merge`) and checking (`evidence`).
"""

from pathlib import Path

import click

from pytest_mcp_governance.cli.usage import MAX_CHARACTERS, UsageError, check, fail, signing_key
from pytest_mcp_governance.cli.words import words
from pytest_mcp_governance.errors import EvidenceError, GovernanceError
from pytest_mcp_governance.evidence.approval import read_approval
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.outcome import Outcome
from pytest_mcp_governance.evidence.requirements import parse_requirements
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.trust import load_trust
from pytest_mcp_governance.report.since import terminal_lines
from pytest_mcp_governance.run.approved import from_json
from pytest_mcp_governance.run.find import find_reports
from pytest_mcp_governance.run.later import RefusedError
from pytest_mcp_governance.run.merge import merge
from pytest_mcp_governance.run.outside import Approved, read_outside

DEFAULT_OUT = "governance-group.html"


@click.command("merge")
@click.argument("targets", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--sign",
    "sign",
    metavar="KEY",
    help="File with the private key that signs the group, never the key itself (also MCP_GOVERNANCE_SIGNING_KEY).",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path(DEFAULT_OUT), show_default=True)
@click.option("--expect-shards", "expected", type=click.IntRange(1, 10_000), help="How many shards there have to be.")
@click.option(
    "--require",
    multiple=True,
    metavar="WHAT",
    help="As for `verify`; every run has to meet it, those that were repeated too.",
)
@click.option(
    "--trust",
    multiple=True,
    metavar="KEY",
    help="Merge only runs that are signed or countersigned by one of these; as for `verify`.",
)
@click.option(
    "--approved",
    metavar="FILE|git:REV:PATH",
    help="Approval that the group is compared with, made by `mcp-governance approve`.",
)
@click.pass_context
def command(
    context: click.Context,
    targets: tuple[Path, ...],
    sign: str | None,
    out: Path,
    expected: int | None,
    require: tuple[str, ...],
    trust: tuple[str, ...],
    approved: str | None,
) -> None:
    """Merge the reports of a pipeline's shards into one signed report.

    RUN is a report, a run folder, or a folder that holds such, as CI jobs leave them. Test jobs need no secret:
    sign here, in a job that runs no agent. Every run of a shard counts, so a shard that was red and run again
    until it was green does not meet `--require passed`.

    \b
    Exit codes
      0 whole: every shard is there, and what was required holds
      1 a report is altered, 2 a file that is no report of a shard, or a usage error: nothing is written
      3 a shard, an attempt or a part of the collection is missing: the group report says so; or there is no report
        at all, and nothing is written
      4 with --trust: a run is signed by nobody you named; nothing is written
      5 a --require is not met
    """
    check("--require", require, lambda text: parse_requirements((text,)))
    check("--trust", trust, load_trust)
    given = signing_key(sign)
    found = find_reports(targets)
    for text in found.absent:
        click.echo(f"missing: {text}", err=True)
    if not found.reports:
        fail("There is no report to merge. Nothing was written.", Outcome.INCOMPLETE.exit_code)
    try:
        merged = merge(
            found.reports,
            given or SigningKey.generate(),
            out,
            ephemeral=given is None,
            expected=expected,
            trust=tuple(load_trust(entry) for entry in trust),
            require=require,
            approved=_approved(approved),
        )
    except RefusedError as error:
        fail(f"{error} Nothing was written.", error.outcome.exit_code)
    except EvidenceError as error:
        fail(str(error))
    whole = "every shard is there, unaltered since recorded, and signed here."
    if given is None:
        whole = "every shard is there, unaltered since recorded. A reader gets UNTRUSTED: name a key with --sign."
    for line in words(merged.report, out, trusting=True, meanings={Outcome.VERIFIED: whole}):
        click.echo(line)
    for note in merged.notes:
        click.echo(f"  note       {note}")
    for line in terminal_lines(merged.since) if merged.since is not None else ():
        click.echo(safe(line, MAX_CHARACTERS))
    outcome = merged.report.outcome
    if found.absent and outcome in (Outcome.VERIFIED, Outcome.REQUIREMENT):
        # The shards that are here do not miss it; whoever named it does.
        click.echo("INCOMPLETE: something to be merged was missing, see above.", err=True)
        outcome = Outcome.INCOMPLETE
    context.exit(outcome.exit_code)


def _approved(spec: str | None) -> Approved | None:
    """The approval that was named; what it holds is checked before anything is written."""
    if spec is None:
        return None
    try:
        found = read_outside(spec, folder=Path.cwd())
        from_json(read_approval(found.text.encode()).summary)
    except GovernanceError as error:
        raise UsageError(f"--approved: {safe(str(error), MAX_CHARACTERS)}") from None
    return Approved(found.text, f"{found.name}@{found.commit[:12]}" if found.commit else found.name)
