"""What `init` does: read configurations, start their servers, draft the files, compare with what is there.

Decides nothing for the person: asking, showing and writing one file after the other is the command's. A server that
does not start is reported and left out; it stops nothing.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_mcp_governance.adopt import drafts
from pytest_mcp_governance.adopt.configurations import Configuration
from pytest_mcp_governance.adopt.entries import Server
from pytest_mcp_governance.adopt.listing import Listing, list_servers, spec_of
from pytest_mcp_governance.adopt.lock import lock_of
from pytest_mcp_governance.adopt.proposal import ToolProposal, propose, served_folders
from pytest_mcp_governance.errors import CaptureError, GovernanceError
from pytest_mcp_governance.policy.loader import load_policy
from pytest_mcp_governance.policy.lockfile import LOCK_NAME, read_lock, write_lock
from pytest_mcp_governance.session.browser import find_browser
from pytest_mcp_governance.session.server import ServerSpec

SERVERS_NAME = "mcp.json"
POLICY_NAME = "governance.policy.yaml"
CI_NAME = ".github/workflows/mcp-governance.yml"
GITIGNORE_NAME = ".gitignore"
_NAME_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_PYTEST_FILES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")
_PYTEST_TABLES = (("pyproject.toml", "[tool.pytest"), ("tox.ini", "[pytest]"), ("setup.cfg", "[tool:pytest]"))


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the configured servers are started, under which names, and why the others are not.

    Args:
        servers: name here -> entry.
        left: (name there, why) of the others; both hostile until escaped.
        reused: whether an mcp.json is there already, which is used as it is.
        added: names of those that it does not have.
    """

    servers: Mapping[str, Server]
    left: tuple[tuple[str, str], ...]
    reused: bool
    added: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Started:
    """What starting them came to.

    Args:
        listings: name -> what it offers, of those that started.
        failures: name -> why not.
        tools: a proposal for every tool, in the servers' order.
    """

    listings: Mapping[str, Listing]
    failures: Mapping[str, str]
    tools: tuple[ToolProposal, ...]

    def of(self, server: str) -> tuple[ToolProposal, ...]:
        """The proposals for one server."""
        return tuple(tool for tool in self.tools if tool.server == server)


@dataclass(frozen=True, slots=True)
class Draft:
    """One proposed file.

    Args:
        path: where it goes; beside what is there, as `.new`, where that says something else.
        text: all of it.
        why: one line for the person.
        diff: lines from what is there to the draft; empty where they are the same.
        blocked: why it cannot be written at all; empty where it can.
    """

    path: Path
    text: str
    why: str
    diff: tuple[str, ...]
    blocked: str = ""


def choose(found: Sequence[Configuration], folder: Path, *, add: bool = False) -> Choice:
    """Choose the servers to start: those of an mcp.json where it is there, else all that are found, each once.

    Args:
        found: the configurations.
        folder: the project's.
        add: beside an mcp.json, take what only other configurations name too.
    """
    own = [configuration for configuration in found if configuration.path == folder / SERVERS_NAME]
    taken: dict[str, Server] = {}
    left: list[tuple[str, str]] = []
    known = {server.name for configuration in own for server in configuration.servers}
    added: set[str] = set()
    others = [configuration for configuration in found if configuration not in own]
    for configuration in own + others if add or not own else own:
        for server in configuration.servers:
            foreign = configuration not in own
            if own and foreign and server.name in known:
                continue
            why = _why_not(server, folder)
            if why:
                left.append((server.name, why))
                continue
            name = _usable(server.name)
            if any(_same(server, other) for other in taken.values()):
                continue
            number = 1
            while name in taken:
                number += 1
                name = f"{_usable(server.name)[:60]}-{number}"
            taken[name] = _watched(replace(server, name=name), ours=foreign)
            if own and foreign:
                added.add(name)
    if own and not add:
        left += [
            (server.name, f"in {configuration.kind}, not in {SERVERS_NAME}; `init --add` takes it in")
            for configuration in others
            for server in configuration.servers
            if server.name not in known
        ]
    return Choice(taken, tuple(dict.fromkeys(left)), bool(own), frozenset(added))


def unusable(found: Sequence[Configuration], folder: Path) -> tuple[str, ...]:
    """What the plugin would refuse in the mcp.json that is there; with that no audited test can run."""
    wrong: list[str] = []
    for configuration in found:
        if configuration.path == folder / SERVERS_NAME:
            wrong += [f"{f'line {p.line}: ' if p.line else ''}{p.text}" for p in configuration.problems]
            wrong += [
                f"server name {server.name!r} must be letters, digits, _ and -"
                for server in configuration.servers
                if _usable(server.name) != server.name
            ]
    return tuple(wrong)


def start(choice: Choice, folder: Path, environ: Mapping[str, str], *, patience_s: float) -> Started:
    """Start each server, list what it offers, and propose a rule for each tool.

    Args:
        choice: the servers.
        folder: the project's folder, where they start.
        environ: where their variables take their values.
        patience_s: how long each may take.
    """
    specs: dict[str, ServerSpec] = {}
    failures: dict[str, str] = {}
    for name, server in choice.servers.items():
        try:
            specs[name] = spec_of(server, folder, environ)
        except GovernanceError as error:
            failures[name] = str(error)
    results = list_servers(list(specs.values()), patience_s=patience_s)
    listings = {name: result for name, result in results.items() if isinstance(result, Listing)}
    failures |= {name: str(result) for name, result in results.items() if isinstance(result, GovernanceError)}
    tools = [
        propose(name, definition, served_folders(specs[name]))
        for name, listing in listings.items()
        for definition in listing.tools
    ]
    return Started(listings, failures, tuple(tools))


