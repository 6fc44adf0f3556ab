"""`mcp-governance policy diff`: what a change of a policy lets agents do, and whether any of it is wider.

Leaves out the comparison (`policy.diff`) and reading (`run.policy_change`). What comes from a policy is escaped.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from pytest_mcp_governance.cli.usage import MAX_CHARACTERS, fail
from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.policy.diff import PolicyDiff
from pytest_mcp_governance.policy.diff_markdown import headline, mark
from pytest_mcp_governance.run.policy_change import NothingBeforeError, compare_policies


@click.command(name="diff")
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="AFTER")
@click.option("--markdown", is_flag=True, help="Print a table for a pull request.")
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
@click.option(
    "--floor",
    multiple=True,
    metavar="FILE|git:REV:PATH",
    help="A policy from outside the change that both sides are held to. Its waivers count. May be given several times.",
)
@click.option("--allow-new", is_flag=True, help="BEFORE may be missing: there was no policy, and everything went.")
@click.pass_context
def command(
    context: click.Context,
    before: str,
    after: str,
    markdown: bool,
    as_json: bool,
    floor: tuple[str, ...],
    allow_new: bool,
) -> None:
    """Say what changes between two policies, per agent and tool, what is wider first.

    BEFORE and AFTER are each a FILE or git:REV:PATH, such as git:origin/main:governance.policy.yaml with the path
    from the top of the repository. An AFTER that is missing is a policy taken away.

    What cannot be decided, such as whether one regular expression matches less than another, counts as wider. A
    widening is waived where a waiver that BEFORE holds, or a floor, allows as much today; a waiver that AFTER adds is
    a widening itself.

    \b
    Exit codes
      0  nothing is wider without a waiver
      1  something is, or may be, wider without a waiver; or BEFORE is missing and --allow-new is not given
      2  a policy that cannot be read, or a usage error
    """
    if markdown and as_json:
        raise click.UsageError("choose one of --markdown and --json")
    try:
        found = compare_policies(
            before,
            after,
            folder=Path.cwd(),
            today=datetime.now(UTC).date(),
            floor=floor,
            new_allowed=allow_new,
        )
    except NothingBeforeError as error:
        fail(str(error), 1)
    except GovernanceError as error:
        fail(str(error))
    if as_json:
        click.echo(json.dumps({"widens": found.widens, "changes": [asdict(c) for c in found.changes]}, indent=2))
    elif markdown:
        click.echo(found.markdown(), nl=False)
    else:
        for line in _lines(found):
            click.echo(line)
    context.exit(1 if found.widens else 0)


def _lines(found: PolicyDiff) -> Iterator[str]:
    for change in found.changes:
        yield safe(f"{mark(change)}  {change.tool}  for {change.agent}", MAX_CHARACTERS)
        for name, text in (("before", change.before), ("after", change.after), ("note", change.detail)):
            if text:
                yield safe(f"  {name:<6}  {text}", MAX_CHARACTERS)
    if found.changes:
        yield ""
    yield headline(found)
