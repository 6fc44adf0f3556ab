"""Asks MCP servers what they offer: starts each, initialises it, reads every page of its lists, ends it.

Calls no tool and reads no resource. Speaks the wire itself, as the recorder does, so that a listing costs no SDK and
nothing of a definition is lost. What a server says is kept as it came; whoever shows it escapes it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_mcp_governance.adopt.entries import Server
from pytest_mcp_governance.errors import ConfigurationError, GovernanceError, ServerError
from pytest_mcp_governance.policy.detectors import mask
from pytest_mcp_governance.session.server import ServerProcess, ServerSpec
from pytest_mcp_governance.session.strict import parse
from pytest_mcp_governance.session.unread import Unread
from pytest_mcp_governance.session.wire import LineSplitter

PATIENCE_S = 120.0  # npx and uvx install a server before they start it
PROTOCOL = "2025-11-25"
MAX_PAGES = 100
MAX_ENTRIES = 10_000
_AT_ONCE = 2
_STDERR_TAIL_BYTES = 4096
_TAIL_LINES = 4
_LISTS = (("tools", "tools/list"), ("resources", "resources/list"), ("prompts", "prompts/list"))
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_RECORDERS_OWN = frozenset({"MCP_AUDIT_CDP_URL", "MCP_AUDIT_CDP_PORT"})
_NO_BROWSER = ("http://127.0.0.1:9", 9)  # a port that nobody listens on: a listing needs no browser


@dataclass(frozen=True, slots=True)
class Listing:
    """What one server offers.

    Args:
        name: what the server calls itself.
        version: its own version.
        protocol: the MCP version that it speaks.
        tools: the definitions of its tools, whole, in its order.
        resources: its resources, in its order.
        prompts: its prompts, in its order.
    """

    name: str
    version: str
    protocol: str
    tools: tuple[Mapping[str, object], ...] = field(repr=False)
    resources: tuple[Mapping[str, object], ...] = field(default=(), repr=False)
    prompts: tuple[Mapping[str, object], ...] = field(default=(), repr=False)


def spec_of(server: Server, folder: Path, environ: Mapping[str, str], *, name: str | None = None) -> ServerSpec:
    """How to start a server that a configuration names, its variables filled in.

    Args:
        server: the entry.
        folder: the project's folder, where the server starts.
        environ: where `${NAME}` and `${NAME:-default}` take their values.
        name: its name here, where the configuration's cannot be used.

    Raises:
        ConfigurationError: it has no command, or a variable of it is not set.
    """
    if server.transport != "stdio":
        raise ConfigurationError(f"reached by URL ({server.url}): not audited yet, only stdio is")

    def fill(text: str) -> str:
        def value(found: re.Match[str]) -> str:
            if found[1] in _RECORDERS_OWN:
                return found[0]
            known = environ.get(found[1], found[2])
            if known is None:
                note = next((note for note in server.notes if note.endswith(f"set the variable {found[1]}")), "")
                raise ConfigurationError(
                    f"it needs the environment variable {found[1]}, which is not set" + (f" ({note})" if note else "")
                )
            return known

        return _VARIABLE.sub(value, text)

    entry = {
        "command": fill(server.command),
        "args": [fill(arg) for arg in server.args],
        "env": {key: fill(value) for key, value in server.env},
        "cwd": fill(server.cwd or "."),
    }
    return ServerSpec.from_mapping(name or server.name, entry, folder)


def list_servers(
    specs: Sequence[ServerSpec], *, patience_s: float = PATIENCE_S
) -> dict[str, Listing | GovernanceError]:
    """Ask several servers, two at a time.

    Args:
        specs: the servers, with different names.
        patience_s: how long each may take, from its start to its last page.

    Returns:
        name -> what it offers, or the error that says why it does not.
    """
    return asyncio.run(_list_all(specs, patience_s))


async def _list_all(specs: Sequence[ServerSpec], patience_s: float) -> dict[str, Listing | GovernanceError]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(spec: ServerSpec) -> Listing | GovernanceError:
        async with places:
            try:
                return await list_server(spec, patience_s=patience_s)
            except GovernanceError as error:
                return error

    found = await asyncio.gather(*(one(spec) for spec in specs))
    return {spec.name: result for spec, result in zip(specs, found, strict=True)}


async def list_server(spec: ServerSpec, *, patience_s: float = PATIENCE_S) -> Listing:
    """Ask one server.

    Raises:
        ConfigurationError: its program or folder is not there.
        ServerError: it does not start, ends, does not answer in time, or answers something else.
    """
    try:
        process = await ServerProcess.start(spec, _NO_BROWSER)
    except (OSError, ValueError) as error:
        raise ServerError(f"it cannot be started: {getattr(error, 'strerror', None) or error}") from None
    conversation = _Conversation(process)
    watching = asyncio.create_task(conversation.watch_stderr())
    try:
        async with asyncio.timeout(patience_s):
            return await _ask(conversation)
    except TimeoutError:
        raise ServerError(conversation.explained(f"no answer to {conversation.asked} in {patience_s:.0f} s")) from None
    except _Ended:
        status = await process.end()
        await asyncio.wait({watching}, timeout=1.0)
        raise ServerError(conversation.explained(f"it ended with status {status} before it answered")) from None
    except _Answer as answer:
        raise ServerError(conversation.explained(str(answer))) from None
    finally:
        await process.end()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _ask(conversation: _Conversation) -> Listing:
    client = {"name": "mcp-governance", "version": "1"}
    hello = await conversation.request(
        "initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}
    )
    await conversation.notify("notifications/initialized")
    capabilities = hello.get("capabilities")
    offers = capabilities if isinstance(capabilities, dict) else {}
    info = hello.get("serverInfo")
    about = info if isinstance(info, dict) else {}
    lists = {key: await _pages(conversation, key, method) if key in offers else () for key, method in _LISTS}
    return Listing(
        name=str(about.get("name") or ""),
        version=str(about.get("version") or ""),
        protocol=str(hello.get("protocolVersion") or ""),
        **lists,
    )


async def _pages(conversation: _Conversation, key: str, method: str) -> tuple[Mapping[str, object], ...]:
    found: list[Mapping[str, object]] = []
    cursor: object = None
    for _ in range(MAX_PAGES):
        result = await conversation.request(method, {} if cursor is None else {"cursor": cursor})
        entries = result.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise _Answer(f"its answer to {method} has no list of {key}")
        found += entries
        if len(found) > MAX_ENTRIES:
            raise _Answer(f"it lists more than {MAX_ENTRIES} {key}")
        cursor = result.get("nextCursor")
        if cursor is None:
            break
    else:
        raise _Answer(f"its list of {key} has more than {MAX_PAGES} pages")
    names = [str(entry.get("name")) for entry in found]
    if key == "tools" and (len(set(names)) != len(names) or not all(isinstance(e.get("name"), str) for e in found)):
        raise _Answer("it lists a tool without a name, or two of the same name")
    return tuple(found)


class _Ended(Exception):
    """The server's output has ended."""


