"""One server's entry in a client's configuration, made uniform.

Variables of every client become `${NAME}`, a workspace becomes `.`, credentials become the name of a variable. What the
entry says and this version does not use is noted, never dropped in silence.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from pytest_mcp_governance.adopt.credentials import replace_in_args, replace_in_env, variable_name

Transport = Literal["stdio", "http", "sse"]

_URL_KEYS = ("url", "serverUrl", "httpUrl")
_WORKSPACE = re.compile(r"\$\{(?:workspaceFolder(?::[^}]*)?|workspaceRoot|cwd|CLAUDE_PROJECT_DIR(?::-[^}]*)?)\}")
_ENV_VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_INPUT = re.compile(r"\$\{(?:input|command|config):([^}]*)\}")
_HOME = re.compile(r"\$\{userHome\}")
_MAX_INPUT_CHARS = 100
_TRUE = (True, "true")
_FALSE = (False, "false")


@dataclass(frozen=True, slots=True)
class Server:
    """A server as a configuration names it.

    Args:
        name: as written there; hostile until it is escaped.
        transport: `stdio` for a command; `http` and `sse` for a URL.
        command: the program, empty for a URL.
        args: its arguments, without credentials.
        env: (name, value) of the variables it is given, without credentials.
        cwd: where it starts, relative to the project's folder; None for that folder itself.
        url: scheme, host and port; a path or query can hold a credential.
        disabled: whether the configuration switches it off.
        scope: the project that it is for, where one file is for several.
        needs: variables that must be set for it to start as the client starts it.
        notes: what was changed or left out, in words.
    """

    name: str
    transport: Transport
    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cwd: str | None = None
    url: str = ""
    disabled: bool = False
    scope: str = ""
    needs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_entry(
    name: str,
    entry: object,
    *,
    inputs: object = None,
    scope: str = "",
    toml: bool = False,
    keep_credentials: bool = False,
) -> Server | str:
    """Read one entry.

    Args:
        name: its key.
        entry: its value, of any type.
        inputs: what VS Code asks its user for, for the notes.
        scope: the project it is for.
        toml: whether variables are not expanded in it.
        keep_credentials: leave those in that stand literally in it: to start the server, and never to be shown.

    Returns:
        The server, or what is wrong with it, in words that hold nothing of its values.
    """
    where = f"server {name!r}"
    if not isinstance(entry, dict):
        return f"{where} must be an object, seen {_kind(entry)}"
    disabled = entry.get("disabled") in _TRUE or entry.get("enabled", True) in _FALSE
    url = next((entry[key] for key in _URL_KEYS if entry.get(key)), None)
    declared = str(entry.get("type") or entry.get("transport") or "").lower()
    if entry.get("command") is None and url is not None:
        if not isinstance(url, str):
            return f"{where}: url must be a text, seen {_kind(url)}"
        sse = declared == "sse" or (
            "sse" not in declared and not declared and "httpUrl" not in entry and _ends_sse(url)
        )
        return Server(name, "sse" if sse else "http", url=_place(url), disabled=disabled, scope=scope)
    wrong = _wrong(where, entry)
    if wrong:
        return wrong
    return _stdio(name, entry, disabled, scope, _Reader(inputs, literal=toml), keep_credentials)


def _stdio(
    name: str, entry: Mapping[str, object], disabled: bool, scope: str, reader: _Reader, keep_credentials: bool
) -> Server:
    folder = entry.get("cwd")
    cwd = reader.text(folder, ".") if isinstance(folder, str) and folder else None
    base = "." if cwd is None or os.path.isabs(cwd) or "$" in cwd else os.path.relpath(".", cwd)
    written = [reader.text(arg, base) for arg in _sequence(entry.get("args"))]
    args, hidden = (tuple(written), ()) if keep_credentials else replace_in_args(name, written)
    notes = [f"an argument holds a credential; it is not copied: set the variable {v}" for v in hidden]
    env = []
    for key, value in _mapping(entry.get("env")).items():
        text = reader.text(_as_text(value), base)
        replacement = None if keep_credentials else replace_in_env(key, text)
        if replacement is not None:
            notes.append(f"env {key} holds a credential; it is not copied: set the variable {replacement[2:-1]}")
        env.append((key, text if replacement is None else replacement))
    if entry.get("envFile"):
        notes.append("its envFile is not read: set what it defines in the environment")
    command = reader.text(str(entry["command"]), base)
    needed = [found for text in (command, *args, *(value for _, value in env)) for found in _needed(text)]
    return Server(
        name,
        "stdio",
        command,
        args,
        tuple(env),
        cwd,
        disabled=disabled,
        scope=scope,
        needs=tuple(dict.fromkeys(needed)),
        notes=(*reader.notes, *notes),
    )


class _Reader:
    """Makes texts uniform, and notes what a person would have been asked for."""

    def __init__(self, inputs: object, *, literal: bool) -> None:
        self._literal = literal
        self._inputs = {
            str(item["id"]): str(item.get("description") or "")
            for item in (inputs if isinstance(inputs, list) else ())
            if isinstance(item, dict) and "id" in item
        }
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def text(self, value: str, workspace: str) -> str:
        if self._literal:
            return value
        value = _WORKSPACE.sub(lambda _: workspace, value)
        value = _HOME.sub("${HOME}", _ENV_VARIABLE.sub(r"${\1}", value))
        return _INPUT.sub(self._input, value)

    def _input(self, found: re.Match[str]) -> str:
        variable, asked = variable_name(found[1]), self._inputs.get(found[1], "")[:_MAX_INPUT_CHARS]
        self._notes[f"its client asks for {asked or found[1]!r}: set the variable {variable}"] = None
        return f"${{{variable}}}"


def _wrong(where: str, entry: Mapping[str, object]) -> str:
    """What is wrong with an entry that starts a program; empty if nothing is."""
    command = entry.get("command")
    if command is None:
        return f"{where} has neither a command nor a url; its keys: {', '.join(map(str, entry)) or 'none'}"
    if not isinstance(command, str) or not command.strip():
        return f"{where}: command must be a text that is not empty, seen {_kind(command)}"
    args, env = entry.get("args"), entry.get("env")
    if args is not None and not (isinstance(args, list) and all(isinstance(arg, str) for arg in args)):
        return f"{where}: args must be a list of texts"
    if env is not None and not (isinstance(env, dict) and all(_is_plain(value) for value in env.values())):
        return f"{where}: env must be an object of texts"
    if not isinstance(entry.get("cwd") or "", str):
        return f"{where}: cwd must be a text, seen {_kind(entry['cwd'])}"
    texts = [command, str(entry.get("cwd") or ""), *(args or ()), *(env or {}), *map(_as_text, (env or {}).values())]
    if any("\0" in text or _has_surrogate(text) for text in texts) or any(not k or "=" in k for k in env or {}):
        return f"{where}: no program can be started with a text of it (NUL, half a character, or '=' in a name)"
    return ""


def _needed(text: str) -> list[str]:
    return re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", text)


def _place(url: str) -> str:
    """Scheme, host and port of a URL."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}" if parts.scheme and parts.hostname else "a URL"
    except ValueError:
        return "a URL"


def _ends_sse(url: str) -> bool:
    return url.partition("?")[0].rstrip("/").endswith("/sse")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sequence(value: object) -> Sequence[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _kind(value: object) -> str:
    return "nothing" if value is None else "an empty text" if isinstance(value, str) else type(value).__name__
