"""`mcp-governance approve`: this run is the approved run. Says what is approved, then writes one small file."""

from collections.abc import Iterator
from pathlib import Path

import click

from pytest_mcp_governance.cli.usage import MAX_CHARACTERS, check, fail, signing_key
from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import wording
from pytest_mcp_governance.evidence.approval import Approval
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.outcome import Verdict
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.trust import load_trust
from pytest_mcp_governance.report.since import Since, plain_item
from pytest_mcp_governance.run.approve import DEFAULT_NAME, Candidate, examine, write_approval
from pytest_mcp_governance.run.later import RefusedError

_MOST = 30


@click.command("approve")
@click.argument("target", metavar="REPORT", type=click.Path(path_type=Path))
@click.option(
    "--sign",
    metavar="KEY",
    help="File with the private key that signs, never the key itself (also MCP_GOVERNANCE_SIGNING_KEY).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(DEFAULT_NAME),
    show_default=True,
    help="The approval, to be committed; an earlier one is replaced.",
)
@click.option("--trust", multiple=True, metavar="KEY", help="Whom to trust, as for `verify`.")
@click.option("--untrusted-signer", is_flag=True, help="Approve although no key that you trust signed the run.")
@click.option("--by", default="", metavar="NAME", help="Who approves, as you say it.")
@click.option("--ticket", default="", metavar="T", help="Where it was decided.")
@click.option("--note", default="", help="Why.")
def command(
    target: Path,
    sign: str | None,
    out: Path,
    trust: tuple[str, ...],
    untrusted_signer: bool,
    by: str,
    ticket: str,
    note: str,
) -> None:
    """Approve a run: later runs are compared with it.

    Verifies the report, says what is approved and what changed since the run that was approved before, and writes
    one signed file. Commit it: every later run then says what it has that the approved one had not. Findings in an
    approved run stay findings; approving fails nothing and lets nothing pass.

    \b
    Exit codes
      0 approved
      1 altered, 2 no evidence or a usage error, 3 not the whole run, 4 signed by nobody you trust: nothing is
        written
    """
    check("--trust", trust, load_trust)
    key = signing_key(sign)
    try:
        candidate = examine(target, out, trust=trust, untrusted_signer=untrusted_signer)
        for line in _told(candidate, target):
            click.echo(line)
        used = key or SigningKey.generate()
        made = write_approval(candidate, out, used, ephemeral=key is None, by=by, ticket=ticket, note=note)
    except RefusedError as error:
        fail(f"{error} Nothing was approved.", error.outcome.exit_code)
    except EvidenceError as error:
        fail(str(error))
    for line in _written(made, out):
        click.echo(line)


def _told(candidate: Candidate, target: Path) -> Iterator[str]:
    report, summary = candidate.report, candidate.summary
    what = f"group {report.group}" if report.group else f"run {report.run}"
    yield f"Approving {what} ({report.outcome.name}) from {safe(str(target))}"
    yield f"  close      {report.close_digest}"
    yield f"  signer     {report.signer} ({'trusted' if report.trusted else 'not confirmed'})"
    for name, use in list(summary.agents.items())[:_MOST]:
        yield f"  agent      {safe(name)}"
        yield f"    tools    {_names(use.tools)}"
        yield f"    data     {_names(use.scopes)}"
    if (left := len(summary.agents) - _MOST) > 0:
        yield f"  and {wording.number(left, 'more agent')}"
    yield f"  servers    {_names(summary.servers)}"
    yield f"  tests      {wording.number(len(summary.tests), 'test')}; {wording.tests(report)}"
    yield f"  findings   {wording.findings(report.findings)}"
    for policy in summary.policies[:_MOST]:
        sources = ", ".join(f"{safe(source.name)} ({safe(source.kind)})" for source in policy.sources)
        yield f"  policy     sha256:{safe(policy.sha256, 64)} ({safe(policy.mode)}): {sources}"
    if report.verdict is Verdict.NOT_JUDGED:
        yield "  Note: some tests were judged by no policy. You approve what they did all the same."
    if report.verdict is Verdict.FINDINGS:
        yield "  Note: the run has unexpected findings. They stay findings in every later run."
    yield from _changes(candidate.since)


def _changes(since: Since | None) -> Iterator[str]:
    if since is None:
        yield "No run was approved here before."
        return
    if not since.differences:
        yield f"Nothing changed since run {safe(since.run)}, which was approved until now."
    else:
        yield f"Since run {safe(since.run)}, which was approved until now:"
    for difference in since.differences:
        yield f"  {'!' if difference.weight == 'warn' else ' '} {difference.what}"
        yield from (f"      {safe(plain_item(item), MAX_CHARACTERS)}" for item in difference.items[:_MOST])
        if (left := len(difference.items) - _MOST) > 0:
            yield f"      and {left:,} more"
    yield from (f"    {note}" for note in since.notes)


def _written(made: Approval, out: Path) -> Iterator[str]:
    yield f"Approved: {safe(str(out))}. Commit it; in pull requests compare with git:origin/main:{safe(str(out))}."
    if made.ephemeral:
        yield (
            f"  by         {made.signer.fingerprint}, a key made for this alone: readers cannot tell who approved. "
            "Sign with --sign; `mcp-governance keygen` makes a key."
        )
    else:
        yield f"  by         {made.signer.fingerprint}"


def _names(found: frozenset[str]) -> str:
    shown = ", ".join(safe(name) for name in sorted(found)[:_MOST]) or "none"
    return shown + (f" and {len(found) - _MOST:,} more" if len(found) > _MOST else "")
