"""`mcp-governance observe -- COMMAND`: audit an agent as it is. Leaves out how (`adopt.observe`).

What the agent prints is its own; everything said here goes to standard error.
"""

import os
from pathlib import Path

import click

from pytest_mcp_governance.adopt.observe import PLACEHOLDER, VARIABLE, Observed, Wish, prepare, reaches
from pytest_mcp_governance.adopt.observe import observe as run
from pytest_mcp_governance.adopt.rewiring import Plan
from pytest_mcp_governance.cli.usage import KEY_VARIABLE, NO_POLICY, fail
from pytest_mcp_governance.errors import ConfigurationError, GovernanceError, KeyFileError, PolicyError
from pytest_mcp_governance.evidence.keys import load_signing_key
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.plugin import gate, terminal
from pytest_mcp_governance.plugin.environment import secret_values
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.run.standalone import policy_at

_NOTHING = f"""\
no call came through the recorder: nothing was observed.
  The agent has to read the audited configuration. Give it in one of these ways:
  - name its configuration file in COMMAND as the agent expects it, or write {PLACEHOLDER} there
  - let the agent read the file that {VARIABLE} names
  - add --in-place, which puts the audited configuration where its own lies, while it runs"""

_FAILED = """\
no call came through the recorder: nothing was observed.
  The agent was connected; what went wrong with its servers is said above."""


@click.command("observe", context_settings={"ignore_unknown_options": False})
@click.option(
    "--config",
    "configuration",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The agent's MCP configuration (default: the only one in this folder).",
)
@click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What to judge by (default: governance.policy.yaml here; none: NOT JUDGED).",
)
@click.option("--agent", metavar="NAME", default="agent", show_default=True, help="The agent's name in the evidence.")
@click.option("--request", metavar="TEXT", help="What the agent is asked to do, kept as evidence.")
@click.option(
    "--out",
    "report",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=Path("governance-report.html"),
    show_default=True,
    help="Where the report goes.",
)
@click.option("--sign", metavar="KEY", help=f"File or URI of the key that signs the evidence (also {KEY_VARIABLE}).")
@click.option("--enforce", is_flag=True, help="Block what the policy denies; without it, it is only recorded.")
@click.option(
    "--in-place", is_flag=True, help="Put the audited configuration in the place of the agent's own while it runs."
)
@click.option(
    "--keep-unaudited",
    is_flag=True,
    help="Leave servers in the configuration that cannot be audited.",
)
@click.argument("command_line", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
@click.pass_context
def command(
    context: click.Context,
    configuration: Path | None,
    policy: Path | None,
    agent: str,
    request: str | None,
    report: Path,
    sign: str | None,
    enforce: bool,
    in_place: bool,
    keep_unaudited: bool,
    command_line: tuple[str, ...],
) -> None:
    """Audit what an agent does over MCP, without a line of test code.

    Runs COMMAND with an MCP configuration whose servers are reached through a recorder. Every message is recorded
    and judged; nothing is blocked unless --enforce says so. Ends with COMMAND's own exit status, or with 1 where
    that is 0 but nothing came through, the evidence is broken, or --enforce found something.

    Tools that the agent has built in, and servers that it reaches in another way, never pass the recorder.

    \b
    Examples
      mcp-governance observe -- python agent.py --mcp-config mcp.json
      mcp-governance observe --config .mcp.json -- claude -p "tidy up" --mcp-config {mcp_config}
      mcp-governance observe --in-place -- ./my-agent
    """
    folder = Path.cwd()
    key = sign if sign is not None else os.environ.get(KEY_VARIABLE) or None
    try:
        if not agent.strip():
            raise ConfigurationError("--agent: the name is empty")
        if not report.absolute().parent.is_dir() or report.is_dir():
            raise ConfigurationError(f"--out: {report} cannot be written: name a file in a folder that exists")
        if key is not None:
            load_signing_key(key, root=folder)
        judged_by = policy_at(policy, folder)
        if enforce and judged_by is None:
            raise ConfigurationError("--enforce needs a policy: write governance.policy.yaml or use --policy")
        if judged_by is not None:
            load_policy(judged_by[1], name=judged_by[0])
        wish = Wish(
            command=command_line,
            folder=folder,
            configuration=configuration,
            policy=judged_by,
            agent=agent,
            request=request,
            report=report.absolute(),
            signing_key=key,
            enforce=enforce,
            in_place=in_place,
            keep_unaudited=keep_unaudited,
            secrets=secret_values(os.environ),
        )
        plan = prepare(wish)
    except (ConfigurationError, PolicyError, KeyFileError) as error:
        fail(str(error))
    _announce(plan, keep_unaudited)
    try:
        observed = run(wish, plan, lambda path: None if reaches(wish, plan) else _say(f"audited configuration: {path}"))
    except GovernanceError as error:
        fail(str(error), 1)
    context.exit(_told(observed, folder))


def _announce(plan: Plan, keep_unaudited: bool) -> None:
    _say(f"auditing {', '.join(wire.server.name for wire in plan.wires)} of {plan.configuration.path}")
    fate = "but left in" if keep_unaudited else "so left out"
    for name, why in plan.unaudited:
        _say(f"NOT audited, {fate}: {name} ({why})")
    for problem in plan.configuration.problems:
        _say(f"NOT audited, {fate}: {problem.text}")


def _told(observed: Observed, folder: Path) -> int:
    failing = gate.reasons(observed.result, (), ())
    click.echo("", err=True)
    for line in terminal.summary(observed.result, failing, (), folder, no_policy=NO_POLICY):
        _say(line)
    for failure in observed.failures:
        for line in failure.splitlines():
            _say(line)
    if not observed.calls:
        click.echo(_FAILED if observed.failures else _NOTHING, err=True)
    return observed.status or int(bool(failing) or not observed.calls)


def _say(text: str) -> None:
    click.echo(safe(text, 2_000), err=True)
