"""HOW A PERSON RUNS IT: `mcp-governance …`. One file a command, loaded when it is called.

A command is a file `cli/<name>.py` with a click command named `command`, one of a group `cli/<group>_<name>.py`.
Leaves out logic of its own.
"""

import importlib

import click
from click.shell_completion import CompletionItem

from pytest_mcp_governance.cli.streams import outlast_their_readers

_COMMANDS = (
    "approve",
    "attach",
    "baseline",
    "completion",
    "countersign",
    "doctor",
    "gateway",
    "init",
    "inventory",
    "keygen",
    "lock",
    "merge",
    "observe",
    "policy",
    "reconcile",
    "report",
    "verify",
)


class LazyGroup(click.Group):
    """Imports a command's module only when that command, or the list of all, is asked for.

    Args:
        lazily: the names of the commands.
        prefix: what their modules' names begin with.
    """

    def __init__(self, *args: object, lazily: tuple[str, ...] = (), prefix: str = "", **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own arguments, handed through
        self._lazily = lazily
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazily)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazily:
            return None
        command = importlib.import_module(f"{__name__}.{self._prefix}{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def main(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]  # click's own arguments
        """Run the command; what nobody reads to its end changes no exit code."""
        outlast_their_readers()
        return super().main(*args, **kwargs)  # type: ignore[call-overload]  # click's own arguments, handed through

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names only: their help texts would import every command at each press of a key."""
        names = [CompletionItem(name) for name in self._lazily if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(cls=LazyGroup, lazily=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pytest-mcp-governance")
def main() -> None:
    """Audit, sign and verify what AI agents do over MCP in tests."""
