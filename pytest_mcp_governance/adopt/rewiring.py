"""A client's configuration made to lead through the recorder: a command becomes a shim's, a URL the recorder's own.

What is no server stays as it was, comments aside. Servers that are not audited are left out, and named, unless somebody
asks for them: one that is silently left in would be a hole. Starts nothing and writes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_mcp_governance.adopt import jsonc
from pytest_mcp_governance.adopt.configurations import SECTIONS, Configuration
from pytest_mcp_governance.adopt.entries import Server, read_entry
from pytest_mcp_governance.adopt.listing import spec_of
from pytest_mcp_governance.adopt.remote import URL_KEYS, remote_entry, url_key
from pytest_mcp_governance.errors import ConfigurationError

# What the shim has no use for, or would start it elsewhere or otherwise than its command says.
_SERVERS_OWN = ("command", "args", "env", "envFile", "cwd")
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Wire:
    """One server that is to be audited.

    Args:
        server: as the configuration names it.
        name: its name in the evidence, of letters, digits, `_` and `-`, unique here.
        entry: how the recorder starts it: command, args, env, cwd; or reaches it: url, headers, type. Holds what
            credentials the configuration holds.
    """

    server: Server
    name: str
    entry: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a configuration will be audited, and what not.

    Args:
        configuration: the configuration.
        text: its text.
        wires: the servers to audit.
        unaudited: (name, why not) of the others that are switched on.
    """

    configuration: Configuration
    text: str = field(repr=False)
    wires: tuple[Wire, ...]
    unaudited: tuple[tuple[str, str], ...]


def plan(configuration: Configuration, text: str, folder: Path, environ: Mapping[str, str]) -> Plan:
    """Sort a configuration's servers.

    Args:
        configuration: as `configurations.read_text` gave it.
        text: what it was read from.
        folder: the project's folder, where servers start, and whose servers of a file for many projects count.
        environ: where variables take their values.

    Raises:
        ConfigurationError: the format cannot be written, or not one server can be audited; the text says why.
    """
    if configuration.kind == "codex":
        raise ConfigurationError(
            f"{configuration.path} is TOML, which cannot be rewritten. Name a JSON configuration with --config, or "
            "give the agent its servers in one."
        )
    raw = _raw_entries(configuration, text) if configuration.servers else {}
    wires: list[Wire] = []
    unaudited: list[tuple[str, str]] = []
    for server in configuration.servers:
        if server.scope and Path(server.scope) != folder:
            continue  # another project's
        if server.disabled:
            unaudited.append((server.name, "it is switched off"))
            continue
        name = _unique(server.name, [wire.name for wire in wires])
        try:
            entry = _entry(name, server, raw.get((server.scope, server.name), {}), folder, environ)
        except ConfigurationError as error:
            unaudited.append((server.name, str(error)))
            continue
        wires.append(Wire(server, name, entry))
    if not wires:
        problems = [*(problem.text for problem in configuration.problems), *(f"{n}: {why}" for n, why in unaudited)]
        why = "; ".join(problems) or "it names none that is switched on"
        raise ConfigurationError(f"{configuration.path} has no server that can be audited: {why}")
    return Plan(configuration, text, tuple(wires), tuple(unaudited))


def _entry(
    name: str, server: Server, raw: Mapping[str, object], folder: Path, environ: Mapping[str, str]
) -> Mapping[str, object]:
    if server.transport != "stdio":
        return remote_entry(name, server, raw, environ)
    spec = spec_of(_whole(server, raw), folder, environ, name=name)
    spec.require_command()  # one that is not on this machine stops none of the others
    return {"command": spec.command, "args": list(spec.args), "env": dict(spec.env), "cwd": str(spec.cwd)}


def rewired(
    plan: Plan,
    commands: Mapping[str, Sequence[str]],
    urls: Mapping[str, str] | None = None,
    *,
    keep_unaudited: bool = False,
) -> str:
    """The configuration's text with the audited servers' commands and URLs replaced.

    Args:
        plan: from `plan`.
        commands: for each wire's name, what an agent starts in the server's place.
        urls: the same for servers that are reached by URL; their headers stay with the recorder.
        keep_unaudited: leave in what is not audited.
    """
    document, _ = jsonc.loads(plan.text)
    wires = {(wire.server.scope, wire.server.name): wire for wire in plan.wires}
    for scope, section in _sections(document, plan.configuration):
        for name in list(section):
            wire = wires.get((scope, name))
            if wire is not None:
                entry = section[name]
                fields = entry if isinstance(entry, dict) else {}
                if wire.name in (urls or {}):
                    kept = {k: v for k, v in fields.items() if k not in ("headers", *URL_KEYS)}
                    section[name] = {**kept, url_key(fields): (urls or {})[wire.name]}
                    continue
                program, *args = commands[wire.name]
                kept = {k: v for k, v in fields.items() if k not in _SERVERS_OWN}
                section[name] = {"command": program, "args": args, **kept}
            elif not keep_unaudited:
                del section[name]  # also one that is switched off or written wrongly: clients differ in what they take
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def left_over(plan: Plan) -> tuple[str, ...]:
    """Every entry that `keep_unaudited` leaves in, also what is off or odd: a client may take it."""
    wires = {(wire.server.scope, wire.server.name) for wire in plan.wires}
    document, _ = jsonc.loads(plan.text)
    places = _sections(document, plan.configuration)
    return tuple(dict.fromkeys(name for scope, section in places for name in section if (scope, name) not in wires))


def _raw_entries(configuration: Configuration, text: str) -> dict[tuple[str, str], Mapping[str, object]]:
    document, _ = jsonc.loads(text)
    return {
        (scope, name): entry
        for scope, section in _sections(document, configuration)
        for name, entry in section.items()
        if isinstance(entry, dict)
    }


def _sections(document: object, configuration: Configuration) -> list[tuple[str, dict[str, object]]]:
    """(project or "", the servers themselves) of every place that holds servers."""
    found: list[tuple[str, dict[str, object]]] = []
    for keys in SECTIONS.get(configuration.kind, (("mcpServers",),)):
        place: object = document
        for key in keys:
            place = place.get(key) if isinstance(place, dict) else None
        if isinstance(place, dict):
            found.append(("", place))
    projects = document.get("projects") if isinstance(document, dict) else None
    if configuration.kind == "claude-code" and isinstance(projects, dict):
        for project, settings in projects.items():
            servers = settings.get("mcpServers") if isinstance(settings, dict) else None
            if isinstance(servers, dict):
                found.append((project, servers))
    return found


def _whole(server: Server, entry: Mapping[str, object]) -> Server:
    """The server with the credentials that stand in the configuration itself, which it is started with."""
    whole = read_entry(server.name, entry, scope=server.scope, keep_credentials=True)
    return server if isinstance(whole, str) else replace(server, args=whole.args, env=whole.env)


def evidence_name(name: str) -> str:
    """A server's name as evidence has it, where the configuration's own cannot be used: `My git` becomes `My-git`."""
    return _NOT_A_NAME.sub("-", name).strip("-")[:60] or "server"


def _unique(name: str, taken: Sequence[str]) -> str:
    plain = evidence_name(name)
    candidate, number = plain, 2
    while candidate in taken:
        candidate, number = f"{plain}-{number}", number + 1
    return candidate
