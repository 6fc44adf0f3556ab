"""`mcp-governance gateway`: record agents outside any test, for as long as it runs. Leaves out how: `adopt.gateway`."""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from pytest_mcp_governance.adopt.gateway import Client, Watch, Wish, prepare, serve
from pytest_mcp_governance.adopt.rewiring import Plan
from pytest_mcp_governance.cli.usage import KEY_VARIABLE, NO_POLICY, fail
from pytest_mcp_governance.errors import ConfigurationError, GovernanceError, KeyFileError, PolicyError
from pytest_mcp_governance.evidence.keys import load_signing_key
from pytest_mcp_governance.evidence.safe_text import safe
from pytest_mcp_governance.plugin import gate, terminal
from pytest_mcp_governance.plugin.environment import secret_values
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.run.standalone import policy_at
from pytest_mcp_governance.session.control import RunResult

FORMS = ("config", "servers", "commands")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES = {"kB": 1000, "MB": 1000**2, "GB": 1000**3}


@click.command("gateway")
@click.option(
    "--config",
    "configuration",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The MCP configuration that names the servers (default: the only one in this folder).",
)
@click.option("--servers", metavar="NAMES", default="", help="Which of them to serve, with commas (default: all).")
@click.option(
    "--policy",
    "policies",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="What to judge by; several must all allow (default: governance.policy.yaml here; none: NOT JUDGED).",
)
@click.option(
    "--evidence",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".mcp-governance"),
    show_default=True,
    help="Where the runs, the last report and the agents' configurations go.",
)
@click.option(
    "--agent",
    "agents",
    metavar="NAME",
    multiple=True,
    default=("agent",),
    show_default=True,
    help="An agent's name in the evidence; each gets a configuration of its own. May be given several times.",
)
@click.option("--request", metavar="TEXT", help="What the agents are asked to do, kept as evidence.")
@click.option(
    "--signing-key", metavar="KEY", help=f"File or URI of the key that signs the evidence (also {KEY_VARIABLE})."
)
@click.option(
    "--rotate-after",
    metavar="TIME",
    default="",
    help="Begin a new run when one has lasted this long: 90s, 30m, 6h, 2d (checked every second).",
)
@click.option(
    "--rotate-size",
    metavar="SIZE",
    default="",
    help="Begin a new run when one has stored this much: 500kB, 500MB, 2GB (checked every second).",
)
@click.option(
    "--print-config",
    "form",
    type=click.Choice(FORMS),
    help="Print how agents connect, as the first line of the output: agent -> configuration, servers or commands.",
)
@click.pass_context
def command(
    context: click.Context,
    configuration: Path | None,
    servers: str,
    policies: tuple[Path, ...],
    evidence: Path,
    agents: tuple[str, ...],
    request: str | None,
    signing_key: str | None,
    rotate_after: str,
    rotate_size: str,
    form: str | None,
) -> None:
    """Record what agents do over MCP until this is told to end: for staging agents and long sessions.

    Writes a client configuration for each agent, whose servers are reached through a recorder. Agents connect, leave
    and come back; every message is recorded, judged and, where the policy enforces, blocked. SIGTERM or Ctrl-C closes
    the run, renders the report and signs it. After a SIGKILL what was recorded verifies as INCOMPLETE.

    With --rotate-after or --rotate-size a run ends at its limit and a new one goes on over the same connections; each
    names the other, and `mcp-governance verify --chain` tells whether one is missing.

    \b
    Exit codes
      0 closed and signed, no unexpected finding
      1 an unexpected finding in enforce mode, or the evidence is broken
      2 it could not start

    \b
    Examples
      mcp-governance gateway --config mcp.json --policy staging.policy.yaml --evidence evidence
      mcp-governance gateway --agent clerk --agent auditor --signing-key key.pem
    """
    folder = Path.cwd()
    key = signing_key if signing_key is not None else os.environ.get(KEY_VARIABLE) or None
    try:
        if key is not None:
            load_signing_key(key, root=folder)
        wish = Wish(
            folder=folder,
            evidence=evidence.absolute(),
            configuration=configuration,
            servers=tuple(name for part in servers.split(",") if (name := part.strip())),
            policies=_policies(policies, folder),
            agents=agents,
            request=request,
            signing_key=key,
            secrets=secret_values(os.environ),
            rotate_after_s=_measure("--rotate-after", rotate_after, _SECONDS),
            rotate_bytes=_measure("--rotate-size", rotate_size, _BYTES),
        )
        prepared = prepare(wish)
    except (ConfigurationError, PolicyError, KeyFileError) as error:
        fail(str(error))
    for name, why in prepared.unaudited:
        _say(f"NOT audited, so left out: {name} ({why})", err=True)
    told = _Told(prepared, form, folder, judged=bool(wish.policies))
    try:
        serve(wish, prepared, told)
    except ConfigurationError as error:
        fail(str(error))
    except GovernanceError as error:
        fail(str(error), 1)
    context.exit(told.status)


