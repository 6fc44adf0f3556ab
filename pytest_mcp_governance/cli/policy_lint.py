"""`mcp-governance policy lint`: what in a policy is wrong, or probably not meant, for every commit.

Leaves out the checks (`policy.lint`) and reading (`run.policy_check`). What comes from a policy is escaped.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from pytest_mcp_governance.cli.usage import MAX_CHARACTERS
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.run.policy_check import Checked, check_policies


@click.command(name="lint")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--lock", metavar="FILE", help="The lock file of tools. Default: mcp-tools.lock beside each policy.")
@click.option("--warn-only", is_flag=True, help="End with 0 although there are warnings.")
@click.option("--strict", is_flag=True, help="End with 1 for hints too.")
@click.option("--json", "as_json", is_flag=True, help="Print the warnings as JSON.")
@click.pass_context
def command(
    context: click.Context, files: tuple[str, ...], lock: str | None, warn_only: bool, strict: bool, as_json: bool
) -> None:
    """Check policies for what is wrong or probably not meant.

    Warns of rules that change nothing, waivers and reviews that are due, a missing owner and a rule that allows
    everything; with a lock file also of patterns that match no tool, and of tools that may destroy something and are
    allowed with any arguments. A missing owner and a safeguard that denies what nothing allows are hints.

    \b
    Exit codes
      0  nothing to warn of, but for hints
      1  there are warnings
      2  a policy or lock file that cannot be read, or a usage error
    """
    checked = check_policies(files, folder=Path.cwd(), today=datetime.now(UTC).date(), lock=lock)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in checked], indent=2))
    else:
        for line in _lines(checked):
            click.echo(line)
    if any(one.error for one in checked):
        context.exit(2)
    context.exit(1 if any(one.failing(strict=strict) for one in checked) and not warn_only else 0)


def _lines(checked: Sequence[Checked]) -> Iterator[str]:
    for one in checked:
        for number, line in enumerate(one.error.splitlines()):
            yield f"{'error: ' if number == 0 else ''}{safe(line, MAX_CHARACTERS)}"
        for warning in one.warnings:
            yield safe(
                f"{warning.place}: {'hint: ' if warning.hint else ''}{warning.text} [{warning.code}]", MAX_CHARACTERS
            )
    warnings, errors = [warning for one in checked for warning in one.warnings], sum(bool(one.error) for one in checked)
    hints = sum(warning.hint for warning in warnings)
    files = f"{len(checked)} {'policy' if len(checked) == 1 else 'policies'}"
    yield f"{files} checked: {_counted(errors, 'error')}, {_counted(len(warnings) - hints, 'warning')}" + (
        f", {_counted(hints, 'hint')}" if hints else ""
    )


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