def draft(choice: Choice, started: Started, folder: Path) -> tuple[Draft, ...]:
    """Draft every file, in the order in which one needs the other.

    Raises:
        GovernanceError: a draft that does not read back; it is a fault of ours, and nothing is proposed.
    """
    servers = {name: server for name, server in choice.servers.items() if name in started.listings}
    added = {name: server for name, server in servers.items() if name in choice.added}
    policy = drafts.policy_text(folder.name, started.listings, started.tools)
    lock = write_lock(lock_of(list(servers.values()), started.listings))
    load_policy(policy, name=POLICY_NAME)
    read_lock(lock)
    made = [
        *([] if choice.reused else [(SERVERS_NAME, drafts.servers_text(servers), "the servers, without a credential")]),
        (POLICY_NAME, policy, "read-only tools allowed, destructive ones denied; all else is denied too"),
        (LOCK_NAME, lock, "what each tool says of itself today, for `mcp-governance lock --check`"),
        (
            drafts.TEST_NAME,
            drafts.first_test_text(started.listings, started.tools),
            "an audited session with each server; passes as it is",
        ),
        *([] if _has_pytest_settings(folder) else [("pytest.ini", drafts.PYTEST_TEXT, "makes this pytest's rootdir")]),
        (CI_NAME, drafts.ci_text(servers), "the same check in a GitHub job"),
        (GITIGNORE_NAME, drafts.gitignore_text(_text(folder / GITIGNORE_NAME)), "keeps report and key out of commits"),
    ]
    extended = [_extended(folder, added)] if added else []
    return (*extended, *(_draft(folder, name, text, why) for name, text, why in made))


def write(made: Draft) -> None:
    """Write one draft to a file that is not there yet.

    Raises:
        OSError: it is there by now, or cannot be written.
    """
    made.path.parent.mkdir(parents=True, exist_ok=True)
    with open(made.path, "x", encoding="utf-8", newline="\n") as file:
        file.write(made.text)


def _draft(folder: Path, name: str, text: str, why: str) -> Draft:
    path = folder / name
    if not os.path.lexists(path):
        return Draft(path, text, why, tuple(_diff("", text, "/dev/null", name)))
    try:
        there = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        return Draft(path, text, why, (), f"{name} is there and cannot be read: {reason}")
    if there == text:
        return Draft(path, text, why, ())
    beside = path.with_name(path.name + ".new")
    diff = tuple(_diff(there, text, name, f"{name}.new"))
    blocked = f"{name} says something else, and {name}.new is there already" if os.path.lexists(beside) else ""
    return Draft(beside, text, f"{name} is there and stays as it is; this goes beside it", diff, blocked)


def _extended(folder: Path, added: Mapping[str, Server]) -> Draft:
    """The mcp.json that is there with servers added. Of its own entries, which may hold a credential, none is shown."""
    name, text = f"{SERVERS_NAME}.new", drafts.extended_text((folder / SERVERS_NAME).read_text(encoding="utf-8"), added)
    shown = tuple(_diff(drafts.servers_text({}), drafts.servers_text(added), SERVERS_NAME, name))
    blocked = f"{name} is there already" if os.path.lexists(folder / name) else ""
    return Draft(folder / name, text, f"{SERVERS_NAME} as it is, and what it does not have yet", shown, blocked)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""  # what is there and cannot be read is told where the draft is compared with it


def _watched(server: Server, *, ours: bool) -> Server:
    """A Playwright server that is led to the browser that the recorder watches, without which there are no screens."""
    words = [server.command.rpartition("/")[2], *server.args]
    playwright = any(
        word.startswith("@playwright/mcp") or word in ("playwright-mcp", "mcp-server-playwright") for word in words
    )
    if not playwright or any(word.startswith("--cdp-endpoint") for word in server.args):
        return server
    try:
        find_browser()
    except CaptureError:
        return server  # without one, no test of a server that asks for the recorder's browser could run
    option = ("--cdp-endpoint", "${MCP_AUDIT_CDP_URL}")
    if not ours:
        note = f"no screens are recorded: to have them, add {json.dumps(list(option))} to its args"
        return replace(server, notes=(*server.notes, note))
    note = "it gets the recorder's browser (--cdp-endpoint), so that screens are recorded"
    return replace(server, args=(*server.args, *option), notes=(*server.notes, note))


def _diff(before: str, after: str, name_before: str, name_after: str) -> Iterator[str]:
    return difflib.unified_diff(before.splitlines(), after.splitlines(), name_before, name_after, lineterm="")


def _why_not(server: Server, folder: Path) -> str:
    if server.disabled:
        return "switched off in its configuration"
    if server.transport != "stdio":
        return f"{server.url} over {server.transport}: not audited yet, only stdio is"
    if server.scope and Path(server.scope) != folder:
        return f"for the project {server.scope}"
    return ""


def _same(one: Server, other: Server) -> bool:
    return (one.command, one.args, one.env, one.cwd) == (other.command, other.args, other.env, other.cwd)


def _usable(name: str) -> str:
    """A name that mcp.json may have, made of one that another client takes: `io.github.x/y` becomes io-github-x-y."""
    plain = "".join(character if character in _NAME_CHARS else "-" for character in name)[:64].strip("-")
    return plain or "server"


def _has_pytest_settings(folder: Path) -> bool:
    if any((folder / name).exists() for name in _PYTEST_FILES):
        return True
    for name, table in _PYTEST_TABLES:
        try:
            if table in (folder / name).read_text(encoding="utf-8"):
                return True
        except (OSError, ValueError):
            continue
    return False
