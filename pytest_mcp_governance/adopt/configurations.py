"""MCP configurations as clients keep them: which servers they name, and what is wrong with them.

Starts nothing and writes nothing. No credential is kept: where one stands literally, `${NAME}` stands here. Nothing in
a file is trusted; whoever shows it escapes it. One entry's fault costs that entry, never the file.

Sources of the formats: the clients' own pages, "MCP configuration reference" (VS Code), "Connect Claude Code to tools
via MCP" (.mcp.json, ~/.claude.json), "Model Context Protocol" (Cursor), "MCP servers with the Gemini CLI", "Cascade MCP
integration" (Windsurf) and the Codex configuration reference.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pytest_mcp_governance.adopt import jsonc
from pytest_mcp_governance.adopt.entries import Server, read_entry
from pytest_mcp_governance.errors import ConfigurationError

Kind = Literal[
    "mcp.json", "claude-code", "claude-desktop", "cursor", "vscode", "vscode-settings", "windsurf", "gemini", "codex"
]
MAX_BYTES = 64 * 1024 * 1024  # ~/.claude.json keeps a history, and grows

_PROJECT: tuple[tuple[str, Kind], ...] = (
    ("mcp.json", "mcp.json"),
    (".mcp.json", "claude-code"),
    ("claude_desktop_config.json", "claude-desktop"),
    (".cursor/mcp.json", "cursor"),
    (".vscode/mcp.json", "vscode"),
    (".vscode/settings.json", "vscode-settings"),
    (".gemini/settings.json", "gemini"),
    (".codex/config.toml", "codex"),
    (".windsurf/mcp_config.json", "windsurf"),
)
_PERSONAL: tuple[tuple[str, Kind], ...] = (
    (".claude.json", "claude-code"),
    ("Library/Application Support/Claude/claude_desktop_config.json", "claude-desktop"),
    (".config/Claude/claude_desktop_config.json", "claude-desktop"),
    (".cursor/mcp.json", "cursor"),
    ("Library/Application Support/Code/User/mcp.json", "vscode"),
    (".config/Code/User/mcp.json", "vscode"),
    (".codeium/windsurf/mcp_config.json", "windsurf"),
    (".gemini/settings.json", "gemini"),
    (".codex/config.toml", "codex"),
)
# Where the servers stand. VS Code does not read "mcpServers", but files that have it there are common.
SECTIONS: Mapping[Kind, tuple[tuple[str, ...], ...]] = {
    "vscode": (("servers",), ("mcpServers",)),
    "vscode-settings": (("mcp", "servers"),),
    "codex": (("mcp_servers",),),
}
_USUAL = (("mcpServers",),)
_OPTIONAL: frozenset[Kind] = frozenset({"vscode-settings", "gemini", "codex"})  # files that mostly say other things


@dataclass(frozen=True, slots=True)
class Problem:
    """What cannot be used of a file.

    Args:
        text: what was seen and what was expected; hostile until it is escaped, and free of credentials.
        line: 1-based line, 0 where none is known.
    """

    text: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Configuration:
    """One file.

    Args:
        kind: whose format it is in.
        path: where it lies.
        servers: what it names, in its order; those that are switched off too.
        problems: what of it cannot be used.
    """

    kind: Kind
    path: Path
    servers: tuple[Server, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def find(folder: Path) -> tuple[Configuration, ...]:
    """Read the configurations that lie in a project's folder; those of its subfolders are not looked for."""
    return tuple(read(folder / name, kind) for name, kind in _PROJECT if _exists(folder / name))


def choose(named: Path | None, folder: Path, command: Sequence[str] = ()) -> Configuration:
    """The configuration that is named, else the one in a folder that the agent's command names, else the only one.

    Args:
        named: the file, None to look for it.
        folder: where it is looked for; only those count that name a server to audit.
        command: the agent's command; of several configurations the one whose path stands in it is the agent's.

    Raises:
        ConfigurationError: none is named, and there is none here, or several.
    """
    if named is not None:
        return read(named)
    found = find(folder)
    usable = [one for one in found if one.servers]
    in_command = [one for one in usable if any(_names(argument, one.path) for argument in command)]
    if len(in_command) == 1:
        return in_command[0]
    if len(usable) == 1:
        return usable[0]
    if not found:
        raise ConfigurationError(f"there is no MCP configuration in {folder}. Name one with --config.")
    seen = ", ".join(os.path.relpath(one.path, folder) for one in (usable or found))
    raise ConfigurationError(
        f"there are several MCP configurations here ({seen}): name the agent's with --config"
        if usable
        else f"no configuration here names a server ({seen})"
    )


def _names(argument: str, path: Path) -> bool:
    """Whether an argument of a command is this file, alone or as `--option=FILE`."""
    option, equals, value = argument.partition("=")
    return is_file(argument, path) or bool(equals and option.startswith("-") and is_file(value, path))


def is_file(text: str, path: Path) -> bool:
    """Whether a text, hostile as it may be, is a path that leads to this file."""
    try:
        return bool(text) and os.path.realpath(text) == os.path.realpath(path)
    except (OSError, ValueError):
        return False


