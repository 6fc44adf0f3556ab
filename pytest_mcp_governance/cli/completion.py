"""`mcp-governance completion SHELL`: the script by which a shell completes this program's commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_MCP_GOVERNANCE_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and files in your shell.

    \b
    bash (4.4 or newer), in ~/.bashrc:  eval "$(mcp-governance completion bash)"
    zsh, in ~/.zshrc:                   eval "$(mcp-governance completion zsh)"
    fish:  mcp-governance completion fish > ~/.config/fish/completions/mcp-governance.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # the choices are click's own
    click.echo(found(ctx.find_root().command, {}, "mcp-governance", _VARIABLE).source())
