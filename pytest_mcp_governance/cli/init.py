"""`mcp-governance init`: from the MCP servers that a project has to a first audited test, file by file, each shown."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pytest_mcp_governance.adopt.configurations import Configuration, find, find_personal, read
from pytest_mcp_governance.adopt.init import Choice, Draft, Started, choose, draft, start, unusable, write
from pytest_mcp_governance.adopt.listing import PATIENCE_S
from pytest_mcp_governance.errors import GovernanceError
from pytest_mcp_governance.evidence.safe_text import safe

_LOOKED_FOR = "mcp.json, .mcp.json, .cursor/mcp.json, .vscode/mcp.json, …"


@click.command("init")
@click.option(
    "--config",
    "paths",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="Read this configuration instead of looking for them; may be repeated.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    show_default="the current folder",
    help="The project's folder.",
)
@click.option("--add", is_flag=True, help="Beside an mcp.json: start what only other configurations name, too.")
@click.option("--user", is_flag=True, help="Read your personal configurations too; they are yours, not the project's.")
@click.option("--yes", "-y", is_flag=True, help="Write every file without asking.")
@click.option("--dry-run", is_flag=True, help="Show everything, write nothing.")
@click.option(
    "--timeout",
    "patience_s",
    type=click.FloatRange(min=1),
    default=PATIENCE_S,
    show_default=True,
    help="Seconds that each server may take to start and list.",
)
def command(
    paths: Sequence[Path], folder: Path, add: bool, user: bool, yes: bool, dry_run: bool, patience_s: float
) -> None:
    """Propose a policy, a lock file, a first test and a CI job for this project's MCP servers.

    Reads the project's MCP configurations (mcp.json, Claude, Cursor, VS Code, Windsurf, Gemini, Codex), starts
    each stdio server that they name, lists its tools and calls none. Every file is shown in full before it is
    written, and no file that is there is changed. On a terminal it asks before it starts servers, and before
    each file; elsewhere it writes only with --yes.

    Ends with 0 when it has written what was accepted, or with --dry-run; with 1 when there was nothing to
    propose, or nobody to ask; with 2 for a wrong command line.
    """
    folder = folder.resolve()
    found = [read(path.absolute()) for path in paths] or [*find(folder), *(find_personal(Path.home()) if user else ())]
    asks = _is_terminal() and not yes and not dry_run
    choice = choose(found, folder, add=add)
    _tell_read(found, choice, folder)
    wrong = unusable(found, folder)
    if wrong:
        lines = "\n".join(_wrapped(safe(text, 300), 2) for text in wrong)
        raise click.ClickException(f"The mcp.json that is there cannot be used as it is; correct it first:\n{lines}")
    if not choice.servers:
        raise click.ClickException(f"No stdio server to start. Looked for {_LOOKED_FOR}; or name one with --config.")
    if asks:
        click.confirm("\nStart them, to list their tools? None is called", default=True, abort=True)
    click.echo(f"\nStarting {len(choice.servers)} (at most {patience_s:.0f} s each; npx and uvx may install first) ...")
    started = start(choice, folder, os.environ, patience_s=patience_s)
    _tell_started(started)
    if not started.listings:
        raise click.ClickException("No server started, so there is nothing to propose.")
    try:
        drafts = draft(choice, started, folder)
    except GovernanceError as error:
        raise click.ClickException(f"A draft of ours does not read back: {safe(str(error), 500)}") from None
    written = [made for made in drafts if _offer(made, folder, asks=asks, yes=yes and not dry_run)]
    _tell_end(written, drafts, folder, asks=asks, yes=yes, dry_run=dry_run)


def _tell_read(found: Sequence[Configuration], choice: Choice, folder: Path) -> None:
    click.echo("Read")
    for configuration in found:
        names = ", ".join(safe(server.name, 40) for server in configuration.servers) or "no server"
        click.echo(_wrapped(f"{_place(configuration.path, folder)} ({configuration.kind}): {names}", 2))
        for problem in configuration.problems:
            click.echo(_wrapped(f"{f'line {problem.line}: ' if problem.line else ''}{safe(problem.text, 300)}", 4))
    if not found:
        click.echo(f"  nothing in {safe(str(folder))}")
    if choice.servers:
        click.echo("\nServers")
    for name, server in choice.servers.items():
        click.echo(_wrapped(f"{name}: {safe(' '.join([server.command, *server.args]), 300)}", 2))
        for note in server.notes:
            click.echo(_wrapped(safe(note, 300), 4))
    for name, why in choice.left:
        click.echo(_wrapped(f"{safe(name, 40)}: not started: {safe(why, 300)}", 2))


def _tell_started(started: Started) -> None:
    for name, listing in started.listings.items():
        tools = started.of(name)
        counts = [f"{sum(t.effect == effect for t in tools)} {word}" for effect, word in _EFFECTS]
        click.echo(f"\n{name}: {safe(f'{listing.name} {listing.version}', 60)}")
        click.echo(f"  {len(tools)} tool{'' if len(tools) == 1 else 's'}: {', '.join(counts)}")
        for effect, word in _EFFECTS:
            for reason in dict.fromkeys(tool.reason for tool in tools if tool.effect == effect):
                names = [safe(t.name, 40) for t in tools if t.effect == effect and t.reason == reason]
                click.echo(f"  {word}, {reason}:")
                click.echo(_wrapped(", ".join(names), 4))
    for name, why in started.failures.items():
        first, *more = why.splitlines()
        click.echo(f"\n{name}: did not start, and is left out")
        for line in (first, *more):
            click.echo(_wrapped(safe(line, 400), 4))


_EFFECTS = (("allow", "allowed"), ("deny", "denied"), ("leave", "left out"))


def _offer(made: Draft, folder: Path, *, asks: bool, yes: bool) -> bool:
    """Show one draft, and write it if it may be; return whether it was written."""
    name = _place(made.path, folder)
    click.echo(f"\n== {name}: {made.why}")
    if made.blocked:
        click.echo(f"   skipped: {safe(made.blocked, 300)}")
        return False
    if not made.diff:
        click.echo("   is there already, the same")
        return False
    for line in made.diff:
        click.echo(safe(line, 100_000))
    if not yes and not (asks and click.confirm(f"Write {name}?", default=False)):
        return False
    try:
        write(made)
    except OSError as error:
        click.echo(f"   not written: {safe(error.strerror or 'no usable path')}")
        return False
    click.echo(f"   written: {name}")
    return True


def _tell_end(
    written: Sequence[Draft], drafts: Sequence[Draft], folder: Path, *, asks: bool, yes: bool, dry_run: bool
) -> None:
    click.echo("")
    if dry_run:
        click.echo("Nothing was written (--dry-run).")
        return
    if not asks and not yes:
        raise click.ClickException("Nothing was written: nobody can be asked here. Accept it all with --yes.")
    if not written:
        click.echo("Nothing was written.")
        return
    click.echo(f"Wrote {len(written)} of {len(drafts)} files. Next: review the policy, then `pytest`.")
    beside = [_place(made.path, folder) for made in written if made.path.suffix == ".new"]
    if beside:
        click.echo("What was there is as it was. Compare, and take over what you want:")
    for name in beside:
        click.echo(f"  mv {shlex.quote(name)} {shlex.quote(name.removesuffix('.new'))}")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _wrapped(text: str, indent: int) -> str:
    return click.wrap_text(text, 78, " " * indent, " " * indent)


def _place(path: Path, folder: Path) -> str:
    return safe(str(path.relative_to(folder) if path.is_relative_to(folder) else path))
