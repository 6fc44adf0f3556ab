"""What one connection writes into the ledger: its messages, its beginning and end, what came beside.

Leaves out when it is written and what follows from it: that order is `relay`'s.
"""

import base64
import binascii
import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_mcp_governance.errors import LedgerWriteError
from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.policy.events import Event
from pytest_mcp_governance.session.strict import parse
from pytest_mcp_governance.session.trial import Trial
from pytest_mcp_governance.session.upstream import Transport
from pytest_mcp_governance.session.wire import Direction, Message, storable

_META = "io.modelcontextprotocol/"
_VERSION = _META + "protocolVersion"
_CAPABILITY = re.compile(r"[A-Za-z0-9_./-]{1,100}")
_MOST_CAPABILITIES = 50
_IMAGE_TYPE = re.compile(r"image/[a-z0-9.+-]{1,40}")


@dataclass(slots=True)
class Facts:
    """What a connection tells about itself, for its `session` closed record."""

    client: dict[str, str] | None = None
    server_info: dict[str, str] | None = None
    protocol: str | None = None
    client_capabilities: set[str] = field(default_factory=set)
    server_capabilities: set[str] = field(default_factory=set)
    tools: list[object] = field(default_factory=list)
    calls: int = 0

    def learn(self, message: Message) -> None:
        """Note what an initialize exchange, a request's `_meta` or a tool listing says."""
        if message.parsed.kind == "request" and message.direction == "c2s":
            params = _object(message.parsed.fields.get("params"))
            if message.method == "initialize":
                self.client = _name_and_version(params.get("clientInfo"))
                self.client_capabilities |= _capabilities(params.get("capabilities"))
            elif _VERSION in (meta := _object(params.get("_meta"))):  # since 2026-07-28 every request says it
                self.client = _name_and_version(meta.get(_META + "clientInfo")) or self.client
                self.client_capabilities |= _capabilities(meta.get(_META + "clientCapabilities"))
                self.protocol = _version(meta[_VERSION]) or self.protocol
        result = message.parsed.fields.get("result")
        if not isinstance(result, dict) or message.request is None:
            return
        if message.method in ("initialize", "server/discover"):
            told = _object(result.get("_meta")).get(_META + "serverInfo")
            self.server_info = _name_and_version(result.get("serverInfo", told))
            self.server_capabilities |= _capabilities(result.get("capabilities"))
            self.protocol = _version(result.get("protocolVersion")) or self.protocol
        if message.method == "tools/list" and isinstance(result.get("tools"), list):
            if not _object(message.request.event.params).get("cursor"):
                self.tools = []  # a new listing; pages that follow belong to it
            self.tools.extend(result["tools"])

    def fields(self) -> dict[str, object]:
        """The known ones, as fields of the record."""
        known = {"client": self.client, "server_info": self.server_info, "protocol": self.protocol}
        found: dict[str, object] = {k: v for k, v in known.items() if v is not None}
        told = {"client_capabilities": self.client_capabilities, "server_capabilities": self.server_capabilities}
        found |= {name: sorted(capabilities) for name, capabilities in told.items() if capabilities}
        if self.tools:
            text = json.dumps(self.tools, sort_keys=True)
            found["tools_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        return found | {"calls": self.calls}


@dataclass(frozen=True, slots=True)
class Connection:
    """One way from an agent to a server: its id, minted by the recorder, its gateway, agent, server and transport.

    `digest` is the SHA-256 (hex) of how the server is reached or started.
    """

    id: str
    gateway: str
    agent: str
    server: str
    digest: str
    transport: Transport


class _ExchangeRef(str):
    """The ref of an HTTP exchange's record, which may be over only in a later run; `run` counts them."""

    run: int

    def __new__(cls, ref: str, run: int) -> "_ExchangeRef":
        made = super().__new__(cls, ref)
        made.run = run
        return made


class Scribe:
    """Writes the records of one connection."""

    def __init__(self, trial: Trial, connection: Connection) -> None:
        self.facts = Facts()
        self.is_open = False
        self._runs_before: list[str] = []
        self._trial = trial
        self._at = connection

    def learn(self, message: Message) -> None:
        """Note what a message tells about the connection."""
        self.facts.learn(message)

    def images(self, message: Message, ref: str) -> None:
        """Record the images of a result as blobs of their own."""
        for media_type, data in _images(message.parsed.fields.get("result")):
            fields = {"kind": "image", "media_type": media_type, "size": len(data), "masked": False}
            bound = {"sha256": self._trial.commit_blob(data), "ref": ref, "agent": self._at.agent}
            self._trial.record("blob", fields | bound)

    def definitions(self, event: Event, reached: bool) -> None:
        """Record the tool definitions of a listing that this run has not seen, and tell of those that changed."""
        found = self._trial.definitions.new_in(event.result, server=self._at.server, command=self._at.digest)
        for definition in found:
            fields: dict[str, object] = {
                "conn": self._at.id,
                "server": self._at.server,
                "ref": event.ref,
                "sha256": definition.sha256,
            }
            if definition.was is not None:
                fields["was"] = definition.was
                self._trial.judge.tool_changed(event, definition.tool, definition.changed, reached)
            self._trial.record("definition", fields | self._names(None, definition.tool))

    def passed_on(self) -> None:
        """Record that the connection outlives the run; what its next messages say stands in the next one."""
        if self.is_open:
            self.session("passed-on")

    def taken_over(self, trial: Trial, run: str) -> None:
        """Write into another run from now on, after `run`, and record there that the connection is older."""
        self._trial = trial
        self._runs_before.append(run)
        if self.is_open:
            self.facts.calls = 0
            self.session("taken-over")

    def message(
        self,
        message: Message,
        at: Mapping[str, object] | None = None,
        carried: Mapping[str, object] | None = None,
    ) -> str:
        """Record a received message as it came; return its ref.

        Args:
            message: the message.
            at: fields of its transport.
            carried: run and ref of its record in the run before, where it was received in that one.
        """
        fields: dict[str, object] = {
            "direction": message.direction,
            "kind": "invalid" if message.problems else message.parsed.kind,
            "conn": self._at.id,
            "server": self._at.server,
            "agent": self._at.agent,
            "source": self._at.transport,
            "origin": "received" if carried is None else "carried",
        }
        if carried is not None:
            fields["carried"] = dict(carried)
        fields |= self._names(message.method, message.tool)
        if message.id is not None:
            fields["id"] = message.id if isinstance(message.id, int) else Committed(storable(message.id))
        if message.request is not None:
            fields["ref"] = message.request.ref
        elif message.earlier is not None and carried is None:
            fields["ref"] = message.earlier
        if message.state_sha256 is not None:
            fields["state_sha256"] = message.state_sha256
        if message.problems:
            fields["problems"] = list(message.problems)
        whole = _wire(message.raw)
        if message.unread is not None:
            whole = {"size": message.unread.size, "sha256": message.unread.sha256}
        return self._trial.record("msg", fields | self._here(at or {}) | whole)

    def synthesised(self, raw: bytes, direction: Direction, *, method: str | None, tool: str | None, ref: str) -> None:
        """Record a message that the recorder made itself, in answer to or in the place of the one with `ref`."""
        fields: dict[str, object] = {
            "direction": direction,
            "kind": parse(raw).kind,
            "conn": self._at.id,
            "server": self._at.server,
            "agent": self._at.agent,
            "source": self._at.transport,
            "origin": "synthesised",
            "ref": ref,
        }
        self._trial.record("msg", fields | self._names(method, tool) | _wire(raw))

    def session(self, state: str) -> None:
        """Record that the connection opened, closed, or goes on from one run into the next."""
        fields: dict[str, object] = {
            "state": state,
            "conn": self._at.id,
            "gateway": self._at.gateway,
            "transport": self._at.transport,
            "server": self._at.server,
            "agent": self._at.agent,
            "command_sha256": self._at.digest,
        }
        self.is_open = state != "closed"
        self._trial.record("session", fields | ({} if state == "opened" else self._facts()))

    def exchange(self, state: str, fields: Mapping[str, object]) -> str:
        """Record a step of an HTTP exchange on this connection; return its ref."""
        at = self._at
        where = {"conn": at.id, "gateway": at.gateway, "transport": at.transport, "server": at.server}
        found = self._trial.record("session", {"state": state, **where, "agent": at.agent, **self._here(fields)})
        return _ExchangeRef(found, len(self._runs_before))

    def _here(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Fields of a transport; a ref into a run before this one names that run, because refs are a run's own."""
        found: dict[str, object] = {}
        for name, value in fields.items():
            if isinstance(value, _ExchangeRef) and value.run < len(self._runs_before):
                found["carried"] = {"run": self._runs_before[value.run], "ref": str(value)}
            else:
                found[name] = value
        return found

    def _facts(self) -> dict[str, object]:
        """What the two sides say of themselves stands in the clear, and is text of theirs: secrets in it are masked."""
        said = self.facts.fields()
        for key, value in said.items():
            if isinstance(value, str) and key != "tools_sha256":
                said[key] = self._trial.masked(value)
            elif isinstance(value, dict):
                said[key] = {name: self._trial.masked(str(text)) for name, text in value.items()}
        return said

    def lost(self, reason: str) -> None:
        """Record that the recorder itself may have lost something on this connection."""
        with contextlib.suppress(LedgerWriteError):
            self._trial.record("gap", {"what": f"connection {self._at.id}", "count": 1, "reason": reason})

    def _names(self, method: str | None, tool: str | None) -> dict[str, object]:
        fields: dict[str, object] = {}
        named = (("method", method, self._trial.plain_method), ("tool", tool, self._trial.plain_tool))
        for key, value, plain in named:
            if value is not None:
                fields[key] = plain(value) or Committed(storable(value))
        return fields

    def io(self, stream: str, *, text: str | None = None, code: int | None = None, asked: bool | None = None) -> None:
        """Record what came beside the messages: stderr, an exit status, a failed forward."""
        fields: dict[str, object] = {"stream": stream, "conn": self._at.id, "server": self._at.server}
        if text is not None:
            fields["text"] = Committed(text)
        if code is not None:
            fields["code"] = code
        if asked is not None:
            fields["asked"] = asked
        with contextlib.suppress(LedgerWriteError):
            self._trial.record("io", fields)


def _wire(raw: bytes) -> dict[str, object]:
    try:
        return {"wire": Committed(raw.decode("utf-8"))}
    except UnicodeDecodeError:
        return {"wire_b64": Committed(base64.b64encode(raw).decode())}


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _version(value: object) -> str | None:
    return value[:32] if isinstance(value, str) else None


def _capabilities(value: object) -> set[str]:
    """The names of what a side says that it can do, its extensions by their ids."""
    said = _object(value)
    names = [name for name in said if name not in ("extensions", "experimental")]
    names += [*_object(said.get("extensions")), *_object(said.get("experimental"))]
    return {name for name in names[:_MOST_CAPABILITIES] if _CAPABILITY.fullmatch(name)}


def _name_and_version(info: object) -> dict[str, str] | None:
    if not isinstance(info, dict):
        return None
    return {k: str(storable(v))[:128] for k in ("name", "version") if isinstance(v := info.get(k), str)}


def _images(result: object) -> list[tuple[str, bytes]]:
    content = result.get("content") if isinstance(result, dict) else None
    found = []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and part.get("type") == "image" and isinstance(part.get("data"), str):
            named = str(part.get("mimeType"))
            media_type = named if _IMAGE_TYPE.fullmatch(named) else "application/octet-stream"
            with contextlib.suppress(binascii.Error, ValueError):
                found.append((media_type, base64.b64decode(part["data"], validate=True)))
    return found
