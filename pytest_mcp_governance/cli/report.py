"""`mcp-governance report`: tell of a run where people and programs look already. Verifies first.

Leaves out the formats themselves (`report`) and what may be told (`run.published`).
"""

import os
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import click

from pytest_mcp_governance.cli.usage import MAX_CHARACTERS, UsageError, check
from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence.outcome import Report
from pytest_mcp_governance.evidence.requirements import parse_requirements
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.trust import load_trust
from pytest_mcp_governance.report.document import document
from pytest_mcp_governance.report.github import annotate
from pytest_mcp_governance.report.markdown import markdown
from pytest_mcp_governance.report.sarif import sarif
from pytest_mcp_governance.run.outside import Approved, read_outside
from pytest_mcp_governance.run.published import Published, append_summary, verified

_SUMMARY = "GITHUB_STEP_SUMMARY"
_MAX_PROBLEMS = 5


@click.command("report")
@click.argument("target", metavar="REPORT|RUN", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "form",
    type=click.Choice(["markdown", "sarif", "github", "json"]),
    default="markdown",
    show_default=True,
    help="github prints annotations and appends the Markdown to the file that GITHUB_STEP_SUMMARY names.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file, not to the terminal.")
@click.option(
    "--root-folder",
    default="",
    metavar="FOLDER",
    help="Where pytest's root folder lies in the repository, if it is not its top.",
)
@click.option(
    "--approved",
    metavar="FILE|git:REV:PATH",
    help="Say what is new since the run that this approval accepts; made by `approve`.",
)
@click.option("--trust", multiple=True, metavar="KEY", help="Whom to trust, as for `verify`.")
@click.option("--require", multiple=True, metavar="WHAT", help="What to require, as for `verify`.")
@click.pass_context
def command(
    context: click.Context,
    target: Path,
    form: str,
    out: Path | None,
    root_folder: str,
    approved: str | None,
    trust: tuple[str, ...],
    require: tuple[str, ...],
) -> None:
    """Tell of a run as Markdown, SARIF, GitHub annotations or JSON.

    Verifies first, says the outcome on stderr and ends with it, with the exit codes of `verify`. Of a file that
    is TAMPERED or MALFORMED nothing is written. Values that the ticket withholds are told nowhere, whatever the
    file holds.
    """
    check("--trust", trust, load_trust)
    check("--require", require, lambda text: parse_requirements((text,)))
    folder = _folder(root_folder)
    try:
        given = read_outside(approved, folder=Path()) if approved else None
        compared = Approved(given.text, given.name) if given else None
        report, published = verified(target, trust=trust, require=require, approved=compared)
    except GovernanceError as error:
        raise UsageError(f"--approved: {safe(str(error), MAX_CHARACTERS)}") from None
    _say_outcome(report)
    if published is not None:
        try:
            _write(published, form, out, folder)
        except OSError as error:
            where = safe(str(error.filename or out or _SUMMARY))
            raise UsageError(f"{where} cannot be written: {error.strerror}. Name another file with --out.") from None
    context.exit(report.exit_code)


def _write(published: Published, form: str, out: Path | None, folder: str) -> None:
    evidence, checked = published.evidence, published.checked
    if form == "github":
        for line in annotate(evidence, folder=folder):
            click.echo(line)
        summary = out or (Path(os.environ[_SUMMARY]) if os.environ.get(_SUMMARY) else None)
        if summary is None:
            click.echo(f"{_SUMMARY} is not set and no --out was given: no summary was written.", err=True)
        elif not append_summary(summary, published):
            click.echo("The summary has no room left: it was not written.", err=True)
        return
    if form == "sarif":
        text = sarif(evidence, checked, version=version("pytest-mcp-governance"), folder=folder)
    else:
        text = document(evidence, checked) if form == "json" else markdown(evidence, checked)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


def _say_outcome(report: Report) -> None:
    which = f"group {report.group}" if report.group else f"run {report.run or 'unknown'}"
    click.echo(f"{report.outcome.name}: {which}", err=True)
    for problem in report.problems[:_MAX_PROBLEMS]:
        click.echo(f"  {problem.outcome.name.lower():<10} {safe(str(problem), MAX_CHARACTERS)}", err=True)
    if len(report.problems) > _MAX_PROBLEMS:
        click.echo(f"  … and {len(report.problems) - _MAX_PROBLEMS:,} more problems", err=True)


def _folder(given: str) -> str:
    path = PurePosixPath(given)
    if path.is_absolute() or ".." in path.parts:
        raise UsageError(f"--root-folder: {safe(given)} must lie in the repository; give it relative to its top.")
    return "" if given in ("", ".") else path.as_posix()