class _Answer(Exception):
    """The server answered something that cannot be used."""


class _Conversation:
    """Requests to one server, one after the other."""

    def __init__(self, process: ServerProcess) -> None:
        self.asked = "initialize"
        self._process = process
        self._splitter = LineSplitter()
        self._lines: list[bytes] = []
        self._number = 0
        self._stderr = b""

    async def request(self, method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        self.asked = method
        self._number += 1
        await self._send({"id": self._number, "method": method, "params": params})
        while True:
            message = parse(await self._line())
            fields = message.fields
            if message.kind == "request":
                await self._refuse(fields)
            elif message.kind in ("result", "error") and fields.get("id") == self._number:
                return self._result(method, fields)
            elif message.kind == "invalid" and fields.get("id") == self._number:
                raise _Answer(f"its answer to {method} can be read in two ways ({', '.join(message.problems)})")
            # Anything else is a notification, or a line of text that does not belong on stdout.

    async def notify(self, method: str) -> None:
        await self._send({"method": method})

    async def watch_stderr(self) -> None:
        while chunk := await self._process.read_stderr():
            self._stderr = (self._stderr + chunk)[-_STDERR_TAIL_BYTES:]

    def explained(self, why: str) -> str:
        """Why it failed, and the server's own last words, without anything that looks secret."""
        lines = [line.strip() for line in mask(self._stderr.decode("utf-8", "replace")).splitlines() if line.strip()]
        return "\n".join([why, *lines[-_TAIL_LINES:]])

    async def _refuse(self, fields: Mapping[str, object]) -> None:
        # A listing has no roots, no model and no user to offer; a ping is owed an answer.
        if fields.get("method") == "ping":
            await self._send({"id": fields["id"], "result": {}})
        else:
            await self._send({"id": fields["id"], "error": {"code": -32601, "message": "not offered by this client"}})

    def _result(self, method: str, fields: Mapping[str, object]) -> Mapping[str, object]:
        error, result = fields.get("error"), fields.get("result")
        if error is not None:
            message = error.get("message") if isinstance(error, dict) else None
            raise _Answer(f"it answered {method} with an error: {mask(str(message))}")
        if not isinstance(result, dict):
            raise _Answer(f"its answer to {method} is no object")
        return result

    async def _send(self, message: Mapping[str, object]) -> None:
        try:
            await self._process.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        except ConnectionError:
            raise _Ended from None

    async def _line(self) -> bytes:
        while not self._lines:
            chunk = await self._process.read()
            if not chunk:
                raise _Ended
            for line in self._splitter.feed(chunk):
                if isinstance(line, Unread):
                    raise _Answer("a message of it is longer than 64 MiB")
                self._lines.append(line)
        return self._lines.pop(0)
