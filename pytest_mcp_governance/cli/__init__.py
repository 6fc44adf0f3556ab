"""HOW A PERSON RUNS IT: `mcp-governance …`. One file a command, loaded when it is called.

A command is a file `cli/<name>.py` with a click command named `command`. Leaves out logic of its own.
"""

import importlib

import click

_COMMANDS = ("approve", "attach", "countersign", "doctor", "keygen", "merge", "report", "verify")


class _LazyGroup(click.Group):
    """Imports a command's module only when that command, or the list of all, is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return command if isinstance(command, click.Command) else None


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pytest-mcp-governance")
def main() -> None:
    """Audit, sign and verify what AI agents do over MCP in tests."""