def find_personal(home: Path) -> tuple[Configuration, ...]:
    """Read the configurations of one user, which apply to all projects; `home` is the home folder."""
    return tuple(read(home / name, kind) for name, kind in _PERSONAL if _exists(home / name))


def kind_of(path: Path) -> Kind:
    """Whose format a file is in, by its name and folder; `mcp.json` where these say nothing."""
    known = dict((*_PERSONAL, *_PROJECT))
    for depth in (3, 2, 1):
        kind = known.get("/".join(path.parts[-depth:]))
        if kind is not None:
            return kind
    return "codex" if path.suffix == ".toml" else "mcp.json"


def read(path: Path, kind: Kind | None = None) -> Configuration:
    """Read one configuration.

    Args:
        path: the file.
        kind: whose format it is in; by its name where it is not given.

    Returns:
        Its servers and its problems. Raises nothing: what cannot be read is a problem.
    """
    kind = kind or kind_of(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            return Configuration(kind, path, problems=(Problem(f"larger than {MAX_BYTES >> 20} MiB; it is not read"),))
        text = data.decode("utf-8-sig")
    except OSError as error:
        return Configuration(kind, path, problems=(Problem(f"cannot be read: {error.strerror or 'no usable path'}"),))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Configuration(kind, path, problems=(Problem("not UTF-8 text; save it as UTF-8", line),))
    except ValueError:
        return Configuration(kind, path, problems=(Problem("cannot be read: no usable path"),))
    return read_text(text, kind, path)


def read_text(text: str, kind: Kind, path: Path) -> Configuration:
    """As `read`, of a text that is there already; `path` is only noted."""
    try:
        document, twice = _parse(text, kind)
    except jsonc.JsoncError as error:
        form = "TOML" if kind == "codex" else "JSON"
        return Configuration(kind, path, problems=(Problem(f"not {form}: {error}", error.line),))
    problems = [
        Problem(f"the key {name!r} stands twice in one object; the last one counts", _line(text, name))
        for name in twice
    ]
    if not isinstance(document, dict):
        problems.append(Problem(f"expected an object with {_wanted(kind)}, seen {type(document).__name__}", 1))
        return Configuration(kind, path, problems=tuple(problems))
    servers: list[Server] = []
    for scope, section, inputs in _sections(document, kind, problems):
        if not isinstance(section, dict):
            problems.append(Problem(f"{_wanted(kind)} must be an object, seen {type(section).__name__}"))
            continue
        for name, entry in section.items():
            made = read_entry(name, entry, inputs=inputs, scope=scope, toml=kind == "codex")
            if isinstance(made, Server):
                servers.append(made)
            else:
                problems.append(Problem(made, _line(text, name)))
    return Configuration(kind, path, tuple(servers), tuple(problems))


def _parse(text: str, kind: Kind) -> tuple[object, tuple[str, ...]]:
    if kind != "codex":
        # mcp.json is what the plugin itself reads, and it takes no comments.
        return jsonc.loads(text, comments=kind != "mcp.json")
    try:
        return tomllib.loads(text), ()
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column \d+\)", str(error))
        message = re.sub(r" \(at .*\)$", "", str(error))
        raise jsonc.JsoncError(message, int(place[1]) if place else text.count("\n") + 1) from None
    except (RecursionError, ValueError) as error:
        raise jsonc.JsoncError(f"it cannot be read ({type(error).__name__})") from None


def _sections(
    document: Mapping[str, object], kind: Kind, problems: list[Problem]
) -> Iterator[tuple[str, object, object]]:
    """(project or "", servers, inputs) of every place that holds servers."""
    found = False
    for keys in SECTIONS.get(kind, _USUAL):
        holder: object = document
        for key in keys[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and keys[-1] in holder:
            found = True
            if kind == "vscode" and keys == ("mcpServers",):
                problems.append(Problem('VS Code reads "servers"; this file has "mcpServers", which is read here'))
            yield "", holder[keys[-1]], holder.get("inputs")
    projects = document.get("projects") if kind == "claude-code" else None
    for project, settings in projects.items() if isinstance(projects, dict) else ():
        found = True
        if isinstance(settings, dict) and settings.get("mcpServers"):
            yield project, settings["mcpServers"], None
    if not found and kind not in _OPTIONAL:
        problems.append(Problem(f"it has no {_wanted(kind)}"))


def _wanted(kind: Kind) -> str:
    return " or ".join(f'"{".".join(keys)}"' for keys in SECTIONS.get(kind, _USUAL)[:1])


def _line(text: str, key: str) -> int:
    """The first line on which `key` stands as a key; 0 where it is written in another way."""
    for written in (json.dumps(key), json.dumps(key, ensure_ascii=False)):
        found = re.search(re.escape(written) + r"\s*:", text)
        if found is not None:
            return text.count("\n", 0, found.start()) + 1
    found = re.search(r"^\s*\[mcp_servers\.\"?" + re.escape(key), text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found is not None else 0


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
