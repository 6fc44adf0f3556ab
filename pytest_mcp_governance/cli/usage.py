"""What commands share: usage errors with exit code 2, checking option values, and the key of `--sign`.

No command of its own.
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, NoReturn

import click

from pytest_mcp_governance.errors import GovernanceError, KeyFileError
from pytest_mcp_governance.evidence.keys import SigningKey, load_signing_key
from pytest_mcp_governance.evidence.safe_text import safe

KEY_VARIABLE = "MCP_GOVERNANCE_SIGNING_KEY"
MAX_CHARACTERS = 1_000
NO_POLICY = "Write governance.policy.yaml into this folder, or name one with --policy"


class UsageError(click.ClickException):
    """A wrong option: exit code 2 like any wrong usage, and nothing said about the evidence."""

    exit_code = 2

    def format_message(self) -> str:
        return f"Usage error: {self.message}"

    def show(self, file: IO[str] | None = None) -> None:
        click.echo(self.format_message(), file=file or sys.stderr)


def fail(text: str, exit_code: int = 2) -> NoReturn:
    """End the command: what went wrong on standard error, and the exit code that says why."""
    lines = [safe(line, MAX_CHARACTERS) for line in text.splitlines()]  # an error's remedy is a line of its own
    click.echo("Error: " + "\n".join(lines), err=True)
    raise click.exceptions.Exit(exit_code)


def check(option: str, values: Iterable[str], read: Callable[[str], object]) -> None:
    """Read every value of an option once.

    Raises:
        UsageError: one cannot be read; the text names the option.
    """
    for value in values:
        try:
            read(value)
        except GovernanceError as error:
            raise UsageError(f"{option}: {safe(str(error), MAX_CHARACTERS)}") from None


def signing_key(spec: str | None) -> SigningKey | None:
    """The key that `--sign` or the environment names; None where neither does.

    Raises:
        UsageError: it cannot be loaded.
    """
    named, given = ("--sign", spec) if spec is not None else (KEY_VARIABLE, os.environ.get(KEY_VARIABLE))
    if not given:
        if spec is not None:
            raise UsageError("--sign: names no key.")
        return None
    try:
        return load_signing_key(given, root=Path.cwd())
    except KeyFileError as error:
        raise UsageError(f"{named}: {safe(str(error), MAX_CHARACTERS)}") from None
