"""The MCP servers of a suite, from `mcp.json` in the ecosystem's `mcpServers` format, as plain dicts.

Starts nothing. A variable that is not set stays as written until a test asks for that server, so that one
missing credential does not stop the tests that do not need it.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pytest_mcp_governance.errors import ConfigurationError
from pytest_mcp_governance.plugin.rootdir import hidden

Server = dict[str, object]

NAME = re.compile(r"[A-Za-z0-9_-]+")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_RECORDERS_OWN = frozenset({"MCP_AUDIT_CDP_URL", "MCP_AUDIT_CDP_PORT"})  # filled in by the recorder


def read_servers(path: Path, environ: Mapping[str, str]) -> dict[str, Server]:
    """Read an `mcp.json`.

    Args:
        path: the file; a server's relative `cwd` starts at its folder.
        environ: where `${VAR}` and `${VAR:-default}` take their values.

    Returns:
        name -> {"command", "args", "env", "cwd"}, or {"url", "headers", "type"} for a server over HTTP.

    Raises:
        ConfigurationError: unreadable file or JSON, no `mcpServers`, a bad name, no command, wrong types.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except OSError as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error.strerror} ({path})") from None
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path.name}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path.name}: not JSON: {type(error).__name__}") from None
    except _DuplicateKeyError as error:
        raise ConfigurationError(f"{path.name}: the key {error.args[0]!r} occurs twice in one object") from None
    if not isinstance(document, dict) or not isinstance(document.get("mcpServers"), dict):
        raise ConfigurationError(
            f'{path.name} has no object "mcpServers"; expected {{"mcpServers": {{"name": {{"command": …}}}}}}'
        )
    return {
        name: _server(name, entry, path.parent, path.name, environ) for name, entry in document["mcpServers"].items()
    }


def choose(declared: object, names: Iterable[str], *, folder: Path) -> dict[str, object]:
    """The servers a test asked for, as entries or as the objects that were given; all when it named none.

    Args:
        declared: what the fixture `mcp_audit_servers` gave.
        folder: pytest's rootdir, where a server without a `cwd` starts.

    Raises:
        ConfigurationError: an unknown name, a definition that cannot be used, a variable that is not set.
            Whether the command exists is found out by the recorder, which starts it.
    """
    if not isinstance(declared, Mapping):
        raise ConfigurationError(
            f"the fixture mcp_audit_servers must give a dict of servers, got {type(declared).__name__}"
        )
    if not declared:
        raise ConfigurationError(_nothing_declared(folder))
    wanted = tuple(dict.fromkeys(names)) or tuple(declared)
    chosen: dict[str, object] = {}
    for name in wanted:
        if name not in declared:
            raise ConfigurationError(_unknown(name, declared))
        if is_server_object(declared[name]):
            chosen[name] = declared[name]
            continue
        server = _server(name, declared[name], folder, "mcp_audit_servers", {})
        _check_variables(name, server)
        chosen[name] = server
    return chosen


def is_server_object(entry: object) -> bool:
    """Whether it is an MCP server of the SDK's or fastmcp's, to be run inside the test's process."""
    from pytest_mcp_governance.session.memory import low_level

    return not isinstance(entry, Mapping | str | type) and low_level(entry) is not None


class _DuplicateKeyError(ValueError):
    pass


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise _DuplicateKeyError(key)
        result[key] = value
    return result


def _server(name: object, entry: object, folder: Path, source: str, environ: Mapping[str, str]) -> Server:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigurationError(f"{source}: server name {name!r} must consist of letters, digits, _ and -")
    where = f"{source}: server {name!r}"
    if not isinstance(entry, Mapping):
        either = " or an MCP server" if source == "mcp_audit_servers" else ""
        raise ConfigurationError(f"{where} must be an object{either}, got {type(entry).__name__}")
    if "url" in entry:
        return _by_url(where, entry, environ)
    if "command" not in entry:
        raise ConfigurationError(f"{where} has no command{_instead(entry)}")
    command, args, env, cwd = entry["command"], entry.get("args") or [], entry.get("env") or {}, entry.get("cwd")
    if not isinstance(command, str) or not command:
        raise ConfigurationError(f"{where}: command must be a text that is not empty, got {_kind(command)}")
    if not isinstance(args, list | tuple) or not all(isinstance(arg, str) for arg in args):
        raise ConfigurationError(f"{where}: args must be a list of texts, got {_stranger(args)}")
    if not isinstance(env, Mapping) or not all(isinstance(v, str) for pair in env.items() for v in pair):
        raise ConfigurationError(f"{where}: env must be an object of texts, got {_stranger(env)}")
    if cwd is not None and not isinstance(cwd, str | os.PathLike):
        raise ConfigurationError(f"{where}: cwd must be a path, got {_kind(cwd)}")
    return {
        "command": _expand(command, environ),
        "args": [_expand(arg, environ) for arg in args],
        "env": {key: _expand(value, environ) for key, value in env.items()},
        "cwd": str(folder / _expand(os.fspath(cwd), environ)) if cwd is not None else str(folder),
    }


