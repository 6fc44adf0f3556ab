"""`mcp-governance doctor`: what this machine needs for audited tests and whether it has it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pytest_mcp_governance.adopt.checks import Check, run_checks
from pytest_mcp_governance.adopt.setup import set_up
from pytest_mcp_governance.errors import SetupError


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Install what is missing: a browser, and Node in this environment.")
def command(fix: bool) -> None:
    """Check that this machine has what audited tests need.

    Looks for a supported platform, Python, pytest, the mcp package, git, a browser that starts, and Node with
    npm. Ends with 0 if all of it is there, with 1 otherwise.
    """
    try:
        checks = set_up(click.echo) if fix else run_checks()
    except SetupError as error:
        raise click.ClickException(str(error)) from error
    for line in table(checks):
        click.echo(line)
    if not all(check.ok for check in checks):
        raise click.exceptions.Exit(1)


def table(checks: Sequence[Check]) -> list[str]:
    """One line a check, and beneath a failed one what to do."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        first, *more = check.seen.splitlines()
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<{width}}  {first}")
        more += [f"do: {check.remedy}"] if not check.ok else []
        lines += [f"{'':{width + 6}}  {text.strip()}" for text in more]
    return lines