class _Told(Watch):
    def __init__(self, prepared: Plan, form: str | None, folder: Path, *, judged: bool) -> None:
        self._prepared, self._form, self._folder, self._judged = prepared, form, folder, judged
        self.status = 0

    def started(self, run_dir: Path, clients: Sequence[Client]) -> None:
        if self._form is not None:
            click.echo(json.dumps({client.agent: _shaped(client, self._form) for client in clients}))
        names = ", ".join(wire.server.name for wire in self._prepared.wires)
        _say(f"recording {names} in {run_dir}" + ("" if self._judged else "; NOT JUDGED: there is no policy"))
        for client in clients:
            _say(f"agent {client.agent}: its configuration is {client.path}")
        _say("ready; SIGTERM or Ctrl-C closes and signs")

    def failed(self, text: str) -> None:
        for line in text.splitlines():
            _say(line, err=True)

    def rotated(self, run_dir: Path) -> None:
        _say(f"going on in {run_dir}")

    def closed(self, result: RunResult | str) -> None:
        if isinstance(result, str):
            self.status = 1
            self.failed(result)
            return
        failing = gate.reasons(result, (), ())
        self.status = int(bool(failing)) or self.status
        _say(f"run {result.run} is closed")
        for line in terminal.summary(result, failing, (), self._folder, no_policy=NO_POLICY):
            _say(line)
        target = shlex.quote(str(result.run_dir / "report.html"))
        _say(f"verify: mcp-governance verify {target} --trust {result.fingerprint}")

    def ending(self, signal_name: str) -> None:
        _say(f"{signal_name}: closing")


def _policies(paths: Sequence[Path], folder: Path) -> tuple[tuple[str, str], ...]:
    found = tuple(policy for path in paths or (None,) if (policy := policy_at(path, folder)) is not None)
    for name, text in found:
        load_policy(text, name=name)
    return found


def _shaped(client: Client, form: str) -> object:
    match form:
        case "servers":
            return {
                name: {"transport": "stdio", "command": program, "args": list(args)}
                for name, (program, *args) in client.commands.items()
            } | {
                name: {"transport": "sse" if url.endswith("/sse") else "streamable_http", "url": url}
                for name, url in client.urls.items()
            }
        case "commands":
            return {name: shlex.join(command) for name, command in client.commands.items()} | dict(client.urls)
    return json.loads(client.text)


def _measure(option: str, text: str, units: Mapping[str, int]) -> int:
    """A whole number and its unit, strictly; 0 where nothing is given.

    Raises:
        ConfigurationError: anything else.
    """
    if not text:
        return 0
    match = re.fullmatch(r"([1-9][0-9]{0,8})([A-Za-z]+)", text, re.ASCII)
    if match is None or match[2] not in units:
        raise ConfigurationError(
            f"{option} {text!r}: write a whole number from 1 and one of {', '.join(units)}, such as 6{[*units][-2]}"
        )
    return int(match[1]) * units[match[2]]


def _say(text: str, *, err: bool = False) -> None:
    click.echo(safe(text, 2_000), err=err)
