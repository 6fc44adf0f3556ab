"""`mcp-governance attach`: a zip and a comment for a ticket. Sends nothing."""

from pathlib import Path
from typing import cast

import click

from pytest_mcp_governance.cli.usage import check, fail
from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.evidence.trust import load_trust
from pytest_mcp_governance.report.ticket import Form
from pytest_mcp_governance.run.attach import attach
from pytest_mcp_governance.run.later import RefusedError


@click.command("attach")
@click.argument("target", metavar="REPORT", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The zip (default: beside REPORT).")
@click.option("--trust", multiple=True, metavar="KEY", help="Whom to trust, as for `verify`.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "jira", "text"]),
    default="markdown",
    show_default=True,
    help="Markup of the comment.",
)
@click.option("--keep-until", default="", metavar="DATE", help="Say in the comment until when to keep it; not signed.")
@click.option("--keep-days", type=click.IntRange(min=1), help="The same, in days after the end of the run.")
@click.option("--force", is_flag=True, help="Replace a zip that is there.")
def command(
    target: Path,
    out: Path | None,
    trust: tuple[str, ...],
    form: str,
    keep_until: str,
    keep_days: int | None,
    force: bool,
) -> None:
    """Pack a report for a ticket and print the comment that goes with it.

    The zip holds the report byte for byte, HOW-TO-CHECK.txt and the comment. The comment states what verifying
    the report just now came to and, apart from that, what the policy found. Nothing is sent anywhere.

    \b
    Exit codes
      0 attached; the comment's first line says what is not in order
      1 the report is altered, 2 it is no evidence or a usage error: nothing is written
    """
    check("--trust", trust, load_trust)
    try:
        made = attach(
            target,
            out=out,
            trust=trust,
            form=cast(Form, form),
            keep_until=keep_until,
            keep_days=keep_days,
            replace=force,
        )
    except RefusedError as error:
        fail(f"{error} Nothing was written.", error.outcome.exit_code)
    except EvidenceError as error:
        fail(str(error))
    click.echo(made.comment, nl=False)
    click.echo(f"Written: {safe(str(made.path))} ({made.report.outcome.name}). Nothing was sent.", err=True)
