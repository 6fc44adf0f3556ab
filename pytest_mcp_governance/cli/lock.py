"""`mcp-governance lock`: write down what the configured servers offer, or check that they still do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from pytest_mcp_governance.adopt.listing import PATIENCE_S
from pytest_mcp_governance.adopt.lock import make_lock
from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.policy.lockfile import LOCK_NAME, Difference, Lock, compare, read_lock, write_lock

_WORDS = {"new": "new      ", "missing": "missing  ", "changed": "changed  "}


@click.command("lock")
@click.option("--check", is_flag=True, help="Write nothing; compare the servers with the lock file.")
@click.option(
    "--servers",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("mcp.json"),
    show_default=True,
    help="Servers to start, in the mcpServers format.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(LOCK_NAME),
    show_default=True,
    help="The lock file.",
)
@click.option(
    "--timeout",
    "patience_s",
    type=click.FloatRange(min=1),
    default=PATIENCE_S,
    show_default=True,
    help="Seconds that each server may take.",
)
def command(check: bool, servers: Path, out: Path, patience_s: float) -> None:
    """Write down every tool that the configured servers offer, or check it.

    Starts each stdio server of mcp.json, lists its tools and calls none. The lock file holds each tool's
    definition and digest and no credential, is the same for the same tools, and belongs in version control.

    With --check, ends with 0 if the servers still offer exactly what it says, with 1 if not, with 2 if that
    cannot be told: no file, a server that does not start.
    """
    try:
        before = read_lock(_text(out), safe(str(out))) if check else None
        lock, left = make_lock(servers.absolute(), os.environ, patience_s=patience_s)
        for name in left:
            click.echo(f"{safe(name, 80)}: left out; it is reached by URL or switched off, and no audit reaches it.")
        if before is not None:
            _told(compare(before, lock), out, lock)
            return
        out.write_text(write_lock(lock), encoding="utf-8")
    except GovernanceError as error:
        raise _CannotTellError("\n".join(safe(line, 500) for line in str(error).splitlines())) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise _CannotTellError(f"{safe(str(out))} cannot be written: {reason}") from None
    click.echo(f"{safe(str(out))}: {_counted(lock)}. Commit it; check it with `mcp-governance lock --check`.")


def _told(differences: Sequence[Difference], out: Path, lock: Lock) -> None:
    if not differences:
        click.echo(f"{safe(str(out))}: {_counted(lock)}, as locked.")
        return
    click.echo(f"{safe(str(out))}: the servers offer something else than it says.\n")
    for difference in differences:
        subject = safe(difference.subject)
        click.echo(f"  {_WORDS[difference.kind]}{subject}")
        if difference.detail:
            click.echo(f"             {safe(difference.detail, 300)}")
    click.echo("\nRead what has changed. If it is meant: `mcp-governance lock`, and commit the file.")
    raise click.exceptions.Exit(1)


def _counted(lock: Lock) -> str:
    tools, servers = len(lock.tools), len(lock.servers)
    return f"{tools} tool{'' if tools == 1 else 's'} of {servers} server{'' if servers == 1 else 's'}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _CannotTellError(f"{safe(str(path))} is not there. Write it with `mcp-governance lock`.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise _CannotTellError(f"{safe(str(path))} cannot be read: {reason}") from None


class _CannotTellError(click.ClickException):
    exit_code = 2