def _by_url(where: str, entry: Mapping[str, object], environ: Mapping[str, str]) -> Server:
    """An entry of a server that is reached over HTTP. Its values can be secret, so no message shows one."""
    if "command" in entry:
        raise ConfigurationError(f"{where} has both a command and a url; it is started, or it is reached")
    url, headers = entry["url"], entry.get("headers") or {}
    kind = entry.get("type", entry.get("transport"))
    if not isinstance(url, str) or not url:
        raise ConfigurationError(f"{where}: url must be a text that is not empty, got {_kind(url)}")
    if not isinstance(headers, Mapping) or not all(isinstance(t, str) for pair in headers.items() for t in pair):
        raise ConfigurationError(f"{where}: headers must be an object of texts, got {_stranger(headers)}")
    if kind is not None and not isinstance(kind, str):
        raise ConfigurationError(f"{where}: type must be a text, got {_kind(kind)}")
    server: Server = {
        "url": _expand(url, environ),
        "headers": {key: _expand(value, environ) for key, value in headers.items()},
    }
    return server if kind is None else server | {"type": kind}


def _instead(entry: Mapping[str, object]) -> str:
    """What an entry without a command or a url has in its place; keys only, because values can be secret."""
    keys = [str(key) for key in entry]
    if not keys:
        return "; it is empty"
    near = difflib.get_close_matches("command", keys, n=1)
    meant = f"did you mean 'command' for {near[0]!r}? Its" if near else "its"
    return f"; {meant} keys: {', '.join(keys)}"


def _stranger(value: object) -> str:
    """The type of what is no text inside, or of the whole where that is neither list nor object."""
    parts: list[object] = list(value) if isinstance(value, list | tuple) else []
    if isinstance(value, Mapping):
        parts = [*value, *value.values()]
    inside = [_kind(part) for part in parts if not isinstance(part, str)]
    return f"{inside[0]} in it" if inside else _kind(value)


def _kind(value: object) -> str:
    return "nothing" if value is None else "an empty text" if value == "" else type(value).__name__


def _expand(text: str, environ: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name in _RECORDERS_OWN:
            return match[0]
        return environ.get(name, match[0] if default is None else default)

    return _VARIABLE.sub(value, text)


def _check_variables(name: str, server: Server) -> None:
    for text in _texts(server):
        for match in _VARIABLE.finditer(str(text)):
            if match[1] not in _RECORDERS_OWN:
                raise ConfigurationError(
                    f"server {name!r} needs the environment variable {match[1]}, which is not set; set it, or "
                    f"write ${{{match[1]}:-default}}"
                )


def _texts(server: Server) -> Iterator[object]:
    for value in server.values():
        yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)


def _nothing_declared(folder: Path) -> str:
    if not (folder / "mcp.json").exists():
        elsewhere = hidden("mcp.json", folder, Path.cwd())
        what = f"{elsewhere}." if elsewhere else "Write one there, or name it with --mcp-governance-servers=FILE."
        return f"no mcp.json in {folder} (pytest's rootdir). {what}"
    return "no MCP server is declared: mcp.json, or what the fixture mcp_audit_servers gives, is empty"


def _unknown(name: object, declared: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(str(name), [str(known) for known in declared], n=1)
    meant = f"; did you mean {near[0]!r}?" if near else "."
    known = ", ".join(sorted(str(key) for key in declared)) or "none"
    return f"no MCP server is named {name!r}{meant} Declared: {known}."
