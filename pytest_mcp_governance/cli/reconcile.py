"""`mcp-governance reconcile`: a run's evidence beside a server's own log. Leaves out matching (`run.reconcile`)."""

from pathlib import Path

import click

from pytest_mcp_governance.cli.usage import UsageError, check, fail
from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence.outcome import Outcome
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.target import open_target
from pytest_mcp_governance.evidence.trust import load_trust
from pytest_mcp_governance.evidence.verify import verify
from pytest_mcp_governance.report.collect import collect
from pytest_mcp_governance.report.model import Evidence
from pytest_mcp_governance.run.reconcile import Reconciled, forwarded, reconcile, servers_of
from pytest_mcp_governance.run.serverlog import compile_pattern, read_log

_MOST = 50
_BOUNDARY = """\
This compares two accounts. That the server's log is true and whole is the server's word; that the evidence is unaltered
since it was recorded is verified."""


@click.command("reconcile")
@click.argument("run", metavar="REPORT|RUN", type=click.Path(path_type=Path))
@click.option("--server-log", "log", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The log.")
@click.option("--server", metavar="NAME", help="Whose log it is (default: the run's only server).")
@click.option(
    "--pattern",
    metavar="REGEX",
    help="For a text log: a regular expression with groups named tool and, if the log has it, args (JSON).",
)
@click.option("--trust", multiple=True, metavar="KEY", help="Whom to trust, as for `verify`.")
@click.pass_context
def command(
    context: click.Context, run: Path, log: Path, server: str | None, pattern: str | None, trust: tuple[str, ...]
) -> None:
    """Compare a run's evidence with a server's own log.

    A call that only the log has went past the recorder. JSON lines are read as JSON-RPC messages, or as objects with
    `tool` and `arguments`. Where a value is withheld, or the log does not tell the arguments, calls are matched by the
    tool alone, and that is said.

    \b
    Exit codes
      0  every call is in both
      1  the log has a call that the evidence has not; or the evidence is TAMPERED
      2  something cannot be read, or a usage error
      3  the evidence has a forwarded call that the log has not, or calls matched by their tool alone
    """
    check("--trust", trust, load_trust)
    try:
        compiled = compile_pattern(pattern) if pattern is not None else None
    except GovernanceError as error:
        raise UsageError(f"--pattern: {safe(str(error), 500)}") from None
    report = verify(run, trust=trust)
    click.echo(f"evidence   {report.outcome.name}: run {report.run or 'unknown'}")
    if report.outcome in (Outcome.TAMPERED, Outcome.MALFORMED):
        fail("; ".join(str(problem) for problem in report.problems) or "not evidence", report.exit_code)
    try:
        evidence = collect(EvidenceReader(open_target(run)))
        with log.open(encoding="utf-8", errors="replace") as lines:
            read = read_log(lines, compiled)
    except GovernanceError as error:
        fail(str(error))
    except OSError as error:
        fail(f"the log {log} cannot be read: {error.strerror}")
    if not read.calls:
        fail(f"{log} holds no call that can be read ({read.others} other lines). For a text log, give --pattern.")
    chosen = _server(server, evidence)
    found = reconcile(chosen, forwarded(evidence, chosen), read)
    _tell(found)
    context.exit(1 if found.only_in_log else 3 if found.only_in_evidence or found.by_tool else 0)


def _server(named: str | None, evidence: Evidence) -> str:
    known = servers_of(evidence)
    if named is None and len(known) == 1:
        return known[0]
    listed = ", ".join(map(safe, known)) or "none"
    if named is None:
        raise UsageError(f"the run has {len(known)} servers ({listed}): name one with --server")
    if named not in known:
        raise UsageError(f"--server: the run has no server {safe(named)}; it has {listed}")
    return named


def _tell(found: Reconciled) -> None:
    click.echo(f"server     {safe(found.server)}")
    click.echo(f"matched    {len(found.matched)} by tool and arguments")
    if found.by_tool:
        click.echo(f"by tool    {len(found.by_tool)} by the tool's name alone: one side does not tell the arguments")
    click.echo(f"only in log       {len(found.only_in_log)}: went past the recorder")
    for logged in found.only_in_log[:_MOST]:
        click.echo(f"  line {logged.line}  {safe(logged.tool)}")
    click.echo(f"only in evidence  {len(found.only_in_evidence)}: forwarded, and not in the log")
    for recorded in found.only_in_evidence[:_MOST]:
        click.echo(f"  {safe(recorded.ref)}  {safe(recorded.tool or 'withheld')} by {safe(recorded.agent)}")
    if found.other_lines:
        click.echo(f"other lines of the log: {found.other_lines}, no calls")
    click.echo(_BOUNDARY)
