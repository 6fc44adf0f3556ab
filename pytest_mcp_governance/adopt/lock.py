"""Makes and checks the lock file of a project's servers: starts what mcp.json names and writes down what they offer.

The file's form and comparison are `policy.lockfile`'s. Enforces nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_mcp_governance.adopt.configurations import read
from pytest_mcp_governance.adopt.entries import Server
from pytest_mcp_governance.adopt.listing import PATIENCE_S, Listing, list_servers, spec_of
from pytest_mcp_governance.errors import ConfigurationError, GovernanceError, ServerError
from pytest_mcp_governance.policy.lockfile import Lock, LockedServer, locked_tool


def make_lock(
    path: Path, environ: Mapping[str, str], *, patience_s: float = PATIENCE_S
) -> tuple[Lock, tuple[str, ...]]:
    """Start every stdio server of an mcp.json and lock what it offers.

    Args:
        path: the mcp.json, in the `mcpServers` format; its servers start in its folder.
        environ: where its variables take their values.
        patience_s: how long each server may take.

    Returns:
        The lock, and the names of the servers that are left out because they are reached by URL or switched off: no
        audited session reaches them.

    Raises:
        ConfigurationError: the file, or an entry of it, cannot be used as written.
        ServerError: a server cannot be started or listed; all of them are named. Half a lock is none.
    """
    found = read(path, "mcp.json")
    if found.problems:
        places = [f"{path.name}{f':{p.line}' if p.line else ''}: {p.text}" for p in found.problems]
        raise ConfigurationError("\n".join(places))
    servers = [server for server in found.servers if not server.disabled and server.transport == "stdio"]
    if not servers:
        raise ConfigurationError(f"{path.name} names no stdio server to lock")
    failures: dict[str, str] = {}
    specs = []
    for server in servers:
        try:
            specs.append(spec_of(server, path.parent, environ))
        except ConfigurationError as error:
            failures[server.name] = str(error)
    listed = list_servers(specs, patience_s=patience_s)
    failures |= {name: str(result) for name, result in listed.items() if isinstance(result, GovernanceError)}
    if failures:
        raise ServerError("\n".join(f"server {name}: {text}" for name, text in sorted(failures.items())))
    lock = lock_of(servers, {name: result for name, result in listed.items() if isinstance(result, Listing)})
    return lock, tuple(server.name for server in found.servers if server not in servers)


def lock_of(servers: Sequence[Server], listings: Mapping[str, Listing]) -> Lock:
    """The lock of servers that were listed, under the names that `listings` has."""
    known = {server.name: server for server in servers}
    return Lock(
        servers={
            name: LockedServer(command_digest(known[name]), listing.name, listing.version, listing.protocol)
            for name, listing in sorted(listings.items())
        },
        tools=tuple(
            locked_tool(name, definition)
            for name, listing in sorted(listings.items())
            for definition in sorted(listing.tools, key=lambda definition: str(definition["name"]))
        ),
    )


def command_digest(server: Server) -> str:
    """SHA-256 (hex) of a server's command, arguments and variable names as written, before a variable is filled in.

    A credential is a variable's name here; so the digest holds none, and is the same on every machine.
    """
    parts = [server.command, *server.args, *sorted(name for name, _ in server.env)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
